"""Where a store in PostgreSQL is: `postgresql://USER@HOST/DATABASE?schema=interlock&listen=HOST:PORT&prepared=off`.

Pure. All arguments but our own three are libpq's. A password may stand in the address; it is never shown again.

- `schema`: the schema of our tables, `interlock` by default, so that several stores share a database.
- `listen`: where to listen for notifications when a pooler stands before the database: its own HOST:PORT, or `off`.
- `prepared`: `off` where a pooler hands each transaction to another session and knows no prepared statements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from msgspec import Struct, field

from interlock.errors import UsageError
from interlock.foreign_text import shell_word

DEFAULT_SCHEMA = "interlock"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,50}\Z")
_OFF = "off"
_OWN = frozenset({"schema", "listen", "prepared"})
_HOST_PORT = re.compile(r"(?P<host>[^/:@?#]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})\Z")
_SECRETS = frozenset({"password", "sslpassword", "passfile", "sslkey", "oauth_client_secret"})
_UNQUOTED = ":/,[]"
_FORM = "write postgresql://USER@HOST/DATABASE, the password in PGPASSWORD or ~/.pgpass"


class PostgresPlace(Struct, frozen=True, kw_only=True):
    """A place for a store.

    Attributes:
        shown: The address without password, for people.
        arguments: What libpq is given to connect.
        schema: The schema of the tables.
        listens: Whether notifications are listened for; else changes are found by looking.
        listen_at: Host and port for that, where they are others; None for those of `arguments`.
        is_prepared: Whether statements may be prepared.
        secrets: Texts that no message may hold.
    """

    shown: str
    arguments: Mapping[str, str]
    schema: str = DEFAULT_SCHEMA
    listens: bool = True
    listen_at: tuple[str, str] | None = None
    is_prepared: bool = True
    secrets: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        """Show it without its secrets."""
        return f"PostgresPlace({self.shown})"

    @property
    def plain_word(self) -> str:
        """The address as PostgreSQL's own programs take it, for a command of a shell: without our arguments."""
        return shell_word(_plain(self.shown))

    @property
    def database(self) -> str:
        """The name of the database."""
        return self.arguments.get("dbname", "")

    @property
    def beside_word(self) -> str:
        """The same for the database that every server has, to make ours from there."""
        parts = urlsplit(_plain(self.shown))
        return shell_word(parts._replace(path="/template1" if self.database == "postgres" else "/postgres").geturl())

    @property
    def quoted(self) -> str:
        """The schema's name for a statement."""
        return f'"{self.schema}"'

    def for_listening(self) -> Mapping[str, str]:
        """Return what libpq is given to connect for listening."""
        if self.listen_at is None:
            return self.arguments
        host, port = self.listen_at
        others = {name: value for name, value in self.arguments.items() if name != "hostaddr"}
        return {**others, "host": host, "port": port}

    def masked(self, text: str) -> str:
        """Return a text of the driver without our secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def parse_place(parts: SplitResult) -> PostgresPlace:
    """Read the address of a store.

    Raises:
        UsageError: It is none; the message holds no password.
    """
    if parts.fragment:
        raise _unusable("it has a fragment; write a # in a password as %23")
    if "@" in parts.path + parts.query:  # what stands before it is a password cut in two, and would be shown
        raise _unusable("an @ stands behind its host; write / ? and @ in a name or password as %2F %3F and %40")
    given = _query(parts.query)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    named = {
        "user": unquote(user),
        "password": unquote(password),
        "dbname": unquote(parts.path.lstrip("/")),
        **_hosts(hosts),
        **{name: value for name, value in given.items() if name not in _OWN},
    }
    arguments = {name: value for name, value in named.items() if value}
    return PostgresPlace(
        shown=_shown(hosts, user, parts.path, given),
        arguments={"target_session_attrs": "read-write", **arguments},  # what decides is never read from a standby
        schema=_schema(given.get("schema", DEFAULT_SCHEMA)),
        listens=given.get("listen", "") != _OFF,
        listen_at=_listen_at(given.get("listen", "")),
        is_prepared=_switch(given.get("prepared", "on")),
        secrets=tuple(value for name, value in arguments.items() if name in _SECRETS and value),
    )


def _query(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)))
    except ValueError:
        raise _unusable("its arguments cannot be read") from None


def _hosts(text: str) -> dict[str, str]:
    """Return hosts and ports as libpq wants them: each a list, for a database with standbys."""
    if not text:
        return {}
    pairs = [_host_and_port(each) for each in text.split(",")]
    ports = [port for _, port in pairs]
    named = {"host": ",".join(unquote(host) for host, _ in pairs)}
    return {**named, "port": ",".join(ports)} if any(ports) else named


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.lstrip(":")
    host, _, port = text.partition(":")
    if port and not port.isdecimal():
        raise _unusable("its port is not a number; write a : or @ in a password as %3A or %40")
    return host, port


def _schema(text: str) -> str:
    if not _SCHEMA.match(text):
        raise _unusable(f"{text[:60]!a} is not the name of a schema: small letters, digits and _")
    return text


def _listen_at(text: str) -> tuple[str, str] | None:
    if text in {"", _OFF}:
        return None
    found = _HOST_PORT.match(text)
    if found is None:
        raise _unusable(f"listen={text[:60]!a} is neither HOST:PORT nor off")
    return found["host"].strip("[]"), found["port"]


def _switch(text: str) -> bool:
    if text not in {"on", _OFF}:
        raise _unusable(f"prepared={text[:60]!a} is neither on nor off")
    return text == "on"


def _shown(hosts: str, user: str, path: str, given: Mapping[str, str]) -> str:
    query = urlencode({name: value for name, value in given.items() if name not in _SECRETS}, safe=_UNQUOTED)
    return f"postgresql://{f'{user}@' if user else ''}{hosts}{path}{f'?{query}' if query else ''}"


def _plain(shown: str) -> str:
    parts = urlsplit(shown)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in _OWN]
    return parts._replace(query=urlencode(kept, safe=_UNQUOTED)).geturl()


def _unusable(why: str) -> UsageError:
    return UsageError("the address of a PostgreSQL store is not usable", why=why, fix=_FORM)

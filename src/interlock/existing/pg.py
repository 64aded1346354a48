"""Terraform's `backend "pg"`: a row a workspace, locked by a session's advisory lock. A hand.

The lock is PostgreSQL's own: it is there exactly as long as the holder's database session, and the server frees it when
that session ends. A client that was killed ends its session at once; one whose machine or network vanished leaves a
session that looks alive until TCP gives up. Deleting the lock therefore means ending that session.
Terraform stores no lock document; who holds is known only as far as PostgreSQL knows its client.
Source: docs/facts/terraform-backends.md#backend-3; internal/backend/remote-state/pg of Terraform 1.11.4.
"""

from __future__ import annotations

import asyncio
import hashlib
import urllib.parse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, LiteralString

from interlock.clock import Clock
from interlock.errors import (
    PROGRAM,
    THIS_STATE,
    AuthenticationFailed,
    BackendUnavailable,
    InterlockError,
    UsageError,
    command,
)
from interlock.existing.interface import (
    Description,
    Found,
    HeldTerraformLock,
    StateVersion,
    StoredState,
    TerraformLock,
    TerraformLockMoved,
)
from interlock.existing.terraform_lock import held_by
from interlock.ids import Ids, draw_from
from interlock.store.conditional import ConditionalRecords
from interlock.store.polling import Pace
from interlock.terraform.lockinfo import LockInfo, render_lock_info

CONNECT_S = 10
STATEMENT_MS = 60_000  # of one statement; a state of 256 MB over a slow line
_TABLE, _RECORDS = "states", "interlock_records"
_CURRENT = "current"
_DENIED = frozenset({"28000", "28P01", "42501"})  # PostgreSQL's SQLSTATE: authorization, password, privilege
_CONNECTING: Mapping[str, Any] = {
    "autocommit": True,
    "connect_timeout": CONNECT_S,
    "application_name": "interlock",
    "options": f"-c statement_timeout={STATEMENT_MS}",
    # a session that holds the lock is idle for as long as an apply takes, and firewalls forget idle connections
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
CREATION = -1
"""Terraform's lock, one for the whole database, while a state has no row yet that could be locked."""
_FNV_START, _FNV_PRIME, _FNV_MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_END_LOOKS, _END_LOOK_S = 100, 0.05  # how often, and how far apart, it is seen whether a session has ended: 5 s in all

_HOLDERS: LiteralString = """
    SELECT l.pid, a.usename, a.application_name, host(a.client_addr), a.client_port, a.backend_start, a.state,
           a.query_start, current_setting('port')::int
      FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND ((l.classid::bigint << 32) | l.objid::bigint) = %s
"""


def creation_of_tofu(schema: str) -> int:
    """Return the lock under which OpenTofu from 1.10 on makes states in a schema: FNV-1 of its names, negative."""
    number = _FNV_START
    for byte in f"{schema}\0{_TABLE}".encode():
        number = (number * _FNV_PRIME & _FNV_MASK) ^ byte
    return -number


def shown_address(found: Found) -> str:
    """Return where the state is, without credentials."""
    schema = found.text("schema_name") or "terraform_remote_state"
    return f"pg://{_server(found)}/{schema}.{_TABLE}/{found.workspace}"


def _server(found: Found) -> str:
    """Return host and database of the connection string; the environment of libpq says what it leaves out."""
    given = found.text("conn_str") or ""
    if given.startswith(("postgres://", "postgresql://")):
        parts = urllib.parse.urlsplit(given)
        query = urllib.parse.parse_qs(parts.query)
        host = (parts.netloc.rpartition("@")[2] or query.get("host", [""])[0]).strip("/")
        return f"{host}/{parts.path.strip('/')}"
    words = dict(word.split("=", 1) for word in given.split() if "=" in word)
    port = f":{words['port']}" if "port" in words else ""
    return f"{words.get('host', '')}{port}/{words.get('dbname', '')}".strip("/")


async def open_pg(found: Found) -> PgBackend:
    """Connect to the database.

    Raises:
        UsageError: psycopg is not installed, there is no such database or table, or OpenTofu is told to use another
            table than Terraform's.
        BackendUnavailable: It cannot be reached.
        AuthenticationFailed: It refused our credentials.
    """
    if (table := found.text("table_name") or _TABLE) != _TABLE:
        # OpenTofu 1.10 and later: ours would be another, empty state, under another lock.
        raise UsageError(
            "this state is not in the table that Interlock uses",
            why=f'table_name of backend "pg" is {table!r}, and Interlock works with {_TABLE!r} alone',
            fix="remove table_name from the backend block and PG_TABLE_NAME from the environment, then: "
            "tofu init -migrate-state",
        )
    try:
        import psycopg
    except ImportError as error:
        raise UsageError(
            "PostgreSQL cannot be used", why="psycopg is not installed", fix="pip install 'interlock[postgres]'"
        ) from error
    try:
        connection: Any = await asyncio.to_thread(lambda: psycopg.connect(found.text("conn_str") or "", **_CONNECTING))
    except psycopg.Error as error:
        raise _translated(error, shown_address(found)) from error
    return PgBackend(connection, found=found)


class PgBackend:
    """See `ExistingBackend`.

    Args:
        connection: An open connection of psycopg, in autocommit mode.
        found: What discovery found.
    """

    def __init__(self, connection: Any, *, found: Found) -> None:
        self._connection = connection
        self._found = found
        self._schema = found.text("schema_name") or "terraform_remote_state"
        self._name = found.workspace
        self._turn = asyncio.Lock()
        self._taken: tuple[int, ...] = ()

    def describe(self) -> Description:
        """See `ExistingBackend.describe`."""
        return Description(
            type="pg",
            address=shown_address(self._found),
            workspace=self._name,
            locking=("pg",),
            settings=self._found.origins,
        )

    async def workspaces(self) -> tuple[str, ...]:
        """See `ExistingBackend.workspaces`."""
        if await self._is_missing():
            return ()
        rows = await self._rows(f"SELECT name FROM {self._table()} WHERE coalesce(data, '') <> ''")  # noqa: S608 - a quoted identifier
        return tuple(sorted(str(row[0]) for row in rows))

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `ExistingBackend.read_locks`. The id is made of the session: its process and when it began."""
        own = await self._session()
        locks: dict[str, TerraformLock] = {}
        for number in await self._locked_numbers():
            for row in await self._rows(_HOLDERS, number):
                if row[0] != own:
                    lock = self._lock(row, number)
                    locks.setdefault(lock.id, lock)  # who makes a state under ours holds both
        return tuple(locks.values())

    async def delete_lock(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.delete_lock`. Ends the session, if it is still the one that was read and still holds."""
        if not any([await self._told_to_end(lock.id, number) for number in await self._locked_numbers()]):
            current = await self.read_locks()
            now = f"session {current[0].id} holds it now" if current else "it is not locked now"
            raise TerraformLockMoved(
                f"lock {lock.id} is not there any more", why=now, fix=command("lock", "show", THIS_STATE)
            )
        await self._await_end(lock.id)

    async def _told_to_end(self, session: str, number: int) -> bool:
        """Tell a session to end if it is the very one and holds this lock."""
        return bool(
            await self._rows(
                f"SELECT h.pid, h.backend_start, pg_terminate_backend(h.pid) FROM ({_HOLDERS}) h"  # noqa: S608 - our own text
                " WHERE h.pid::text || '@' || to_char(h.backend_start AT TIME ZONE 'UTC', 'YYYYMMDD\"T\"HH24MISSUS')"
                " = %s",
                number,
                session,
            )
        )

    async def _await_end(self, session: str) -> None:
        """Wait until a session that was told to end holds nothing any more: PostgreSQL only sends it a signal."""
        for _ in range(_END_LOOKS):
            if all(lock.id != session for lock in await self.read_locks()):
                return
            await asyncio.sleep(_END_LOOK_S)
        raise BackendUnavailable(
            f"session {session} was told to end and still holds the lock",
            why=f"it did not end within {_END_LOOKS * _END_LOOK_S:.0f} s",
            fix="repeat the command",
        )

    async def read_state(self) -> StoredState | None:
        """See `ExistingBackend.read_state`."""
        rows = await self._rows(f"SELECT data FROM {self._table()} WHERE name = %s", self._name)  # noqa: S608 - a quoted identifier
        if not rows or not rows[0][0]:
            return None
        body = str(rows[0][0]).encode()
        return StoredState(body=body, condition=hashlib.md5(body, usedforsecurity=False).hexdigest())

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """See `ExistingBackend.write_state`. One statement that replaces exactly what was read."""
        table, text = self._table(), body.decode()
        if expected is None:
            rows = await self._rows(
                f"INSERT INTO {table} (name, data) VALUES (%s, %s)"  # noqa: S608 - a quoted identifier
                f" ON CONFLICT (name) DO UPDATE SET data = excluded.data WHERE coalesce({table}.data, '') = ''"
                " RETURNING id",
                self._name,
                text,
            )
        else:
            rows = await self._rows(
                f"UPDATE {table} SET data = %s WHERE name = %s AND md5(data) = %s RETURNING id",  # noqa: S608
                text,
                self._name,
                expected.condition,
            )
        if not rows:
            raise TerraformLockMoved(
                f"{self.describe().address} changed while it was to be written",
                why="somebody else wrote it in between",
                fix=f"{command('state', 'diff', THIS_STATE)}, then try again",
            )
        stored = await self.read_state()
        assert stored is not None
        return stored

    async def history(self) -> tuple[StateVersion, ...]:
        """See `ExistingBackend.history`. The table keeps only the current one."""
        current = await self.read_state()
        if current is None:
            return ()
        return (StateVersion(id=_CURRENT, modified_at=None, size=len(current.body), current=True),)

    async def read_version(self, version_id: str) -> bytes:
        """See `ExistingBackend.read_version`."""
        current = await self.read_state() if version_id == _CURRENT else None
        if current is None:
            raise UsageError(f"there is no version {version_id!r}", fix=command("state", "history", THIS_STATE))
        return current.body

    async def repair_digest(self, *, expected: StoredState) -> StoredState:
        """See `ExistingBackend.repair_digest`. There is none."""
        return expected

    async def take_lock(self, info: LockInfo) -> HeldTerraformLock:
        """See `ExistingBackend.take_lock`. Our session holds it, so it goes when we end, however we end."""
        await self._check_sessions()
        await self._make_table()
        number = await self._locked_number()
        await self._try_lock(number)
        if number == CREATION and await self._id() is not None:  # made between our two steps, by somebody who has ended
            await self._unlock(self._taken)
            number = await self._locked_number()
            await self._try_lock(number)
        own = TerraformLock(id=info.id, mechanism="pg", place=self._place(number), raw=render_lock_info(info))
        return HeldTerraformLock(info=info, locks=(own,))

    async def _session(self) -> int:
        """Return the process of our session at the server; behind a pooler the connection does not know it."""
        return int((await self._rows("SELECT pg_backend_pid()"))[0][0])

    async def _check_sessions(self) -> None:
        """Refuse a pooler that lends a session for one transaction: a lock of it is everybody's who gets it next.

        While somebody else has a session for a transaction, ours is either another one or was taken from us.

        Raises:
            UsageError: There is such a pooler.
            BackendUnavailable: It gives no second session, so that nobody can tell.
        """
        own = await self._session()
        if own == self._connection.info.backend_pid:
            return  # nothing is between
        try:
            async with asyncio.timeout(CONNECT_S):
                is_kept = await self._keeps_session(own)
        except TimeoutError as error:
            raise BackendUnavailable(
                f"{self.describe().address} cannot be locked",
                why=f"the pooler in front of it gives no second session within {CONNECT_S} s",
                fix="raise its pool size, or let conn_str (PG_CONN_STR) name PostgreSQL itself",
            ) from error
        if not is_kept:
            raise UsageError(
                f"{self.describe().address} cannot be locked",
                why="a pooler in front of it lends sessions for one transaction, and Terraform's lock lives in one: "
                "two would hold it at once",
                fix="let conn_str (PG_CONN_STR) name PostgreSQL itself, or set the pooler's pool_mode to session",
            )

    async def _keeps_session(self, own: int) -> bool:
        import psycopg

        given = {**_CONNECTING, "autocommit": False}
        try:
            connecting = psycopg.AsyncConnection.connect(self._found.text("conn_str") or "", **given)
            async with await connecting as other:
                found = await (await other.execute("SELECT pg_backend_pid()")).fetchone()
                return found is not None and found[0] != own and await self._session() == own
        except psycopg.Error as error:
            raise _translated(error, self.describe().address) from error

    async def _try_lock(self, number: int) -> None:
        """Take one lock; refuse as Terraform does while somebody has a lock under which rows are made.

        Those are Terraform's and OpenTofu's, so that whoever makes the state keeps the other one out.

        Raises:
            LockHeld: Somebody has any of them.
        """
        making = (CREATION, creation_of_tofu(self._schema))
        self._taken = ()
        for wanted in dict.fromkeys((number, *making)):
            if (await self._rows("SELECT pg_try_advisory_lock(%s)", wanted))[0][0]:
                self._taken += (wanted,)
                continue
            await self._unlock(self._taken)
            rows = await self._rows(_HOLDERS, wanted)
            unknown = TerraformLock(id="", mechanism="pg", place=self._place(wanted))
            raise held_by(self._lock(rows[0], wanted) if rows else unknown, self.describe().address)
        if number != CREATION:
            await self._unlock(making)
            self._taken = (number,)

    async def _unlock(self, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            await self._rows("SELECT pg_advisory_unlock(%s)", number)
        self._taken = ()

    async def _make_table(self) -> None:
        """Make schema and table where there is none, as `terraform init` does unless it is told not to."""
        if not await self._is_missing():
            return
        await self.make_schema()
        if not self._found.is_true("skip_table_creation"):
            await self._rows("CREATE SEQUENCE IF NOT EXISTS public.global_states_id_seq AS bigint")
            await self._rows(
                f"CREATE TABLE IF NOT EXISTS {self._table()} (id bigint NOT NULL DEFAULT"
                " nextval('public.global_states_id_seq') PRIMARY KEY, name text UNIQUE, data text)"
            )
        if not self._found.is_true("skip_index_creation"):
            await self._rows(f"CREATE UNIQUE INDEX IF NOT EXISTS states_by_name ON {self._table()} (name)")

    async def make_schema(self) -> None:
        """Make the schema, unless Terraform is told not to."""
        if not self._found.is_true("skip_schema_creation"):
            await self._rows(f"CREATE SCHEMA IF NOT EXISTS {self._quoted()}")

    @property
    def records(self) -> str:
        """The table of our own, as SQL names it."""
        return f"{self._quoted()}.{_RECORDS}"

    async def rows(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Do one statement in the session that has the lock; return its rows."""
        return await self._rows(statement, *arguments)

    async def _is_missing(self) -> bool:
        return (await self._rows("SELECT to_regclass(%s)", self._table()))[0][0] is None

    async def give_lock(self, held: HeldTerraformLock) -> None:
        """See `ExistingBackend.give_lock`. What was taken is given back, whether the state has a row by now or not."""
        if held.locks:
            await self._unlock(self._taken)

    def write_under(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.write_under`. A write names no lock."""

    async def close(self) -> None:
        """See `ExistingBackend.close`. Frees what is held."""
        await asyncio.to_thread(self._connection.close)

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _locked_number(self) -> int:
        """Return the number that Terraform locks for this state now."""
        number = await self._id()
        return CREATION if number is None else number

    async def _locked_numbers(self) -> tuple[int, ...]:
        """Return all numbers under which somebody may have locked this state now: two while it has no row."""
        number = await self._locked_number()
        return (number,) if number != CREATION else (CREATION, creation_of_tofu(self._schema))

    async def _id(self) -> int | None:
        """Return the number of the state's row; None when there is no row."""
        rows = await self._rows(f"SELECT id FROM {self._table()} WHERE name = %s", self._name)  # noqa: S608 - a quoted identifier
        return int(rows[0][0]) if rows else None

    def _table(self) -> str:
        return f"{self._quoted()}.{_TABLE}"

    def _quoted(self) -> str:
        return f'"{self._schema.replace(chr(34), chr(34) * 2)}"'

    def _place(self, number: int) -> str:
        return f"PostgreSQL advisory lock {number} of {_server(self._found)}"

    def _lock(self, row: tuple[Any, ...], number: int) -> TerraformLock:
        pid, user, application, address, port, began, state, asked, server_port = row
        where = f"{address}:{port}" if address else "a socket of the server's machine"
        began_at = began if isinstance(began, datetime) else None
        doing = f"; last statement at {asked:%Y-%m-%d %H:%M:%SZ}" if isinstance(asked, datetime) else ""
        return TerraformLock(
            id=f"{pid}@{began_at:%Y%m%dT%H%M%S%f}" if began_at else str(pid),
            operation=f"session of {application or 'an unnamed program'}, {state or 'unknown'}{doing}",
            info=f"database session {pid} of user {user}, client {where}",
            who=f"@{address}"
            if address and address not in _LOOPBACK
            else "",  # loopback is everybody's: a tunnel's too
            client=(address, port, server_port) if address else None,
            created=began_at.isoformat() if began_at else "",
            created_at=began_at,
            path=self._name,
            mechanism="pg",
            place=self._place(number),
            condition=str(pid),
        )

    async def _rows(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        async with self._turn:
            return await asyncio.to_thread(self._fetch, statement, arguments)

    def _fetch(self, statement: str, arguments: tuple[object, ...]) -> list[tuple[Any, ...]]:
        import psycopg

        try:
            cursor = self._connection.execute(statement, arguments)
            return list(cursor.fetchall()) if cursor.description else []
        except psycopg.Error as error:
            raise _translated(error, self.describe().address) from error


class PgRecords(ConditionalRecords):
    """Records beside the states of a schema, in a table of ours, each changed by one statement.

    Args:
        backend: A state in the schema; its session is used.
        polling: How often to look for a change.
        clock: For pauses.
        ids: For chance.
    """

    def __init__(self, backend: PgBackend, *, polling: Pace, clock: Clock, ids: Ids) -> None:
        super().__init__(title=backend.describe().address, polling=polling, clock=clock, draw=draw_from(ids))
        self._backend = backend
        self._clock = clock
        self._said_at: tuple[float, float] | None = None
        self._is_there = False

    def server_time_s(self) -> float | None:
        """Return what the server's clock says now, in seconds since 1970; None before its first answer."""
        if self._said_at is None:
            return None
        return self._said_at[0] + self._clock.monotonic() - self._said_at[1]

    async def _object_of(self, key: str) -> tuple[bytes, str] | None:
        if not await self._has_table():
            return None
        statement = (
            f"SELECT body, mark, extract(epoch FROM clock_timestamp()) FROM {self._backend.records} WHERE name = %s"  # noqa: S608 - a quoted identifier
        )
        rows = await self._backend.rows(statement, key)
        if not rows:
            return None
        self._said_at = (float(rows[0][2]), self._clock.monotonic())
        return bytes(rows[0][0]), str(rows[0][1])

    async def _put(self, key: str, body: bytes, *, mark: str | None) -> str | None:
        table = self._backend.records
        if not await self._has_table():
            await self._make_table()
        if mark is None:
            statement = (
                f"INSERT INTO {table} (name, body, mark) VALUES (%s, %s, 1) ON CONFLICT DO NOTHING RETURNING mark"  # noqa: S608
            )
            rows = await self._backend.rows(statement, key, body)
        else:
            statement = f"UPDATE {table} SET body = %s, mark = mark + 1 WHERE name = %s AND mark = %s RETURNING mark"  # noqa: S608
            rows = await self._backend.rows(statement, body, key, int(mark))
        return str(rows[0][0]) if rows else None

    async def _names(self, prefix: str, *, after: str, limit: int) -> Sequence[str]:
        if not await self._has_table():
            return []
        statement = (
            f"SELECT name FROM {self._backend.records} WHERE starts_with(name, %s) AND name > %s ORDER BY name LIMIT %s"  # noqa: S608
        )
        return [str(row[0]) for row in await self._backend.rows(statement, prefix, after, limit)]

    async def _has_table(self) -> bool:
        if not self._is_there:
            self._is_there = (await self._backend.rows("SELECT to_regclass(%s)", self._backend.records))[0][
                0
            ] is not None
        return self._is_there

    async def _make_table(self) -> None:
        """Make it. Two that make it at once do not hurt each other: the second finds it there."""
        await self._backend.make_schema()
        columns = '(name text COLLATE "C" PRIMARY KEY, body bytea NOT NULL, mark bigint NOT NULL)'
        with suppress(UsageError, BackendUnavailable):  # PostgreSQL fails one of two, IF NOT EXISTS or not
            await self._backend.rows(f"CREATE TABLE IF NOT EXISTS {self._backend.records} {columns}")
        if not await self._has_table():
            await self._backend.rows(f"CREATE TABLE {self._backend.records} {columns}")


def _translated(error: Any, address: str) -> InterlockError:
    code = str(getattr(error, "sqlstate", None) or "")
    first = str(error).strip().partition("\n")[0]
    if code in _DENIED or "password authentication failed" in first:
        return AuthenticationFailed(
            f"{address} refused us", why=first, fix="check the user, the password and its rights: PGUSER, PGPASSWORD"
        )
    if code.startswith(("3D", "3F", "42")):
        return UsageError(f"{address} does not exist", why=first, fix=f"{PROGRAM} init    creates schema and table")
    return BackendUnavailable(f"{address} cannot be reached", why=first, fix="check PGHOST, PGPORT and the network")

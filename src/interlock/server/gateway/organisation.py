"""An organisation whose OAuth client a server keeps. Pure.

Which states belong to it is said by globs, as for tokens. A state belongs to one organisation at most: where two claim
it, no run gets either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from interlock.errors import UsageError, command
from interlock.gateway import Credentials, Secret, parse_override
from interlock.gateway.files import SERVERS as SERVERS_PATIENCE
from interlock.gateway.service import Terms
from interlock.gateway.takings import SERVERS
from interlock.genesys import parse_region
from interlock.rights.roles import check_glob, matches
from interlock.settings.authority import check_address

SCHEMA = 1
NAME_MAX = 64
STATES_MAX = 100
SECRET_MAX = 512
PLACEHOLDER_CLIENT = "interlock-run"
"""The OAuth client as which a run logs in at the server's gateway, with its placeholder as the secret."""
_ASKED = ("name", "region", "client_id", "secret", "states", "budgets", "upstream")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z", re.ASCII)
_CLIENT = re.compile(r"[\x21-\x7e]{1,128}\Z", re.ASCII)


class Organisation(Struct, frozen=True, kw_only=True):
    """An organisation.

    Attributes:
        schema: Of this record.
        name: As the operator calls it.
        region: Of Genesys Cloud.
        client_id: Of its OAuth client.
        secret: Of its OAuth client.
        states: Globs of the states that belong to it.
        budgets: Limits of the operator's own, as `gateway.budgets` spells them: `token=300/60s`.
        upstream: Addresses of API and login service in the place of the region's; None for those.
        key: Signs what runs show instead of access tokens; in hexadecimal digits, the same on all replicas.
        made_by: Who added it.
        made_at: When.
        rotated_at: When its client was last replaced; None for never.
    """

    schema: int = SCHEMA
    name: str
    region: str
    client_id: str
    secret: str
    states: tuple[str, ...]
    budgets: tuple[str, ...] = ()
    upstream: tuple[str, str] | None = None
    key: str
    made_by: str
    made_at: datetime
    rotated_at: datetime | None = None

    def __repr__(self) -> str:
        """Hide the secret and the key."""
        return f"Organisation({self.name!r})"

    def owns(self, state: str) -> bool:
        """Say whether a state belongs to it."""
        return any(matches(glob, state) for glob in self.states)

    @property
    def terms(self) -> Terms:
        """What its gateway is given."""
        api, login = self.upstream or addresses(self.region)
        return Terms(
            api_url=api,
            login_url=login,
            credentials=Credentials(client_id=self.client_id, secret=Secret(self.secret)),
            budgets=tuple(parse_override(each) for each in self.budgets),
            runs_only=True,
            files=SERVERS_PATIENCE,
            placeholder_key=bytes.fromhex(self.key),
            named=SERVERS,
        )


def addresses(region: str) -> tuple[str, str]:
    """Return the addresses of a region's API and login service.

    Raises:
        UsageError: There is no such region.
    """
    found = parse_region(region)
    return f"https://{found.api_host}", f"https://{found.login_host}"


def is_same(one: Organisation, other: Organisation) -> bool:
    """Say whether both were asked for with the same words; not who asked, and when."""
    return all(getattr(one, name) == getattr(other, name) for name in _ASKED)


def check_organisation(found: Organisation) -> Organisation:
    """Return what may be kept.

    Raises:
        UsageError: A part of it is not usable. No message has the secret.
    """
    if len(found.name) > NAME_MAX or not _NAME.match(found.name):
        raise UsageError(
            f"{found.name[:NAME_MAX]!a} is not a name for an organisation",
            why="it has lower-case letters, digits, dots, dashes and underscores",
        )
    addresses(found.region)
    if not _CLIENT.match(found.client_id):
        raise UsageError("the OAuth client's id is not one", why="it is printable, without spaces")
    check_secret(found.secret)
    if not 1 <= len(found.states) <= STATES_MAX:
        raise UsageError(
            "the organisation has no states",
            why=f"it has 1 to {STATES_MAX} globs",
            fix="repeat with --states 'prod/**'",
        )
    for glob in found.states:
        check_glob(glob)
    for budget in found.budgets:
        parse_override(budget)
    for url in found.upstream or ():
        check_address(url, said_by="the organisation's upstream")
    return found


def check_secret(secret: str) -> None:
    """Refuse what cannot be the secret of an OAuth client.

    Raises:
        UsageError: It cannot.
    """
    if not 1 <= len(secret) <= SECRET_MAX or not secret.isprintable() or secret != secret.strip():
        raise UsageError("the OAuth client's secret is not one", why="it is one line without spaces at its ends")


def owner_of(state: str, organisations: Iterable[Organisation]) -> Organisation | None:
    """Return the organisation of a state; None when it belongs to none.

    Raises:
        UsageError: Two claim it.
    """
    found = [each for each in organisations if each.owns(state)]
    if len(found) > 1:
        raise two_owners(state, [each.name for each in found])
    return found[0] if found else None


def two_owners(state: str, names: Sequence[str]) -> UsageError:
    """Return the error of a state that two organisations claim."""
    return UsageError(
        f"state {state!r} belongs to two organisations",
        why=f"{' and '.join(sorted(names))} both claim it, and a run must never reach the wrong one",
        fix=command("organisation", "ls"),
        state=state,
    )

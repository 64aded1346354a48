"""A run's way through a server's gateway, as it is kept. Pure.

What a run shows is a path with a secret in it; what is kept is the secret's digest and the grant for which it is good.
So each replica can tell by itself, whichever of them gave it.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from interlock.bounded import decode_json
from interlock.gateway.allotment import Allotment
from interlock.gateway.retries import is_read
from interlock.gateway.route import Door, Route, RunCaller, claimed_run, find_route
from interlock.lock import Lock, Priority, holder_of

SCHEMA = 1
WAYS = "gateway-way/"
"""Begins the keys of their records."""
MOUNT: Final = "/gateway"
"""In front of an organisation's name and a run's prefix."""
_PREFIX = re.compile(rb"/gateway/([a-z0-9][a-z0-9._-]{0,63})(/.*)", re.DOTALL)
_QUERY_POST = "/query"  # of analytics, audits and flows: asks by POST, changes nothing


class Way(Struct, frozen=True, kw_only=True):
    """A way.

    Attributes:
        schema: Of this record.
        run: Names it in its path.
        digest: SHA-256 of its secret, in hexadecimal digits.
        organisation: To which one.
        state: The state that its run holds.
        beside: That state is in another backend, and only its queue is here.
        ticket: Of the run.
        token: The fencing token of the grant.
        priority: The class of the run.
        made_at: When it was given.
        allotment: What policies beside the run allow it; None for no such policy.
    """

    schema: int = SCHEMA
    run: str
    digest: str
    organisation: str
    state: str
    beside: bool
    ticket: str
    token: int
    priority: Priority
    made_at: datetime
    allotment: Allotment | None = None

    @property
    def reads_only(self) -> bool:
        """Whether what changes something is refused: its run does not hold to apply."""
        return self.priority is not Priority.APPLY

    def is_current(self, lock: Lock) -> bool:
        """Say whether the grant still stands."""
        return holder_of(lock, ticket=self.ticket, token=self.token) is not None


class Asked(Struct, frozen=True, kw_only=True):
    """A request under a mount.

    Attributes:
        organisation: The name in its path.
        raw_path: The rest, as sent.
        caller: The run that it claims to be; None for none.
    """

    organisation: str
    raw_path: bytes
    caller: RunCaller | None


def read_path(raw_path: bytes) -> Asked | None:
    """Read the path of a request; None when it names no organisation."""
    found = _PREFIX.fullmatch(raw_path)
    if found is None:
        return None
    return Asked(organisation=found[1].decode(), raw_path=found[2], caller=claimed_run(found[2]))


def may_send(way: Way, method: str, raw_path: bytes, query: bytes) -> bool:
    """Say whether a run may send a request at all; what is malformed is refused by the gateway itself."""
    if not way.reads_only:
        return True
    route = find_route(method, raw_path, query)
    if isinstance(route, Route) and route.door is Door.FILES:
        return False
    if not isinstance(route, Route) or route.door is not Door.API:
        return True
    return is_read(method, route.path) or (method == "POST" and route.path.rstrip("/").endswith(_QUERY_POST))


def way_to_bytes(way: Way) -> bytes:
    """Spell a way as stored."""
    return msgspec.json.encode(way)


def way_from_bytes(raw: bytes) -> Way | None:
    """Read a stored way; None for what cannot be read, which lets nobody through."""
    try:
        way = decode_json(raw, type=Way)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return way if way.schema == SCHEMA else None

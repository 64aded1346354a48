"""What one client alone may not do where policies want two persons, checked where it is done.

Our own commands ask another person before they send anything. A client of somebody else's sends at once; so each
endpoint that ends another's grant, or replaces a state by hand, asks here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from interlock.coordinator.archive import THREAD_BYTES_MIN
from interlock.lock import Broken, Event, Holder
from interlock.policy.approval import Kind
from interlock.rights.callers import Caller, party_of, person_of

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.state.history import Version


class Act(Struct, frozen=True, kw_only=True):
    """What a client is about to do.

    Attributes:
        kind: Force-unlock or restore.
        state: The state's name.
        exact: See `check_second_person`.
        what: The same for people.
    """

    kind: Kind
    state: str
    exact: Sequence[Sequence[object]]
    what: str


Agree = Callable[[Caller, Act], Awaitable[None]]
"""Goes on when another person agreed to what a client is about to do, where policies want that; else raises."""


async def nobody_asked(_caller: Caller, _act: Act) -> None:
    """Let everything pass, as where no policies are kept."""


def agreeing(home: Home) -> Agree:
    """Return what asks the policies and the requests of a home."""

    async def agree(caller: Caller, act: Act) -> None:
        from interlock.site.second_person import check_second_person

        who, party = person_of(caller), party_of(caller)
        await check_second_person(home, act.state, act.kind, exact=act.exact, what=act.what, by=who, party=party)

    return agree


def unlock_act(state: str, holder: Holder, event: Event) -> Act:
    """Return the end of another's grant. With proof it is asked for without a reason, and else with the one given."""
    reason = event.reason if isinstance(event, Broken) else ""
    grant = (holder.ticket, holder.token)
    exact = [(*grant, ""), *([(*grant, reason)] if reason else [])]
    what = f"break the lock of {state} (token {holder.token}, {holder.who})" + (f": {reason}" if reason else "")
    return Act(kind=Kind.FORCE_UNLOCK, state=state, exact=exact, what=what)


def push_act(state: str, digest: str, size_bytes: int, *, over: int) -> Act:
    """Return the replacement of a state by bytes that no run made."""
    from interlock.site.second_person import push_in_words, push_of

    what = push_in_words(state, digest, size_bytes)
    return Act(kind=Kind.RESTORE, state=state, exact=[push_of(digest, over)], what=what)


def restore_act(state: str, version: Version, *, next_serial: int, over: int) -> Act:
    """Return the restore of a version."""
    from interlock.site.second_person import restore_of

    exact = restore_of(version, next_serial=next_serial, over=over)
    what = f"restore version {version.number} (serial {version.serial}) of {state} as {next_serial}"
    return Act(kind=Kind.RESTORE, state=state, exact=[exact], what=what)


async def digest_of(body: bytes) -> str:
    """Return the digest of a state, by which a version names it; hashing a large one leaves heartbeats alone."""
    if len(body) > THREAD_BYTES_MIN:
        return await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
    return hashlib.sha256(body).hexdigest()

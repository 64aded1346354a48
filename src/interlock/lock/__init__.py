"""Who may act on a state, and who waits: the pure heart of Interlock.

`decide(lock, event, now=...)` is the whole of it; everything else is what goes in and what comes out.
"""

from __future__ import annotations

from interlock.lock.claim import WHOLE_STATE, Claim, claim_of, conflicts
from interlock.lock.effects import Announce, Effect, Grant, Notice, Queued, Refuse, RefuseReason, Revoke, Wake
from interlock.lock.events import (
    Broken,
    Bumped,
    Disconnected,
    Elapsed,
    Event,
    HeldBack,
    LockIdBound,
    LockIdUnbound,
    Paused,
    Released,
    Renewed,
    Requested,
    Resumed,
    StillWaiting,
    Withdrawn,
)
from interlock.lock.invariants import LockBroken, assert_follows, assert_whole
from interlock.lock.lease import FencingToken, Holder, Lease, has_lapsed
from interlock.lock.lock import (
    NEW_LOCK,
    Departure,
    Lock,
    Pause,
    Stage,
    departure_of,
    holder_of,
    may_write,
    stage_of,
    waiter_of,
)
from interlock.lock.machine import decide
from interlock.lock.moves import Decision, changes_pause, settled
from interlock.lock.record import from_data, to_data, to_json_data
from interlock.lock.ticket import Party, Priority, Ticket, Waiter
from interlock.lock.turns import blockers_of, in_front_of

__all__ = [
    "NEW_LOCK",
    "WHOLE_STATE",
    "Announce",
    "Broken",
    "Bumped",
    "Claim",
    "Decision",
    "Departure",
    "Disconnected",
    "Effect",
    "Elapsed",
    "Event",
    "FencingToken",
    "Grant",
    "HeldBack",
    "Holder",
    "Lease",
    "Lock",
    "LockBroken",
    "LockIdBound",
    "LockIdUnbound",
    "Notice",
    "Party",
    "Pause",
    "Paused",
    "Priority",
    "Queued",
    "Refuse",
    "RefuseReason",
    "Released",
    "Renewed",
    "Requested",
    "Resumed",
    "Revoke",
    "Stage",
    "StillWaiting",
    "Ticket",
    "Waiter",
    "Wake",
    "Withdrawn",
    "assert_follows",
    "assert_whole",
    "blockers_of",
    "changes_pause",
    "claim_of",
    "conflicts",
    "decide",
    "departure_of",
    "from_data",
    "has_lapsed",
    "holder_of",
    "in_front_of",
    "may_write",
    "settled",
    "stage_of",
    "to_data",
    "to_json_data",
    "waiter_of",
]

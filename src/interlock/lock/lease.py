"""The holder of a lock and its time-bounded right.

Expiry here is arithmetic on instants that the caller gives. It only permits recovery to begin: nothing in this room
takes a grant away because time has passed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from interlock.lock.belief import is_believable, latest
from interlock.lock.ticket import NOBODY_SAID, Attempt, Party, Waiter

FencingToken: TypeAlias = int
"""A number that only rises; a write with an older one is refused."""


class Lease(Struct, frozen=True, kw_only=True):
    """How long a grant is good for without another heartbeat.

    Attributes:
        lease_s: Seconds of validity after each renewal.
        granted_at: When the grant was made.
        renewed_at: When it was last renewed (at first: granted).
        beat: Number of renewals. Observers who trust no clock watch this stand still.
    """

    lease_s: float
    granted_at: datetime
    renewed_at: datetime
    beat: int = 0

    def lapses_at(self) -> datetime:
        """Return the instant from which recovery may begin."""
        return self.renewed_at + timedelta(seconds=self.lease_s)


class Holder(Party, frozen=True, kw_only=True):
    """A party that has the right to act.

    Attributes:
        token: The fencing token of its grant.
        lease: Its lease.
        attempts: Those that were told of the grant or will be. The grant is given back when every one of them failed,
            never before; one that was not named, and one that was seen to act, cannot fail.
        arrival: Its arrival number, so that a grant of which nobody heard goes back to its place; 0 when unknown.
        bumped: Its rank among the bumped while it waited.
    """

    token: FencingToken
    lease: Lease
    attempts: tuple[Attempt, ...] = (NOBODY_SAID,)
    arrival: int = 0
    bumped: int = 0


def has_lapsed(holder: Holder, now: datetime) -> bool:
    """Say whether the lease ran out at `now`, by the clock that `now` comes from.

    A renewal that lies ahead by more than a lease proves nothing, so the lease counts as lapsed: that only lets
    recovery look for evidence.
    """
    lease = holder.lease
    if not is_believable(lease.renewed_at, now, ahead_s=lease.lease_s):
        return True
    return (now - lease.renewed_at).total_seconds() >= lease.lease_s


def renew(holder: Holder, now: datetime) -> Holder:
    """Return the holder with one more heartbeat. A clock that went back shortens nothing."""
    lease = holder.lease
    renewed_at = latest(lease.renewed_at, now, ahead_s=lease.lease_s)
    return replace(holder, lease=replace(lease, renewed_at=renewed_at, beat=lease.beat + 1))


def settle(holder: Holder) -> Holder:
    """Return the holder as one that was seen to know of its grant: nobody can call it off any more."""
    return holder if NOBODY_SAID in holder.attempts else replace(holder, attempts=(NOBODY_SAID,))


def holder_of_waiter(waiter: Waiter, *, token: FencingToken, now: datetime) -> Holder:
    """Return the holder that this waiter becomes."""
    return Holder(
        ticket=waiter.ticket,
        run=waiter.run,
        who=waiter.who,
        info=waiter.info,
        claim=waiter.claim,
        priority=waiter.priority,
        lock_id=waiter.lock_id,
        token=token,
        lease=Lease(lease_s=waiter.lease_s, granted_at=now, renewed_at=now),
        attempts=waiter.attempts,
        arrival=waiter.arrival,
        bumped=waiter.bumped,
    )

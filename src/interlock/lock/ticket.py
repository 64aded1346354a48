"""Places in the queue of a state, and the order in which they are served.

Order of service: bumped ones first (the last bumped leads), then by *turn*, the arrival number plus the class's
allowance. So classes go before one another, each class is first come first served, and a waiter is overtaken by at
most `OVERTAKEN_AT_MOST[class]` later arrivals: that is the ageing. It counts arrivals instead of seconds because then
the order of two waiters is settled when the later one joins, never changes, and needs no clock that machines would
have to agree on.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from interlock.lock.belief import is_believable
from interlock.lock.claim import Claim

Ticket: TypeAlias = str
"""A run's place in a state's queue: an opaque id, fresh for each attempt to get the lock."""


Attempt: TypeAlias = str
"""One way in which a ticket asks and will be answered: one HTTP request, one call of `acquire`. Never used twice."""

NOBODY_SAID: Attempt = ""
"""Stands for an attempt that was not named, or that nobody can call off any more: what it got, it keeps."""

ATTEMPTS_MAX = 8
"""Attempts of one ticket that are kept apart. Beyond it the grant can only be given back by a release."""


class Priority(IntEnum):
    """Priority class of a run; lower is served first."""

    APPLY = 0
    PLAN = 1
    DRIFT = 2


OVERTAKEN_AT_MOST = {Priority.APPLY: 0, Priority.PLAN: 4, Priority.DRIFT: 16}
"""How many later arrivals of better classes may pass a waiter.

A team of eight that applies all day still sees its plans after four applies and its nightly drift scan after sixteen.
"""


class Party(Struct, frozen=True, kw_only=True):
    """Who asks for a lock, and for what.

    Attributes:
        ticket: Its place; unique among the parties of a state.
        run: The run's id; empty for a plain Terraform client.
        who: A person or machine, as Terraform's `Who`.
        info: The operation, for people.
        claim: The part of the state it needs.
        priority: Its class.
        lock_id: Terraform's own lock id, once it is known.
    """

    ticket: Ticket
    run: str
    who: str
    info: str
    claim: Claim
    priority: Priority
    lock_id: str | None


class Waiter(Party, frozen=True, kw_only=True):
    """A party that waits for its turn.

    Attributes:
        lease_s: The lease that it will get.
        patience_s: Seconds of silence after which it is passed over and dropped.
        arrival: Its arrival number; only rises within a state.
        turn: Arrival number plus the allowance of its class when it joined.
        bumped: 0, or its rank among the bumped (the largest leads).
        joined_at: When it joined.
        seen_at: When it last spoke.
        doubted_at: When its silence was first noticed; it keeps its place but is not granted until it speaks.
        attempts: Who will hear of a grant. Empty for one that polls, between its questions.
        held: Why it does not want its turn yet, such as a maintenance window; it keeps its place and is passed over.
        through: See `Requested.through`.
    """

    lease_s: float
    patience_s: float
    arrival: int
    turn: int
    bumped: int = 0
    joined_at: datetime
    seen_at: datetime
    doubted_at: datetime | None = None
    attempts: tuple[Attempt, ...] = (NOBODY_SAID,)
    held: str = ""
    through: str = ""


def service_key(waiter: Waiter) -> tuple[int, int, int, int]:
    """Return what orders waiters for service: smallest first, never equal for two waiters."""
    return (-waiter.bumped, waiter.turn, waiter.priority.value, waiter.arrival)


def turn_of(arrival: int, priority: Priority) -> int:
    """Return the turn of a waiter of this class that arrives now."""
    return arrival + OVERTAKEN_AT_MOST[priority]


def silent_s(waiter: Waiter, now: datetime) -> float:
    """Return the seconds since the waiter last spoke; 0.0 when a clock went back."""
    return max(0.0, (now - waiter.seen_at).total_seconds())


def attempt_at(server: str, fresh: str) -> Attempt:
    """Return the name of an attempt that is heard by a server; by which one is only known when it has a name."""
    return f"{server}.{fresh}" if server else fresh


def is_heard_by(attempt: Attempt, server: str) -> bool:
    """Say whether this server hears the attempt, and no other one."""
    return attempt.startswith(f"{server}.")


def with_attempt(attempts: tuple[Attempt, ...], attempt: Attempt) -> tuple[Attempt, ...]:
    """Return the attempts with one more."""
    if attempt in attempts or NOBODY_SAID in attempts:
        return attempts
    return (*attempts, attempt) if len(attempts) < ATTEMPTS_MAX else (NOBODY_SAID,)


def without_attempt(attempts: tuple[Attempt, ...], attempt: Attempt) -> tuple[Attempt, ...]:
    """Return the attempts without this one, which failed. Nothing calls off an attempt that was not named."""
    return attempts if attempt == NOBODY_SAID else tuple(other for other in attempts if other != attempt)


def believed(waiter: Waiter, now: datetime) -> Waiter:
    """Return the waiter as this clock may know it: nobody spoke, and nobody was doubted, in the future.

    Such an instant is set to now, so that its time runs from here on: the first to notice may be the one who is wrong.
    """
    ahead_s = waiter.patience_s
    if not is_believable(waiter.seen_at, now, ahead_s=ahead_s):
        waiter = replace(waiter, seen_at=now)
    if waiter.doubted_at is not None and not is_believable(waiter.doubted_at, now, ahead_s=ahead_s):
        waiter = replace(waiter, doubted_at=now)
    return waiter


def is_doubtful(waiter: Waiter, now: datetime) -> bool:
    """Say whether the waiter has been silent for half its patience."""
    return silent_s(waiter, now) * 2 >= waiter.patience_s


def is_silent(waiter: Waiter, now: datetime) -> bool:
    """Say whether the waiter is to be dropped: silent for its patience, and for half of it after it was first doubted.

    The second half matters when *everyone* was silent (a server restarted, a laptop slept): the first to speak must
    not sweep away the others before they had time to speak too.
    """
    if waiter.doubted_at is None or silent_s(waiter, now) < waiter.patience_s:
        return False
    return (now - waiter.doubted_at).total_seconds() * 2 >= waiter.patience_s

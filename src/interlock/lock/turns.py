"""Whose turn it is: passes over the silent, grants the due.

Both run after every accepted event, so no waiter that may be granted is ever left waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from interlock.lock.claim import Claim, conflicts
from interlock.lock.effects import Announce, Effect, Grant, Notice, Wake
from interlock.lock.lease import Holder, promote_to_holder
from interlock.lock.lock import DEPARTED_KEPT, Departure, Lock, Stage
from interlock.lock.ticket import Ticket, Waiter, is_doubtful, is_silent


def pass_over_silent(lock: Lock, now: datetime, *, sparing: Ticket) -> tuple[Lock, tuple[Effect, ...]]:
    """Drop waiters that stayed silent for too long, and doubt those that are on the way there.

    Args:
        lock: The lock.
        now: The instant of this decision.
        sparing: The ticket that speaks in this very event, and is therefore not silent.
    """
    if not any(is_doubtful(waiter, now) for waiter in lock.waiters):
        return lock, ()
    kept: list[Waiter] = []
    dropped: list[Departure] = []
    effects: list[Effect] = []
    for waiter in lock.waiters:
        if waiter.ticket == sparing or not is_doubtful(waiter, now):
            kept.append(waiter)
        elif is_silent(waiter, now):
            dropped.append(departed(waiter, how=Stage.SILENT, now=now))
            effects.append(Announce(notice=Notice.DROPPED, ticket=waiter.ticket))
        elif waiter.doubted_at is None:
            kept.append(replace(waiter, doubted_at=now))
            effects.append(Wake(ticket=waiter.ticket))
        else:
            kept.append(waiter)
    if not effects:
        return lock, ()
    return replace(lock, waiters=tuple(kept), departed=remember(lock, *dropped)), tuple(effects)


def grant_due(lock: Lock, now: datetime) -> tuple[Lock, tuple[Effect, ...]]:
    """Grant every waiter that conflicts with no holder and with no waiter in front of it."""
    due = () if lock.freeze else tuple(due_waiters(lock))
    if not due:
        return lock, ()
    granted = tuple(promote_to_holder(waiter, token=lock.token + n, now=now) for n, waiter in enumerate(due, start=1))
    tickets = {waiter.ticket for waiter in due}
    after = replace(
        lock,
        token=lock.token + len(granted),
        holders=lock.holders + granted,
        waiters=tuple(waiter for waiter in lock.waiters if waiter.ticket not in tickets),
    )
    return after, tuple(Grant(ticket=holder.ticket, token=holder.token) for holder in granted)


def due_waiters(lock: Lock) -> Iterator[Waiter]:
    """Yield, in order of service, the waiters that nothing stands in the way of (a freeze aside).

    A doubted waiter is not granted until it speaks, and keeps those behind it waiting until it is dropped.
    """
    in_the_way: list[Claim] = [holder.claim for holder in lock.holders]
    for waiter in lock.waiters:
        if any(claim.whole for claim in in_the_way):
            return
        if waiter.doubted_at is None and not any(conflicts(waiter.claim, claim) for claim in in_the_way):
            yield waiter
        in_the_way.append(waiter.claim)


def blockers_of(lock: Lock, waiter: Waiter) -> tuple[Ticket, ...]:
    """Return the tickets that stand in this waiter's way: conflicting holders, then conflicting waiters in front."""
    holders = [holder.ticket for holder in lock.holders if conflicts(holder.claim, waiter.claim)]
    waiters = [other.ticket for other in in_front_of(lock, waiter) if conflicts(other.claim, waiter.claim)]
    return (*holders, *waiters)


def in_front_of(lock: Lock, waiter: Waiter) -> tuple[Waiter, ...]:
    """Return the waiters that are served before this one, in order of service."""
    position = next((n for n, other in enumerate(lock.waiters) if other.ticket == waiter.ticket), len(lock.waiters))
    return lock.waiters[:position]


def departed(party: Holder | Waiter, *, how: Stage, now: datetime, by: str = "", reason: str = "") -> Departure:
    """Return how this party ended."""
    token = party.token if isinstance(party, Holder) else 0
    return Departure(ticket=party.ticket, lock_id=party.lock_id, token=token, how=how, at=now, by=by, reason=reason)


def remember(lock: Lock, *endings: Departure) -> tuple[Departure, ...]:
    """Return the latest endings with these added; an older ending of the same ticket gives way."""
    tickets = {ending.ticket for ending in endings}
    kept = tuple(ending for ending in lock.departed if ending.ticket not in tickets)
    return (kept + endings)[-DEPARTED_KEPT:]

"""Whose turn it is: passes over the silent, grants the due.

Both run after every accepted event, so no waiter that may be granted is ever left waiting.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from datetime import datetime

from msgspec.structs import replace

from interlock.lock.claim import Claim, conflicts
from interlock.lock.effects import Announce, Effect, Grant, Notice, Wake
from interlock.lock.lease import Holder, holder_of_waiter
from interlock.lock.lock import DEPARTED_KEPT, SILENT_KEPT, Departure, Lock, Stage
from interlock.lock.spent import spend
from interlock.lock.ticket import Ticket, Waiter, believed, is_doubtful, is_silent


def pass_over_silent(lock: Lock, now: datetime, *, sparing: Container[Ticket]) -> tuple[Lock, tuple[Effect, ...]]:
    """Drop waiters that stayed silent for too long, and doubt those that are on the way there.

    Args:
        lock: The lock.
        now: The instant of this decision.
        sparing: The tickets that speak in this very event, and are therefore not silent.
    """
    waiters = tuple(believed(waiter, now) for waiter in lock.waiters)
    if any(one is not other for one, other in zip(waiters, lock.waiters, strict=True)):
        lock = replace(lock, waiters=waiters)
    if not any(is_doubtful(waiter, now) for waiter in waiters):
        return lock, ()
    kept: list[Waiter] = []
    dropped: list[Departure] = []
    effects: list[Effect] = []
    for waiter in lock.waiters:
        if waiter.ticket in sparing or not is_doubtful(waiter, now):
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
    return remember(replace(lock, waiters=tuple(kept)), *dropped, now=now), tuple(effects)


def grant_due(lock: Lock, now: datetime) -> tuple[Lock, tuple[Effect, ...]]:
    """Grant every waiter that is due."""
    due = tuple(due_waiters(without_paused(lock)))
    if not due:
        return lock, ()
    granted = tuple(holder_of_waiter(waiter, token=lock.token + n, now=now) for n, waiter in enumerate(due, start=1))
    tickets = {waiter.ticket for waiter in due}
    after = replace(
        lock,
        token=lock.token + len(granted),
        holders=lock.holders + granted,
        waiters=tuple(waiter for waiter in lock.waiters if waiter.ticket not in tickets),
    )
    return after, tuple(Grant(ticket=holder.ticket, token=holder.token) for holder in granted)


def without_paused(lock: Lock) -> Lock:
    """Return the lock without the waiters whom its pause holds back: all but those that settle what it is for."""
    if lock.pause is None:
        return lock
    reason = lock.pause.reason
    return replace(lock, waiters=tuple(each for each in lock.waiters if each.through and each.through == reason))


def due_waiters(lock: Lock) -> Iterator[Waiter]:
    """Yield, in order of service, the waiters that nothing stands in the way of (a pause aside).

    A waiter is due when it is there and conflicts with no holder and with nobody in front of it. The absent (doubted)
    do not block the present: one that could have the lock if only it were there is passed over, and keeps its place;
    so is one that is held back and does not want the lock yet.
    One that has to wait for a holder anyway keeps those behind it waiting too, there or not; else a party that claims
    much would starve behind a stream of those that claim little.
    """
    in_the_way: list[Claim] = [holder.claim for holder in lock.holders]
    for waiter in lock.waiters:
        if any(claim.whole for claim in in_the_way):
            return
        if not any(conflicts(waiter.claim, claim) for claim in in_the_way):
            if waiter.doubted_at is not None or waiter.held:
                continue
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


def remember(lock: Lock, *endings: Departure, now: datetime) -> Lock:
    """Return the lock with these endings added; an older ending of the same ticket gives way.

    What does not fit any more is remembered by its names alone. A waiter that fell silent may come back, so nothing
    needs to be remembered of it, and a crowd of them must not push out the endings of others.
    """
    if not endings:
        return lock
    tickets = {ending.ticket for ending in endings}
    known = [*[ending for ending in lock.departed if ending.ticket not in tickets], *endings]
    silent = [ending.how for ending in known].count(Stage.SILENT)
    too_many = {True: silent - SILENT_KEPT, False: len(known) - silent - DEPARTED_KEPT}
    kept: list[Departure] = []
    names: list[str] = []
    for ending in known:  # the oldest first
        is_silent = ending.how is Stage.SILENT
        if too_many[is_silent] <= 0:
            kept.append(ending)
            continue
        too_many[is_silent] -= 1
        if not is_silent:
            names += [ending.ticket, *([ending.lock_id] if ending.lock_id else [])]
    return replace(lock, departed=tuple(kept), spent=spend(lock.spent, names, now=now))

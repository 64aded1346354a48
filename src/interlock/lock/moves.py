"""What each transition does to the record. `machine.TRANSITIONS` says when each applies.

A move returns the next lock and its effects; a move that refuses returns the lock it was given. Granting is not a
move: `turns.grant_due` follows each of them.
"""

from __future__ import annotations

from bisect import insort
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from interlock.lock.belief import latest
from interlock.lock.effects import Announce, Effect, Grant, Notice, Refuse, RefuseReason, Revoke
from interlock.lock.events import (
    Broken,
    Bumped,
    Disconnected,
    Elapsed,
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
from interlock.lock.lease import Holder, has_lapsed, settle
from interlock.lock.lease import renew as renew_lease
from interlock.lock.lock import PARTIES_MAX, Departure, Lock, Pause, Stage, holder_of, waiter_of
from interlock.lock.ticket import Ticket, Waiter, is_heard_by, service_key, turn_of, with_attempt, without_attempt
from interlock.lock.turns import departed, remember


class Decision(Struct, frozen=True, kw_only=True):
    """The lock after an event, and what must be done, in order.

    `lock` is the very object that was given when nothing changed.
    """

    lock: Lock
    effects: tuple[Effect, ...]

    @property
    def refused(self) -> Refuse | None:
        """The refusal, when the event was refused."""
        return next((effect for effect in self.effects if isinstance(effect, Refuse)), None)


def join(lock: Lock, event: Requested, ticket: Ticket, now: datetime) -> Decision:
    """Give a new ticket its place in the queue."""
    if len(lock.holders) + len(lock.waiters) >= PARTIES_MAX:
        return _refuse(lock, ticket, RefuseReason.QUEUE_FULL)
    if event.lock_id is not None and _is_known(lock, event.lock_id):
        return _refuse(lock, ticket, RefuseReason.OTHER_LOCK_ID)
    arrival = lock.arrivals + 1
    waiter = Waiter(
        ticket=ticket,
        run=event.run,
        who=event.who,
        info=event.info,
        claim=event.claim,
        priority=event.priority,
        lock_id=event.lock_id,
        lease_s=event.lease_s,
        patience_s=event.patience_s,
        arrival=arrival,
        turn=turn_of(arrival, event.priority),
        joined_at=now,
        seen_at=now,
        attempts=(event.attempt,),
        held=event.held,
        through=event.through,
    )
    endings = tuple([ending for ending in lock.departed if ending.ticket != ticket])
    return Decision(lock=_with_place(replace(lock, arrivals=arrival, departed=endings), waiter), effects=())


def ask_again(lock: Lock, event: Requested | Renewed, ticket: Ticket, now: datetime) -> Decision:
    """Note a waiter's sign of life; it keeps its place. A request may bring another patience along.

    One by a lock id says anew what holds it back, in the same step: a plain Terraform that polls has no other way, and
    if it were let go first it could be granted while nobody hears of it.
    """
    waiter = _waiter(lock, ticket)
    if isinstance(event, Requested) and event.lock_id not in (None, waiter.lock_id):
        return _refuse(lock, ticket, RefuseReason.OTHER_LOCK_ID)
    spoken = _heard(waiter, now)
    if isinstance(event, Requested):
        # A copy of a request must not cut short the patience with one that still listens.
        patience_s = max(event.patience_s, waiter.patience_s) if waiter.attempts else event.patience_s
        attempts = with_attempt(waiter.attempts, event.attempt)
        held = waiter.held if event.lock_id is None else event.held
        spoken = replace(spoken, patience_s=patience_s, attempts=attempts, doubted_at=None, held=held)
    return Decision(lock=_with_waiter(lock, spoken), effects=())


def hear_all(lock: Lock, event: StillWaiting, _ticket: Ticket, now: datetime) -> Decision:
    """Note a sign of life of many waiters; of those that do not wait any more there is nothing to say."""
    waiters = tuple(_heard(waiter, now) if waiter.ticket in event.tickets else waiter for waiter in lock.waiters)
    return Decision(lock=lock if waiters == lock.waiters else replace(lock, waiters=waiters), effects=())


def leave_the_line(lock: Lock, event: Requested, ticket: Ticket, now: datetime) -> Lock:
    """Let a polling party that was not granted keep its place, but not be granted until it speaks again.

    Another attempt of the same ticket that listens goes on listening.
    """
    waiter = waiter_of(lock, ticket=ticket)
    if waiter is None:
        return lock
    others = tuple(attempt for attempt in waiter.attempts if attempt != event.attempt)
    return _with_waiter(lock, replace(waiter, attempts=others, doubted_at=None if others else now))


def disconnect_waiter(lock: Lock, event: Disconnected, ticket: Ticket, now: datetime) -> Decision:
    """Keep the place of a waiter whose connection broke, but do not grant it meanwhile."""
    waiter = _waiter(lock, ticket)
    if event.attempt not in waiter.attempts:
        return unchanged(lock, event, ticket, now)
    others = without_attempt(waiter.attempts, event.attempt)
    # If the others belong to a server that died, they must be found out soon: hence the shorter patience.
    waiter = replace(waiter, attempts=others, patience_s=min(waiter.patience_s, event.patience_s))
    if not others:
        waiter = replace(waiter, seen_at=now, doubted_at=now)
    return Decision(lock=_with_waiter(lock, waiter), effects=())


def disconnect_holder(lock: Lock, event: Disconnected, ticket: Ticket, now: datetime) -> Decision:
    """Note that an attempt will not hear of its grant; the grant goes back when no other attempt did or will."""
    holder = _holder(lock, ticket)
    others = without_attempt(holder.attempts, event.attempt)
    if others == holder.attempts:
        return unchanged(lock, event, ticket, now)
    if others:
        return Decision(lock=_with_holder(lock, replace(holder, attempts=others)), effects=())
    number = holder.arrival or lock.arrivals + 1
    waiter = Waiter(
        ticket=ticket,
        run=holder.run,
        who=holder.who,
        info=holder.info,
        claim=holder.claim,
        priority=holder.priority,
        lock_id=holder.lock_id,
        lease_s=holder.lease.lease_s,
        patience_s=event.patience_s,
        arrival=number,
        turn=turn_of(number, holder.priority),
        bumped=holder.bumped,
        joined_at=holder.lease.granted_at,
        seen_at=now,
        doubted_at=now,
        attempts=(),
    )
    free = replace(
        lock,
        holders=tuple(other for other in lock.holders if other.ticket != ticket),
        arrivals=max(lock.arrivals, number),
    )
    effect = Announce(notice=Notice.RETURNED, ticket=ticket, token=holder.token)
    return Decision(lock=_with_place(free, waiter), effects=(effect,))


def confirm(lock: Lock, event: Requested, ticket: Ticket, _now: datetime) -> Decision:
    """Repeat the grant to a holder that asks again. From now on this attempt knows of it too."""
    holder = _holder(lock, ticket)
    if event.lock_id is not None and event.lock_id != holder.lock_id:
        return _refuse(lock, ticket, RefuseReason.OTHER_LOCK_ID)
    attempts = with_attempt(holder.attempts, event.attempt)
    after = lock if attempts == holder.attempts else _with_holder(lock, replace(holder, attempts=attempts))
    return Decision(lock=after, effects=(Grant(ticket=ticket, token=holder.token),))


def renew(lock: Lock, event: Renewed, ticket: Ticket, now: datetime) -> Decision:
    """Extend a holder's lease. One that did not know of its grant (no token) is told."""
    holder = _holder(lock, ticket)
    if event.token not in (None, holder.token):
        return _refuse(lock, ticket, RefuseReason.STALE_TOKEN)
    told = () if event.token is not None else (Grant(ticket=ticket, token=holder.token),)
    renewed = renew_lease(holder, now)
    return Decision(lock=_with_holder(lock, settle(renewed) if event.token is not None else renewed), effects=told)


def release(lock: Lock, event: Released, ticket: Ticket, now: datetime) -> Decision:
    """Take a grant back from its holder."""
    holder = _holder(lock, ticket)
    if event.token not in (None, holder.token):
        return _refuse(lock, ticket, RefuseReason.STALE_TOKEN)
    if event.lock_id not in (None, holder.lock_id):
        return _refuse(lock, ticket, RefuseReason.OTHER_LOCK_ID)
    after = _without(lock, departed(holder, how=Stage.RELEASED, now=now), now)
    return Decision(lock=after, effects=(Announce(notice=Notice.RELEASED, ticket=ticket, token=holder.token),))


def withdraw(lock: Lock, event: Withdrawn, ticket: Ticket, now: datetime) -> Decision:
    """Take a waiter out of the queue, or only one of its attempts while others still wait."""
    waiter = _waiter(lock, ticket)
    if event.attempt:
        others = without_attempt(waiter.attempts, event.attempt)
        if others == waiter.attempts:
            return unchanged(lock, event, ticket, now)
        if others:
            return Decision(lock=_with_waiter(lock, replace(waiter, attempts=others)), effects=())
    ending = departed(waiter, how=Stage.WITHDRAWN, now=now, by=event.by, reason=event.reason)
    return Decision(lock=_without(lock, ending, now), effects=(_withdrawn(event, token=0),))


def withdraw_early(lock: Lock, event: Withdrawn, ticket: Ticket, now: datetime) -> Decision:
    """Remember a ticket that was withdrawn before its request came, so that the late request is refused."""
    ending = Departure(ticket=ticket, how=Stage.WITHDRAWN, at=now, by=event.by, reason=event.reason)
    return Decision(lock=_without(lock, ending, now), effects=(_withdrawn(event, token=0),))


def withdraw_grant(lock: Lock, event: Withdrawn, ticket: Ticket, now: datetime) -> Decision:
    """Give back a grant that crossed the withdrawal of the only attempt that would hear of it; refuse anybody else."""
    holder = _holder(lock, ticket)
    if not event.attempt:
        return _refuse(lock, ticket, RefuseReason.NOT_WAITING)
    others = without_attempt(holder.attempts, event.attempt)
    if others == holder.attempts:
        return unchanged(lock, event, ticket, now)
    if others:
        return Decision(lock=_with_holder(lock, replace(holder, attempts=others)), effects=())
    ending = departed(holder, how=Stage.WITHDRAWN, now=now, by=event.by, reason=event.reason)
    return Decision(lock=_without(lock, ending, now), effects=(_withdrawn(event, token=holder.token),))


def settled(lock: Lock, holder: Holder) -> Lock:
    """Return the lock after this holder was seen to act: its grant is not called off any more."""
    after = settle(holder)
    return lock if after is holder else _with_holder(lock, after)


def break_grant(lock: Lock, event: Broken, ticket: Ticket, now: datetime) -> Decision:
    """Take exactly this grant away, and spend one more token: a write in flight is older than the record at once."""
    holder = _holder(lock, ticket)
    if event.token != holder.token:
        return _refuse(lock, ticket, RefuseReason.STALE_TOKEN)
    ending = departed(holder, how=Stage.BROKEN, now=now, by=event.by, reason=event.reason)
    after = replace(_without(lock, ending, now), token=lock.token + 1)
    return Decision(lock=after, effects=(Revoke(ticket=ticket, token=holder.token, reason=event.reason),))


def bind(lock: Lock, event: LockIdBound, ticket: Ticket, _now: datetime) -> Decision:
    """Let Terraform's lock id name the grant too."""
    holder = _holder(lock, ticket)
    if event.token != holder.token:
        return _refuse(lock, ticket, RefuseReason.STALE_TOKEN)
    if holder.lock_id == event.lock_id:
        return unchanged(lock, event, ticket, _now)
    if holder.lock_id is not None or _is_known(lock, event.lock_id):
        return _refuse(lock, ticket, RefuseReason.OTHER_LOCK_ID)
    after = _with_holder(lock, settle(replace(holder, lock_id=event.lock_id)))
    return Decision(lock=after, effects=(Announce(notice=Notice.LOCK_ID_BOUND, ticket=ticket, token=holder.token),))


def unbind(lock: Lock, event: LockIdUnbound, ticket: Ticket, _now: datetime) -> Decision:
    """Take Terraform's lock id off the grant."""
    holder = _holder(lock, ticket)
    if event.token != holder.token:
        return _refuse(lock, ticket, RefuseReason.STALE_TOKEN)
    if holder.lock_id is None:
        return unchanged(lock, event, ticket, _now)
    if holder.lock_id != event.lock_id:
        return _refuse(lock, ticket, RefuseReason.OTHER_LOCK_ID)
    after = _with_holder(lock, replace(holder, lock_id=None))
    return Decision(lock=after, effects=(Announce(notice=Notice.LOCK_ID_UNBOUND, ticket=ticket, token=holder.token),))


def bump(lock: Lock, event: Bumped, ticket: Ticket, _now: datetime) -> Decision:
    """Put a waiter before all others, now and later; it still waits for those who hold.

    One that is first already is marked all the same: else the next arrival of a better class would pass it.
    """
    waiter = _waiter(lock, ticket)
    if lock.waiters[0].ticket == ticket and waiter.bumped:
        return unchanged(lock, event, ticket, _now)
    first = replace(waiter, bumped=lock.waiters[0].bumped + 1)
    others = tuple(other for other in lock.waiters if other.ticket != ticket)
    effect = Announce(notice=Notice.BUMPED, ticket=ticket, by=event.by)
    return Decision(lock=replace(lock, waiters=(first, *others)), effects=(effect,))


def hold_back(lock: Lock, event: HeldBack, ticket: Ticket, now: datetime) -> Decision:
    """Pass over a waiter from now on, or not any more. It speaks, so it is there."""
    waiter = _waiter(lock, ticket)
    if waiter.held == event.reason:
        return unchanged(lock, event, ticket, now)
    return Decision(lock=_with_waiter(lock, replace(_heard(waiter, now), held=event.reason)), effects=())


def pause(lock: Lock, event: Paused, ticket: Ticket, now: datetime) -> Decision:
    """Stop granting. The first reason stands until it is resumed, or replaced by who names it."""
    if not changes_pause(lock, event):
        return unchanged(lock, event, ticket, now)
    after = replace(lock, pause=Pause(reason=event.reason, by=event.by, since=now))
    return Decision(lock=after, effects=(Announce(notice=Notice.PAUSED, by=event.by, reason=event.reason),))


def resume(lock: Lock, event: Resumed, ticket: Ticket, now: datetime) -> Decision:
    """Grant again; who names a pause ends that one alone."""
    if not changes_pause(lock, event):
        return unchanged(lock, event, ticket, now)
    return Decision(lock=replace(lock, pause=None), effects=(Announce(notice=Notice.RESUMED, by=event.by),))


def changes_pause(lock: Lock, event: Paused | Resumed) -> bool:
    """Say whether an event pauses or resumes a queue: it is written down before it does, and only then."""
    if not _may_command(lock, event):
        return False
    match event:
        case Paused():
            return lock.pause is None or (bool(event.instead_of) and lock.pause.reason == event.instead_of)
        case Resumed():
            return lock.pause is not None and event.reason in ("", lock.pause.reason)


def _may_command(lock: Lock, event: Paused | Resumed) -> bool:
    return not event.while_held or holder_of(lock, ticket=event.while_held) is not None


def announce_lapsed(lock: Lock, event: Elapsed, _ticket: Ticket, now: datetime) -> Decision:
    """Say whose lease ran out. Nobody loses a grant by the passing of time."""
    if event.doubts_clients and any(_is_unheard_client(waiter, event.server) for waiter in lock.waiters):
        waiters = (
            replace(each, doubted_at=now) if _is_unheard_client(each, event.server) else each for each in lock.waiters
        )
        lock = replace(lock, waiters=tuple(waiters))
    lapsed = (holder for holder in lock.holders if has_lapsed(holder, now))
    effects = tuple(Announce(notice=Notice.LAPSED, ticket=holder.ticket, token=holder.token) for holder in lapsed)
    return Decision(lock=lock, effects=effects)


def unchanged(lock: Lock, _event: object, ticket: Ticket, _now: datetime) -> Decision:
    """Acknowledge a duplicate."""
    return Decision(lock=lock, effects=(Announce(notice=Notice.UNCHANGED, ticket=ticket),))


def refuse_ended(lock: Lock, _event: object, ticket: Ticket, _now: datetime) -> Decision:
    """Refuse a ticket that ended before."""
    return _refuse(lock, ticket, RefuseReason.ENDED)


def refuse_not_holding(lock: Lock, _event: object, ticket: Ticket, _now: datetime) -> Decision:
    """Refuse what only a holder may do."""
    return _refuse(lock, ticket, RefuseReason.NOT_HOLDING)


def refuse_not_waiting(lock: Lock, _event: object, ticket: Ticket, _now: datetime) -> Decision:
    """Refuse what only makes sense for a waiter."""
    return _refuse(lock, ticket, RefuseReason.NOT_WAITING)


def _refuse(lock: Lock, ticket: Ticket, reason: RefuseReason) -> Decision:
    blockers = tuple(holder.ticket for holder in lock.holders if holder.ticket != ticket)
    return Decision(lock=lock, effects=(Refuse(ticket=ticket, reason=reason, blockers=blockers),))


def _withdrawn(event: Withdrawn, *, token: int) -> Announce:
    return Announce(notice=Notice.WITHDRAWN, ticket=event.ticket, token=token, by=event.by, reason=event.reason)


def _holder(lock: Lock, ticket: Ticket) -> Holder:
    return next(holder for holder in lock.holders if holder.ticket == ticket)


def _waiter(lock: Lock, ticket: Ticket) -> Waiter:
    return next(waiter for waiter in lock.waiters if waiter.ticket == ticket)


def _with_holder(lock: Lock, holder: Holder) -> Lock:
    return replace(lock, holders=tuple(holder if old.ticket == holder.ticket else old for old in lock.holders))


def _with_waiter(lock: Lock, waiter: Waiter) -> Lock:
    return replace(lock, waiters=tuple(waiter if old.ticket == waiter.ticket else old for old in lock.waiters))


def _with_place(lock: Lock, waiter: Waiter) -> Lock:
    waiters = list(lock.waiters)
    insort(waiters, waiter, key=service_key)
    return replace(lock, waiters=tuple(waiters))


def _heard(waiter: Waiter, now: datetime) -> Waiter:
    """Return the waiter after a sign of life. One whose every attempt is over stays doubted: nobody would be told."""
    seen_at = latest(waiter.seen_at, now, ahead_s=waiter.patience_s)
    return replace(waiter, seen_at=seen_at, doubted_at=None if waiter.attempts else waiter.doubted_at)


def _is_unheard_client(waiter: Waiter, server: str) -> bool:
    """Say whether it is a plain client that may be gone with a server, or with any when none is named."""
    listened = not server or (
        bool(waiter.attempts) and all(is_heard_by(attempt, server) for attempt in waiter.attempts)
    )
    return not waiter.run and waiter.doubted_at is None and listened


def _without(lock: Lock, ending: Departure, now: datetime) -> Lock:
    without = replace(
        lock,
        holders=tuple(holder for holder in lock.holders if holder.ticket != ending.ticket),
        waiters=tuple(waiter for waiter in lock.waiters if waiter.ticket != ending.ticket),
    )
    return remember(without, ending, now=now)


def _is_known(lock: Lock, lock_id: str) -> bool:
    return holder_of(lock, lock_id=lock_id) is not None or waiter_of(lock, lock_id=lock_id) is not None

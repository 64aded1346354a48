"""Decides who holds a lock and who is next.

Knows: tickets, leases, claims, events, effects. Knows nothing of stores, clocks or Terraform.
The rules it keeps are listed in `invariants.py`; the reasons are in docs/explanation/leases.md.

How one event is decided:
1. Find whom it is about: by ticket, or by Terraform's lock id.
2. Pass over silent waiters (whoever speaks in this event is not silent).
3. Look up event and stage in `TRANSITIONS` and make the move found there; a pair that is not there cannot be built.
4. Grant every waiter that is due.
A refused event leaves the lock exactly as it was, the very same object.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

from msgspec import Struct

from interlock.lock import moves
from interlock.lock.claim import conflicts
from interlock.lock.effects import Effect, Queued, Refuse, RefuseReason
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
from interlock.lock.lock import Lock, Stage, departure_of, holder_of, stage_of, waiter_of
from interlock.lock.moves import Decision
from interlock.lock.spent import is_spent
from interlock.lock.ticket import Ticket
from interlock.lock.turns import blockers_of, grant_due, in_front_of, pass_over_silent

Move: TypeAlias = Callable[[Lock, Any, Ticket, datetime], Decision]
"""(lock, event, ticket, now) -> decision. The event's type is the one of the table row, hence `Any`."""


class Transition(Struct, frozen=True, kw_only=True):
    """One cell of the table.

    Attributes:
        make: The move.
        becomes: Stages in which the ticket may be afterwards; empty when it is always refused.
    """

    make: Move
    becomes: tuple[Stage, ...] = ()


_REFUSE_ENDED = Transition(make=moves.refuse_ended)
_NOT_HOLDING = Transition(make=moves.refuse_not_holding)
_NOT_WAITING = Transition(make=moves.refuse_not_waiting)
_BOTH = (Stage.HOLDING, Stage.WAITING)
_LOCK_LEVEL = (Elapsed, Paused, Resumed, StillWaiting)


def _same(stage: Stage) -> Transition:
    return Transition(make=moves.unchanged, becomes=(stage,))


TRANSITIONS: dict[type[Event], dict[Stage, Transition]] = {
    Requested: {
        Stage.ABSENT: Transition(make=moves.join, becomes=_BOTH),
        Stage.WAITING: Transition(make=moves.ask_again, becomes=_BOTH),
        Stage.HOLDING: Transition(make=moves.confirm, becomes=(Stage.HOLDING,)),
        Stage.SILENT: Transition(make=moves.join, becomes=_BOTH),
        Stage.RELEASED: _REFUSE_ENDED,
        Stage.WITHDRAWN: _REFUSE_ENDED,
        Stage.BROKEN: _REFUSE_ENDED,
        Stage.ENDED: _REFUSE_ENDED,
    },
    Renewed: {
        Stage.ABSENT: _NOT_HOLDING,
        Stage.WAITING: Transition(make=moves.ask_again, becomes=_BOTH),
        Stage.HOLDING: Transition(make=moves.renew, becomes=(Stage.HOLDING,)),
        Stage.SILENT: _NOT_WAITING,
        Stage.RELEASED: _REFUSE_ENDED,
        Stage.WITHDRAWN: _REFUSE_ENDED,
        Stage.BROKEN: _REFUSE_ENDED,
        Stage.ENDED: _REFUSE_ENDED,
    },
    Released: {
        Stage.ABSENT: _NOT_HOLDING,
        Stage.WAITING: _NOT_HOLDING,
        Stage.HOLDING: Transition(make=moves.release, becomes=(Stage.RELEASED,)),
        Stage.SILENT: _NOT_HOLDING,
        Stage.RELEASED: _same(Stage.RELEASED),
        Stage.WITHDRAWN: _REFUSE_ENDED,
        Stage.BROKEN: _REFUSE_ENDED,
        Stage.ENDED: _REFUSE_ENDED,
    },
    Withdrawn: {
        Stage.ABSENT: Transition(make=moves.withdraw_early, becomes=(Stage.WITHDRAWN,)),
        Stage.WAITING: Transition(make=moves.withdraw, becomes=(Stage.WITHDRAWN,)),
        Stage.HOLDING: Transition(make=moves.withdraw_grant, becomes=(Stage.WITHDRAWN,)),
        Stage.SILENT: Transition(make=moves.withdraw_early, becomes=(Stage.WITHDRAWN,)),
        Stage.RELEASED: _same(Stage.RELEASED),
        Stage.WITHDRAWN: _same(Stage.WITHDRAWN),
        Stage.BROKEN: _same(Stage.BROKEN),
        Stage.ENDED: _same(Stage.ENDED),
    },
    Disconnected: {
        Stage.ABSENT: _same(Stage.ABSENT),
        Stage.WAITING: Transition(make=moves.disconnect_waiter, becomes=(Stage.WAITING,)),
        Stage.HOLDING: Transition(make=moves.disconnect_holder, becomes=_BOTH),
        Stage.SILENT: _same(Stage.SILENT),
        Stage.RELEASED: _same(Stage.RELEASED),
        Stage.WITHDRAWN: _same(Stage.WITHDRAWN),
        Stage.BROKEN: _same(Stage.BROKEN),
        Stage.ENDED: _same(Stage.ENDED),
    },
    Broken: {
        Stage.ABSENT: _NOT_HOLDING,
        Stage.WAITING: _NOT_HOLDING,
        Stage.HOLDING: Transition(make=moves.break_grant, becomes=(Stage.BROKEN,)),
        Stage.SILENT: _NOT_HOLDING,
        Stage.RELEASED: _REFUSE_ENDED,
        Stage.WITHDRAWN: _REFUSE_ENDED,
        Stage.BROKEN: _same(Stage.BROKEN),
        Stage.ENDED: _REFUSE_ENDED,
    },
    LockIdBound: {
        Stage.ABSENT: _NOT_HOLDING,
        Stage.WAITING: _NOT_HOLDING,
        Stage.HOLDING: Transition(make=moves.bind, becomes=(Stage.HOLDING,)),
        Stage.SILENT: _NOT_HOLDING,
        Stage.RELEASED: _REFUSE_ENDED,
        Stage.WITHDRAWN: _REFUSE_ENDED,
        Stage.BROKEN: _REFUSE_ENDED,
        Stage.ENDED: _REFUSE_ENDED,
    },
    LockIdUnbound: {
        Stage.ABSENT: _NOT_HOLDING,
        Stage.WAITING: _NOT_HOLDING,
        Stage.HOLDING: Transition(make=moves.unbind, becomes=(Stage.HOLDING,)),
        Stage.SILENT: _NOT_HOLDING,
        Stage.RELEASED: _REFUSE_ENDED,
        Stage.WITHDRAWN: _REFUSE_ENDED,
        Stage.BROKEN: _REFUSE_ENDED,
        Stage.ENDED: _REFUSE_ENDED,
    },
    Bumped: {
        Stage.ABSENT: _NOT_WAITING,
        Stage.WAITING: Transition(make=moves.bump, becomes=_BOTH),
        Stage.HOLDING: _NOT_WAITING,
        Stage.SILENT: _NOT_WAITING,
        Stage.RELEASED: _NOT_WAITING,
        Stage.WITHDRAWN: _NOT_WAITING,
        Stage.BROKEN: _NOT_WAITING,
        Stage.ENDED: _NOT_WAITING,
    },
    HeldBack: {
        Stage.ABSENT: _NOT_WAITING,
        Stage.WAITING: Transition(make=moves.hold_back, becomes=_BOTH),
        Stage.HOLDING: _NOT_WAITING,
        Stage.SILENT: _NOT_WAITING,
        Stage.RELEASED: _NOT_WAITING,
        Stage.WITHDRAWN: _NOT_WAITING,
        Stage.BROKEN: _NOT_WAITING,
        Stage.ENDED: _NOT_WAITING,
    },
    # These are about the lock as a whole; they name no ticket, and no ticket is absent.
    Elapsed: {Stage.ABSENT: Transition(make=moves.announce_lapsed, becomes=(Stage.ABSENT,))},
    Paused: {Stage.ABSENT: Transition(make=moves.pause, becomes=(Stage.ABSENT,))},
    Resumed: {Stage.ABSENT: Transition(make=moves.resume, becomes=(Stage.ABSENT,))},
    StillWaiting: {Stage.ABSENT: Transition(make=moves.hear_all, becomes=(Stage.ABSENT,))},
}
"""Event, stage of the ticket it names -> what happens. The diagram in docs/explanation/leases.md is drawn from this."""


def decide(lock: Lock, event: Event, *, now: datetime) -> Decision:
    """Return the lock after `event`, and what must be done about it.

    Args:
        lock: The lock as stored.
        event: What happened.
        now: Aware UTC instant of this decision. It may go back against earlier ones: order and safety do not rest
            on it, only lapsed leases and dropped silent waiters do.

    Returns:
        The next lock (the same object when nothing changed) and the effects in the order to perform them.
    """
    ticket = _ticket_of(lock, event)
    transition = TRANSITIONS[type(event)][stage_of(lock, ticket)]
    speaking = event.tickets if isinstance(event, StillWaiting) else (ticket,)
    heard, passed_over = pass_over_silent(lock, now, sparing=speaking)
    moved = transition.make(heard, event, ticket, now)
    if moved.refused:
        return Decision(lock=lock, effects=moved.effects)
    settled, grants = grant_due(moved.lock, now)
    if isinstance(event, Requested | Renewed):
        answer = _answer(settled, event, ticket)
        if answer and isinstance(answer[0], Refuse):
            return Decision(lock=lock, effects=answer)
        if isinstance(event, Requested) and event.polls:
            settled = moves.leave_the_line(settled, event, ticket, now)
        return Decision(lock=settled, effects=passed_over + moved.effects + grants + answer)
    return Decision(lock=settled, effects=passed_over + moved.effects + grants)


def _ticket_of(lock: Lock, event: Event) -> Ticket:
    """Return the ticket that the event is about: the one it names, or the one known under its lock id."""
    if isinstance(event, _LOCK_LEVEL):
        return ""
    if not isinstance(event, Requested | Released) or event.lock_id is None:
        return event.ticket or ""
    if event.ticket is not None and stage_of(lock, event.ticket) is not Stage.ABSENT:
        return event.ticket
    known = (
        holder_of(lock, lock_id=event.lock_id)
        or waiter_of(lock, lock_id=event.lock_id)
        or departure_of(lock, lock_id=event.lock_id)
    )
    if known is None and is_spent(lock.spent, event.lock_id):
        return event.lock_id  # which ticket it had is forgotten; it ended under either name
    return known.ticket if known else event.ticket or ""


def _answer(lock: Lock, event: Requested | Renewed, ticket: Ticket) -> tuple[Effect, ...]:
    """Tell a party that still waits where it stands; one that would not wait is refused."""
    waiter = waiter_of(lock, ticket=ticket)
    if waiter is None:
        return ()
    if isinstance(event, Requested) and not event.queue:
        blockers = blockers_of(lock, waiter)
        held = any(conflicts(holder.claim, waiter.claim) for holder in lock.holders)
        reason = RefuseReason.PAUSED if lock.pause and not held else RefuseReason.HELD
        return (Refuse(ticket=ticket, reason=reason, blockers=blockers),)
    ahead = tuple(other.ticket for other in in_front_of(lock, waiter))
    return (Queued(ticket=ticket, position=len(ahead) + 1, ahead=ahead),)

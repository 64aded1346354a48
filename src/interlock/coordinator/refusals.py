"""Turns a refusal of the lock machine into the error that its caller understands."""

from __future__ import annotations

from interlock.errors import InterlockError, LeaseLost, LockHeld, Superseded, UsageError, WaitTimeout, command
from interlock.instants import spelled
from interlock.lock import Departure, Lock, Refuse, RefuseReason, Stage, departure_of, waiter_of

_BLOCKERS_NAMED = 3  # more names than this help nobody


class HeadMoved(InterlockError):
    """The current version of a state is not the one that a write was to replace; nothing was written.

    The caller knows what it wrote and says whether that is a stale plan, a conflict, or a repetition.
    """

    code = "head-moved"
    http_status = 409


class PlaceLost(Superseded):
    """A waiter was silent for longer than its patience and lost its place; it may ask again, at the end."""

    code = "place-lost"


def refusal(state: str, lock: Lock, refuse: Refuse) -> InterlockError:
    """Return the error for this refusal, with the names of those in the way or the reason of the ticket's end."""
    match refuse.reason:
        case RefuseReason.HELD | RefuseReason.PAUSED | RefuseReason.QUEUE_FULL:
            return _not_now(state, lock, refuse)
        case RefuseReason.OTHER_LOCK_ID:
            return LockHeld(
                f'state "{state}" is locked under another lock id',
                why=name_blockers(lock, refuse),
                fix=command("lock", "show", state),
                state=state,
            )
        case RefuseReason.NOT_WAITING:
            return UsageError(
                f'ticket {refuse.ticket} does not wait for state "{state}"',
                why=_ending(departure_of(lock, ticket=refuse.ticket)),
                fix=command("queue", "ls", state),
                state=state,
            )
        case RefuseReason.ENDED | RefuseReason.NOT_HOLDING | RefuseReason.STALE_TOKEN:
            return lease_lost(state, lock, ticket=refuse.ticket)


def lease_lost(
    state: str, lock: Lock, *, ticket: str | None = None, lock_id: str | None = None, token: int | None = None
) -> InterlockError:
    """Return why this ticket, lock id or token has no current grant: withdrawn while waiting, or fenced."""
    ending = departure_of(lock, ticket=ticket, lock_id=lock_id, token=token)
    if ending is not None and ending.how in (Stage.WITHDRAWN, Stage.SILENT) and not ending.token:
        return superseded(state, ending)
    now = ", ".join(f"token {holder.token} holds it now ({holder.who})" for holder in lock.holders[:_BLOCKERS_NAMED])
    return LeaseLost(
        f'the grant on state "{state}" is not current',
        why="; ".join(part for part in (_ending(ending), now) if part),
        fix=f"{command('lock', 'show', state)}, then start a new run",
        state=state,
    )


def superseded(state: str, ending: Departure) -> InterlockError:
    """Return the error of a waiter that was withdrawn, or that lost its place by silence."""
    family = PlaceLost if ending.how is Stage.SILENT else Superseded
    return family(
        f'the run no longer waits for state "{state}"',
        why=_ending(ending),
        fix="start a new run",
        state=state,
        by=ending.by,
    )


def called_off(state: str, ticket: str) -> PlaceLost:
    """Return the error of an attempt that the lock counts on no more, while its ticket waits or holds by another."""
    return PlaceLost(
        f'this attempt no longer waits for state "{state}"',
        why=f"it was silent for too long; {ticket} asked again by another way meanwhile",
        fix=command("queue", "ls", state),
        state=state,
    )


def timed_out(state: str, lock: Lock, ticket: str, position: int, timeout_s: float) -> InterlockError:
    """Return the error of a waiter whose time is up."""
    holders = _names(lock, tuple(holder.ticket for holder in lock.holders))
    paused = f'paused by {lock.pause.by}: "{lock.pause.reason}"' if lock.pause else ""
    waiter = waiter_of(lock, ticket=ticket)
    held = f"held back: {waiter.held}" if waiter is not None and waiter.held else ""
    return WaitTimeout(
        f'gave up waiting for state "{state}" after {round(timeout_s, 1):g} s at position {position}',
        why="; ".join(part for part in (held, holders, paused) if part),
        fix=f"{command('queue', 'ls', state)}, or a longer --wait",
        state=state,
    )


def name_blockers(lock: Lock, refuse: Refuse) -> str:
    """Return one line with those in the way."""
    return _names(lock, refuse.blockers)


def _not_now(state: str, lock: Lock, refuse: Refuse) -> InterlockError:
    if refuse.reason is RefuseReason.PAUSED and lock.pause:
        why = f'paused by {lock.pause.by} since {spelled(lock.pause.since)}: "{lock.pause.reason}"'
    elif refuse.reason is RefuseReason.QUEUE_FULL:
        why = f"the queue is full: {len(lock.waiters)} wait"
    else:
        why = name_blockers(lock, refuse)
    return WaitTimeout(
        f'state "{state}" cannot be had now',
        why=why,
        fix=f"wait for it, or {command('lock', 'show', state)}",
        state=state,
    )


def _names(lock: Lock, tickets: tuple[str, ...]) -> str:
    parts = []
    for ticket in tickets[:_BLOCKERS_NAMED]:
        holder = next((holder for holder in lock.holders if holder.ticket == ticket), None)
        waiter = next((waiter for waiter in lock.waiters if waiter.ticket == ticket), None)
        if holder:
            run = f", run {holder.run}" if holder.run else ""
            parts.append(f"held by {holder.who}{run} since {spelled(holder.lease.granted_at)}")
        elif waiter:
            parts.append(f"{waiter.who} waits in front")
    if len(tickets) > _BLOCKERS_NAMED:
        parts.append(f"and {len(tickets) - _BLOCKERS_NAMED} more")
    return "; ".join(parts)


def _ending(ending: Departure | None) -> str:
    if ending is None:
        return "it is not known here"
    at, by = f"at {spelled(ending.at)}", f" by {ending.by}" if ending.by else ""
    reason = f": {ending.reason}" if ending.reason else ""
    match ending.how:
        case Stage.BROKEN:
            return f"the lease (token {ending.token}) was recovered {at}{by}{reason}"
        case Stage.SILENT:
            return f"it was silent for too long and lost its place {at}"
        case Stage.WITHDRAWN:
            return f"withdrawn {at}{by}{reason}"
        case _:
            return f"released {at}"

"""What a client may tell a lock, and as whom it is written down. Pure.

A client says who it is; what counts is its token. So the server writes the token's own name behind what was said, and
what one token began, another one ends only with the right to unlock by force. Knowing a ticket, a lock id or a fencing
token gives no right: everybody who waits for a state sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from interlock.errors import UsageError, command
from interlock.lock import (
    Broken,
    Bumped,
    Disconnected,
    Elapsed,
    Event,
    HeldBack,
    Holder,
    Lock,
    LockIdBound,
    LockIdUnbound,
    Party,
    Paused,
    Priority,
    Released,
    Renewed,
    Requested,
    Resumed,
    StillWaiting,
    Withdrawn,
    holder_of,
)
from interlock.lock.events import TEXT_MAX
from interlock.rights import Right
from interlock.rights.callers import Caller, check_run, may_do
from interlock.rights.token import Forbidden

_SAID_MAX: Final = 200


def signed(said: str, caller: Caller) -> str:
    """Return who acts: what the client says of itself, and behind it whose token it showed."""
    mark = f"({caller.key})"
    name = caller.who if caller.who.endswith(mark) else f"{caller.who} {mark}"
    said = said.removesuffix(name).removesuffix(" as ")  # as a run's record has it, which its recovery says again
    return f"{said[:_SAID_MAX]} as {name}"[-TEXT_MAX:] if said else name[-TEXT_MAX:]


def is_of(who: str, caller: Caller) -> bool:
    """Say whether what `signed` made names this one."""
    return who.endswith(f"({caller.key})")


def holds_some(caller: Caller, lock: Lock) -> bool:
    """Say whether a grant on a state is this one's."""
    return any(is_of(holder.who, caller) for holder in lock.holders)


def judge(caller: Caller, state: str, lock: Lock, event: Event) -> Event:
    """Return an event as the lock is told it.

    Args:
        caller: Who tells it.
        state: The state.
        lock: Its lock as it is now.
        event: As it was sent.

    Raises:
        Forbidden: Who tells it has not the right to.
        UsageError: No client tells this.
    """
    if not isinstance(event, Requested | Paused | Resumed | Bumped | Withdrawn | Broken | Released):
        caller.check(Right.PLAN, state)
    match event:
        case Requested():
            caller.check(Right.APPLY if event.priority is Priority.APPLY else Right.PLAN, state)
            check_run(caller, event.run)
            if event.through:  # it passes a pause, which only those may who could end it
                caller.check(Right.FREEZE, state)
            _check_own(caller, state, _named(lock, event.ticket, event.lock_id))
        case Renewed() | Disconnected() | LockIdBound() | LockIdUnbound() | HeldBack():
            _check_own(caller, state, _named(lock, event.ticket, None))
        case StillWaiting():
            _check_own(caller, state, (each for each in lock.waiters if each.ticket in event.tickets))
        case Released():
            _check_may_end(caller, state, _named(lock, event.ticket, event.lock_id))
            caller.check(Right.PLAN, state)
        case Withdrawn() | Broken():
            _check_may_end(caller, state, _named(lock, event.ticket, None))
            caller.check(Right.PLAN, state)
        case Paused() | Resumed() | Bumped():
            caller.check(Right.FREEZE, state)
        case Elapsed():
            _check_no_servers(event)
    return _written_down(event, caller)


def _written_down(event: Event, caller: Caller) -> Event:
    """Return an event with who told it, where it says so."""
    match event:
        case Requested():
            return replace(event, who=signed(event.who, caller))
        case Broken() | Paused() | Resumed() | Bumped():
            return replace(event, by=signed(event.by, caller))
        case Withdrawn(attempt=""):  # by somebody else, or by its own party for good
            return replace(event, by=signed(event.by, caller))
        case _:
            return event


def _check_no_servers(event: Elapsed) -> None:
    if event.doubts_clients or event.server:
        raise UsageError("only a server says that another one is gone")


def check_writer(
    caller: Caller, state: str, lock: Lock, *, ticket: str | None, token: int | None, lock_id: str | None
) -> None:
    """Refuse a write under a grant that somebody else was given. That there is such a grant the archive checks.

    Raises:
        Forbidden: It is another's.
    """
    holder = holder_of(lock, ticket=ticket, token=token, lock_id=lock_id)
    if holder is not None:
        _check_may_end(caller, state, (holder,))


def ended_by_force(caller: Caller, lock: Lock, event: Event) -> Holder | None:
    """Return the holder whose grant an event ends that somebody else began; None when it ends none."""
    match event:
        case Broken() | Withdrawn():
            named = holder_of(lock, ticket=event.ticket)
        case Released():
            named = holder_of(lock, ticket=event.ticket, token=event.token, lock_id=event.lock_id)
        case _:
            return None
    return named if named is not None and not is_of(named.who, caller) else None


def broken_by(lock: Lock, event: Event) -> Holder | None:
    """Return the holder whose grant an event breaks, also one of the same caller: of another run, which is gone."""
    return holder_of(lock, ticket=event.ticket) if isinstance(event, Broken) else None


def _check_own(caller: Caller, state: str, parties: Iterable[Party]) -> None:
    for party in parties:
        if not is_of(party.who, caller):
            raise _of_another(caller, state, party)


def _check_may_end(caller: Caller, state: str, parties: Iterable[Party]) -> None:
    for party in parties:
        if not is_of(party.who, caller) and not may_do(caller, Right.FORCE_UNLOCK, state):
            raise _of_another(caller, state, party)


def _of_another(caller: Caller, state: str, party: Party) -> Forbidden:
    place = "grant" if isinstance(party, Holder) else "place in the queue"
    return Forbidden(
        f"the {place} of {party.run or party.ticket} on state {state!r} was not changed",
        why=f"{party.who} asked for it, and {caller.who} may not unlock by force",
        fix=command("token", "create", "--role", "operator", "--states", state),
        state=state,
    )


def _named(lock: Lock, ticket: str | None, lock_id: str | None) -> Iterator[Party]:
    for party in (*lock.holders, *lock.waiters):
        if (ticket is not None and party.ticket == ticket) or (lock_id is not None and party.lock_id == lock_id):
            yield party

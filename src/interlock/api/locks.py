"""Queues and locks over HTTP: events, decisions and records as both ends spell them. Pure.

A client tells events and is told decisions; it never sends a record. The server judges each event, and writes down who
told it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import msgspec
from msgspec import Struct

from interlock.coordinator.record import Head, StateRecord, decode, encode
from interlock.coordinator.view import View
from interlock.errors import UsageError, reason_of
from interlock.lock import (
    Announce,
    Broken,
    Bumped,
    Decision,
    Disconnected,
    Effect,
    Elapsed,
    Event,
    Grant,
    HeldBack,
    LockIdBound,
    LockIdUnbound,
    Paused,
    Queued,
    Refuse,
    Released,
    Renewed,
    Requested,
    Resumed,
    Revoke,
    StillWaiting,
    Wake,
    Withdrawn,
    from_data,
    to_data,
)

WAIT_S_MAX: Final = 50.0
"""Longest that one question waits for a change; most proxies end a silent request after 60 s."""
PAGE_MAX: Final = 200
"""Most states in one answer."""


class EventName(Enum):
    """What an event is called."""

    REQUESTED = "requested"
    RENEWED = "renewed"
    RELEASED = "released"
    WITHDRAWN = "withdrawn"
    DISCONNECTED = "disconnected"
    STILL_WAITING = "still-waiting"
    BROKEN = "broken"
    ELAPSED = "elapsed"
    PAUSED = "paused"
    RESUMED = "resumed"
    BUMPED = "bumped"
    HELD_BACK = "held-back"
    LOCK_ID_BOUND = "lock-id-bound"
    LOCK_ID_UNBOUND = "lock-id-unbound"


_EVENTS: Final[Mapping[EventName, type[Event]]] = {
    EventName.REQUESTED: Requested,
    EventName.RENEWED: Renewed,
    EventName.RELEASED: Released,
    EventName.WITHDRAWN: Withdrawn,
    EventName.DISCONNECTED: Disconnected,
    EventName.STILL_WAITING: StillWaiting,
    EventName.BROKEN: Broken,
    EventName.ELAPSED: Elapsed,
    EventName.PAUSED: Paused,
    EventName.RESUMED: Resumed,
    EventName.BUMPED: Bumped,
    EventName.HELD_BACK: HeldBack,
    EventName.LOCK_ID_BOUND: LockIdBound,
    EventName.LOCK_ID_UNBOUND: LockIdUnbound,
}
_EVENT_NAMES: Final = {kind: name for name, kind in _EVENTS.items()}
_EFFECTS: Final[Mapping[str, type[Effect]]] = {
    each.__name__.lower(): each for each in (Grant, Queued, Refuse, Wake, Revoke, Announce)
}


class ToldEvent(Struct, frozen=True, kw_only=True):
    """An event for a lock.

    Attributes:
        event: Which.
        facts: Its fields. Who it is comes from the token; `who` and `by` are kept beside that.
    """

    event: EventName
    facts: dict[str, Any]


class ToldEffect(Struct, frozen=True, kw_only=True):
    """What follows from a decision: `grant`, `queued`, `refuse`, `wake`, `revoke` or `announce`, with its fields."""

    effect: str
    facts: dict[str, Any]


class ToldDecision(Struct, frozen=True, kw_only=True):
    """What was decided and stored.

    Attributes:
        lock: The lock after it.
        effects: What follows, in order.
    """

    lock: dict[str, Any]
    effects: list[ToldEffect]


class ToldState(Struct, frozen=True, kw_only=True):
    """One state: who holds it, who waits for it, which version is current.

    Attributes:
        state: Its name.
        version: Version of this record, to be passed as `seen`; 0 when nobody ever asked for the state.
        record: The lock and the head.
    """

    state: str
    version: int
    record: msgspec.Raw


class ToldStates(Struct, frozen=True, kw_only=True):
    """A page of states, by name.

    Attributes:
        states: Those that the token may see.
        next: What to pass as `after` for the next page; empty at the end.
    """

    states: list[ToldState]
    next: str = ""


class StoredElsewhere(Struct, frozen=True, kw_only=True):
    """What the holder of a queue stored in another backend.

    Attributes:
        expected_head: What was noted before.
        new_head: What is stored now.
        ticket: Ticket of the grant; one of the three that name a grant must be given.
        lock_id: Terraform's lock id of the grant.
        token: Fencing token of the grant.
    """

    expected_head: Head | None
    new_head: Head | None
    ticket: str | None = None
    lock_id: str | None = None
    token: int | None = None


def told_event(event: Event) -> ToldEvent:
    """Return an event as it is sent."""
    return ToldEvent(event=_EVENT_NAMES[type(event)], facts=msgspec.to_builtins(event))


def event_of(told: ToldEvent) -> Event:
    """Return the event that was sent.

    Raises:
        UsageError: It is not one.
    """
    try:
        return msgspec.convert(told.facts, _EVENTS[told.event])
    except msgspec.ValidationError as error:
        raise UsageError(f"the event {told.event.value!r} cannot be told", why=reason_of(error)) from error


def told_decision(decision: Decision) -> ToldDecision:
    """Return a decision as it is answered."""
    effects = [
        ToldEffect(effect=type(effect).__name__.lower(), facts=msgspec.to_builtins(effect))
        for effect in decision.effects
    ]
    return ToldDecision(lock=to_data(decision.lock), effects=effects)


def decision_of(told: ToldDecision) -> Decision:
    """Return the decision that was answered.

    Raises:
        BackendUnavailable: A newer server made it, or it cannot be read.
        msgspec.ValidationError: It has not the expected form.
    """
    effects = tuple(msgspec.convert(each.facts, _EFFECTS[each.effect]) for each in told.effects)
    return Decision(lock=from_data(told.lock), effects=effects)


def told_state(view: View) -> ToldState:
    """Return a state as it is answered."""
    record = encode(StateRecord(lock=view.lock, head=view.head))
    return ToldState(state=view.state, version=view.version or 0, record=msgspec.Raw(record))


def view_of(told: ToldState) -> View:
    """Return the state that was answered. Raises as `coordinator.record.decode`."""
    record = decode(bytes(told.record))
    return View(state=told.state, version=told.version or None, lock=record.lock, head=record.head)

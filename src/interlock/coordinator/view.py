"""What a coordinator tells: a state as a whole, and where one ticket stands."""

from __future__ import annotations

from msgspec import Struct

from interlock.coordinator.record import Head
from interlock.lock import (
    Departure,
    FencingToken,
    Holder,
    Lock,
    Pause,
    Stage,
    Ticket,
    Waiter,
    departure_of,
    holder_of,
    in_front_of,
    stage_of,
    waiter_of,
)


class View(Struct, frozen=True, kw_only=True):
    """A state at one version of its record.

    Attributes:
        state: Its name.
        version: Version of the record, to be passed to `Coordinator.watch`; None when nothing is stored.
        lock: Who holds, who waits.
        head: The current state version, or None.
    """

    state: str
    version: int | None
    lock: Lock
    head: Head | None


class Standing(Struct, frozen=True, kw_only=True):
    """Where a ticket stands.

    Attributes:
        state: Name of the state.
        ticket: The ticket.
        stage: Waiting, holding, or how it ended.
        token: Fencing token while it holds, else None.
        position: 1 for the first waiter in order of service; 0 when it does not wait.
        ahead: Waiters that are served before it.
        waiter: The ticket's own entry in the queue while it waits.
        holders: Who holds now.
        pause: Why nobody is granted, if so.
        departure: How the ticket ended, if it did.
    """

    state: str
    ticket: Ticket
    stage: Stage
    token: FencingToken | None
    position: int
    ahead: tuple[Waiter, ...]
    waiter: Waiter | None
    holders: tuple[Holder, ...]
    pause: Pause | None
    departure: Departure | None

    def shape(self) -> tuple[object, ...]:
        """Return what a person would notice changing: not the heartbeats."""
        ahead = tuple(waiter.ticket for waiter in self.ahead)
        held = self.waiter.held if self.waiter is not None else ""
        return (self.stage, self.token, self.position, ahead, tuple(h.token for h in self.holders), self.pause, held)


def standing_of(state: str, lock: Lock, ticket: Ticket) -> Standing:
    """Return where `ticket` stands in `lock`."""
    holder = holder_of(lock, ticket=ticket)
    waiter = waiter_of(lock, ticket=ticket)
    ahead = in_front_of(lock, waiter) if waiter else ()
    stage = stage_of(lock, ticket)
    return Standing(
        state=state,
        ticket=ticket,
        stage=stage,
        token=holder.token if holder else None,
        position=len(ahead) + 1 if waiter else 0,
        ahead=ahead,
        waiter=waiter,
        holders=lock.holders,
        pause=lock.pause,
        departure=departure_of(lock, ticket=ticket) if stage not in (Stage.HOLDING, Stage.WAITING) else None,
    )

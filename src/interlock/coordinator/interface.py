"""What every coordinator does, near or far: the loop of load, decide, swap, perform, by name.

All methods take state names as `names.check_state_name` has them and may raise `BackendUnavailable`; then the outcome
is unknown and the call may be repeated: every event is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeAlias

from interlock.coordinator.record import Head
from interlock.coordinator.view import Standing, View
from interlock.lock import Broken, Decision, Event, FencingToken, Grant, Lease, Lock, Requested, Ticket
from interlock.lock.ticket import NOBODY_SAID, Attempt

OnChange: TypeAlias = Callable[[Standing], None]
"""Called with each standing that a person would notice."""

EventOf: TypeAlias = Callable[[Lock, datetime], Event]
"""Returns the event for the lock that it will meet, at the instant of the decision; raises what refuses it."""
RequestOf: TypeAlias = Callable[[Lock, datetime], Requested]
"""The same of a request."""


class Coordinator(Protocol):
    """Decides about the locks of many states, and keeps what it decided."""

    def new_ticket(self) -> Ticket:
        """Return a ticket that nobody has."""
        ...

    async def apply_event(self, state: str, event: Event) -> Decision:
        """Tell the lock of `state` an event; return what was decided and stored. A refusal is not an error here."""
        ...

    async def apply_event_of(self, state: str, event_of: EventOf) -> Decision:
        """Tell the lock of `state` the event that `event_of` returns for it, as `apply_event`.

        Near the store it is called on the very lock that the event meets, again when somebody else was faster: who
        looks at a lock first, and then tells it something, needs no question of its own. Raises what `event_of` raises.
        """
        ...

    async def request_of(self, state: str, request_of: RequestOf) -> Standing:
        """Ask for the lock as `request` does, by the request that `request_of` returns; see `apply_event_of`."""
        ...

    async def request(self, state: str, request: Requested) -> Standing:
        """Ask for the lock, or repeat the question; return where the ticket stands.

        Raises:
            WaitTimeout: It cannot be had now and `request.queue` is False, or the queue is full.
            Superseded: The ticket was withdrawn.
            LeaseLost: The ticket held and ended.
            LockHeld: Another lock id is bound to the ticket.
        """
        ...

    async def acquire(
        self, state: str, request: Requested, *, timeout_s: float | None, on_change: OnChange | None = None
    ) -> Grant:
        """Ask for the lock and wait until it is granted.

        When this raises or is cancelled, neither a place in the queue nor a grant stays behind, and the ticket is
        used up. A waiter that lost its place because this process was stopped joins again at the end.

        Args:
            state: The state.
            request: Who asks, and for what.
            timeout_s: Seconds to wait at most; None for no limit.
            on_change: Told the first standing and each noticeable change.

        Raises:
            WaitTimeout: The time is up, or the lock cannot be had now and `request.queue` is False.
            Superseded: Somebody withdrew the ticket.
        """
        ...

    async def await_grant(
        self,
        state: str,
        ticket: Ticket,
        *,
        timeout_s: float | None,
        on_change: OnChange | None = None,
        attempt: Attempt = NOBODY_SAID,
    ) -> Grant:
        """Wait until the ticket holds, showing signs of life meanwhile; return its grant.

        The place in the queue stays when this raises or is cancelled: withdraw it, or come back within its patience.

        Args:
            state: The state.
            ticket: A ticket that `request` put into the queue.
            timeout_s: Seconds to wait at most; None for no limit.
            on_change: Told the first standing and each noticeable change.
            attempt: The attempt under which it was put there.

        Raises:
            WaitTimeout: The time is up.
            PlaceLost: The ticket was silent for longer than its patience, or this attempt was called off meanwhile;
                `request` lets it wait again, in its place if it still has one.
            Superseded: The ticket was withdrawn.
            LeaseLost: The ticket held and ended before this call noticed, or it is not known.
        """
        ...

    async def renew(self, state: str, ticket: Ticket, token: FencingToken) -> Lease:
        """Send a heartbeat; return the extended lease.

        Raises:
            LeaseLost: The grant is not current. Stop acting.
        """
        ...

    async def release(
        self,
        state: str,
        ticket: Ticket | None = None,
        token: FencingToken | None = None,
        *,
        lock_id: str | None = None,
    ) -> None:
        """Give a grant back. Repeating it is fine.

        Raises:
            LeaseLost: The grant is not current, for another reason than its release.
            LockHeld: The lock id is another one.
        """
        ...

    async def withdraw(self, state: str, ticket: Ticket, *, attempt: str = "", by: str = "", reason: str = "") -> None:
        """Leave the queue. With the party's own `attempt`, also give back a grant that crossed this; see `Withdrawn`.

        Raises:
            UsageError: The ticket holds, and no attempt is named.
        """
        ...

    async def break_(self, state: str, broken: Broken) -> None:
        """Take exactly this grant away; only recovery calls it, after a verdict of `gone`.

        Raises:
            LeaseLost: That grant is not current, so there is nothing to break.
        """
        ...

    async def pause(self, state: str, *, by: str, reason: str, instead_of: str = "", while_held: Ticket = "") -> None:
        """Make no new grants until resumed; the first reason stands unless `instead_of` names it: see `Paused`."""
        ...

    async def resume(self, state: str, *, by: str, reason: str = "", while_held: Ticket = "") -> None:
        """Make grants again; with a reason only if that is the reason of the pause; see `Resumed`."""
        ...

    async def bump(self, state: str, ticket: Ticket, *, by: str = "") -> None:
        """Put a waiter at the front of the queue.

        Raises:
            UsageError: The ticket does not wait.
        """
        ...

    async def hold_back(self, state: str, ticket: Ticket, *, reason: str) -> None:
        """Let a waiter be passed over, in its place, until it is called with an empty `reason`.

        Raises:
            UsageError: The ticket does not wait.
        """
        ...

    async def view(self, state: str) -> View:
        """Return the state; one that nobody ever asked for is free and has no head."""
        ...

    async def watch(self, state: str, *, seen: int | None, timeout_s: float) -> View:
        """Return the state as soon as its record differs from version `seen`, or after `timeout_s` seconds."""
        ...

    async def states(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> list[View]:
        """Return the states whose name begins with `prefix`, in order of their names.

        Args:
            prefix: The beginning of their names.
            after: The name behind which to begin.
            limit: Most of them, at least 1; None for all.
        """
        ...


class HeadKeeper(Coordinator, Protocol):
    """A coordinator at its store, which also says which version of a state is current. Clients of a server have none.

    It is part of no interface that crosses a network: what becomes current is judged where it is stored.
    """

    async def update_head(
        self,
        state: str,
        *,
        expected_head: Head | None,
        new_head: Head | None,
        ticket: Ticket | None = None,
        lock_id: str | None = None,
        token: FencingToken | None = None,
    ) -> Head | None:
        """Make `new_head` the current version, if the named grant is current and the version is `expected_head`.

        Both are checked in the compare-and-swap that writes. Repeating it is fine.

        Returns:
            `new_head`.

        Raises:
            LeaseLost: The grant is not current, or `new_head.token` is not its token. Nothing was written.
            HeadMoved: Another version is current. Nothing was written.
        """
        ...

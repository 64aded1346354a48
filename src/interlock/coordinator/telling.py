"""What all coordinators do in one way: ask, wait, renew, release, by telling events. A hand: it waits.

Whoever can tell a lock an event and read its record has all the rest from here, near the store or behind a server.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from datetime import datetime

from interlock.clock import Clock
from interlock.coordinator.acquiring import acquire
from interlock.coordinator.interface import EventOf, OnChange, RequestOf
from interlock.coordinator.lookout import Lookout, ReadRecords, Stored
from interlock.coordinator.names import check_state_name, key_of
from interlock.coordinator.refusals import lease_lost, refusal
from interlock.coordinator.view import Standing, View, standing_of
from interlock.coordinator.waiting import Wait
from interlock.ids import Ids
from interlock.lock import (
    Broken,
    Bumped,
    Decision,
    Event,
    FencingToken,
    Grant,
    HeldBack,
    Lease,
    Lock,
    Paused,
    Released,
    Renewed,
    Requested,
    Resumed,
    StillWaiting,
    Ticket,
    Withdrawn,
    holder_of,
    waiter_of,
)
from interlock.lock.ticket import NOBODY_SAID, Attempt


class TellingCoordinator(ABC):
    """A `Coordinator` but for what is done to the store itself.

    Args:
        read: Where the records of states are read and watched.
        clock: For leases, patience and time limits.
        ids: For tickets.
    """

    def __init__(self, read: ReadRecords, clock: Clock, ids: Ids) -> None:
        self._read = read
        self._clock = clock
        self._ids = ids
        self._lookout = Lookout(read, clock)
        self._signing: dict[str, asyncio.Task[None]] = {}

    @abstractmethod
    async def apply_event(self, state: str, event: Event) -> Decision:
        """See `Coordinator.apply_event`."""

    @abstractmethod
    async def states(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> list[View]:
        """See `Coordinator.states`."""

    def new_ticket(self) -> Ticket:
        """See `Coordinator.new_ticket`."""
        return self._ids.fresh()

    async def apply_event_of(self, state: str, event_of: EventOf) -> Decision:
        """See `Coordinator.apply_event_of`. Far from the store the lock is read first."""
        lock = (await self.view(state)).lock
        return await self.apply_event(state, event_of(lock, self._clock.now()))

    async def request_of(self, state: str, request_of: RequestOf) -> Standing:
        """See `Coordinator.request_of`."""
        requests: list[Requested] = []

        def last(lock: Lock, now: datetime) -> Requested:
            requests[:] = [request_of(lock, now)]
            return requests[0]

        decision = _accepted(state, await self.apply_event_of(state, last))
        return self._standing(state, decision, requests[0])

    async def request(self, state: str, request: Requested) -> Standing:
        """See `Coordinator.request`."""
        return self._standing(state, await self._told(state, request), request)

    @staticmethod
    def _standing(state: str, decision: Decision, request: Requested) -> Standing:
        party = holder_of(decision.lock, ticket=request.ticket) or waiter_of(decision.lock, ticket=request.ticket)
        if party is None and request.lock_id is not None:  # known under its lock id, by another ticket
            party = holder_of(decision.lock, lock_id=request.lock_id) or waiter_of(
                decision.lock, lock_id=request.lock_id
            )
        return standing_of(state, decision.lock, party.ticket if party else request.ticket)

    async def acquire(
        self, state: str, request: Requested, *, timeout_s: float | None, on_change: OnChange | None = None
    ) -> Grant:
        """See `Coordinator.acquire`."""
        return await acquire(self, state, request, clock=self._clock, timeout_s=timeout_s, on_change=on_change)

    async def await_grant(
        self,
        state: str,
        ticket: Ticket,
        *,
        timeout_s: float | None,
        on_change: OnChange | None = None,
        attempt: Attempt = NOBODY_SAID,
    ) -> Grant:
        """See `Coordinator.await_grant`."""
        check_state_name(state)
        wait = Wait(
            state,
            ticket,
            lookout=self._lookout,
            clock=self._clock,
            show_signs=lambda: self._show_signs(state),
            timeout_s=timeout_s,
            on_change=on_change,
            attempt=attempt,
        )
        return await wait.for_grant()

    async def renew(self, state: str, ticket: Ticket, token: FencingToken) -> Lease:
        """See `Coordinator.renew`."""
        decision = await self._told(state, Renewed(ticket=ticket, token=token))
        holder = holder_of(decision.lock, ticket=ticket, token=token)
        if holder is None:
            raise lease_lost(state, decision.lock, ticket=ticket)
        return holder.lease

    async def release(
        self,
        state: str,
        ticket: Ticket | None = None,
        token: FencingToken | None = None,
        *,
        lock_id: str | None = None,
    ) -> None:
        """See `Coordinator.release`."""
        await self._told(state, Released(ticket=ticket, lock_id=lock_id, token=token))

    async def withdraw(self, state: str, ticket: Ticket, *, attempt: str = "", by: str = "", reason: str = "") -> None:
        """See `Coordinator.withdraw`."""
        await self._told(state, Withdrawn(ticket=ticket, attempt=attempt, by=by, reason=reason))

    async def break_(self, state: str, broken: Broken) -> None:
        """See `Coordinator.break_`."""
        await self._told(state, broken)

    async def pause(self, state: str, *, by: str, reason: str, instead_of: str = "", while_held: Ticket = "") -> None:
        """See `Coordinator.pause`."""
        await self._told(state, Paused(by=by, reason=reason, instead_of=instead_of, while_held=while_held))

    async def resume(self, state: str, *, by: str, reason: str = "", while_held: Ticket = "") -> None:
        """See `Coordinator.resume`."""
        await self._told(state, Resumed(by=by, reason=reason, while_held=while_held))

    async def bump(self, state: str, ticket: Ticket, *, by: str = "") -> None:
        """See `Coordinator.bump`."""
        await self._told(state, Bumped(ticket=ticket, by=by))

    async def hold_back(self, state: str, ticket: Ticket, *, reason: str) -> None:
        """See `Coordinator.hold_back`."""
        await self._told(state, HeldBack(ticket=ticket, reason=reason))

    async def view(self, state: str) -> View:
        """See `Coordinator.view`."""
        return view_at(state, await self._lookout.load(state))

    async def watch(self, state: str, *, seen: int | None, timeout_s: float) -> View:
        """See `Coordinator.watch`."""
        before = self._lookout.known(state)
        record = await self._read.watch(key_of(state), seen=seen, timeout_s=timeout_s)
        return view_at(state, self._lookout.learn(state, record, before=before))

    async def _show_signs(self, state: str) -> None:
        """Tell the lock that everybody who waits for this state in this process still does: one write for all.

        Whoever notices first that a sign is due shows it for all, and those that notice meanwhile wait for that. Else a
        crowd of n waiters would rewrite a record of n waiters n times in each patience.
        """
        signing = self._signing.get(state)
        if signing is None or signing.done():
            signing = self._signing[state] = asyncio.ensure_future(self._sign_for_all(state))
        await asyncio.shield(signing)

    async def _sign_for_all(self, state: str) -> None:
        began_s, watchers = self._clock.monotonic(), self._lookout.watchers(state)
        try:
            await self.apply_event(state, StillWaiting(tickets=frozenset(watcher.ticket for watcher in watchers)))
        finally:
            self._signing.pop(state, None)  # before anybody that waited for it can look again
        for watcher in watchers:
            watcher.signed_s = began_s

    async def _told(self, state: str, event: Event) -> Decision:
        return _accepted(state, await self.apply_event(state, event))


def _accepted(state: str, decision: Decision) -> Decision:
    if decision.refused is not None:
        raise refusal(state, decision.lock, decision.refused)
    return decision


def view_at(state: str, stored: Stored) -> View:
    """Return a state as its record has it."""
    return View(state=state, version=stored.version, lock=stored.record.lock, head=stored.record.head)

"""The coordinator over a record store: load, decide, compare-and-swap. A hand: it waits and it stores.

It has no rules of its own. Within a process, events of one state take turns (first come, first served), so that a
crowd of tasks does not fight over the swap; between processes a lost swap is decided again on the newer record.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar
from weakref import WeakValueDictionary

from interlock.clock import Clock
from interlock.coordinator.acquiring import acquire
from interlock.coordinator.interface import OnChange
from interlock.coordinator.names import check_state_name, key_of, key_prefix, state_of
from interlock.coordinator.record import NEW_STATE, Head, StateRecord, decode, encode
from interlock.coordinator.refusals import HeadMoved, lease_lost, refusal, timed_out
from interlock.coordinator.view import Standing, View, standing_of
from interlock.errors import BackendUnavailable
from interlock.ids import Ids
from interlock.lock import (
    Broken,
    Decision,
    Event,
    FencingToken,
    Frozen,
    Grant,
    Lease,
    Promoted,
    Refuse,
    RefuseReason,
    Released,
    Renewed,
    Requested,
    Thawed,
    Ticket,
    Waiter,
    Withdrawn,
    assert_follows,
    decide,
    holder_of,
    waiter_of,
)
from interlock.store.records import LIST_LIMIT_MAX, Mismatch, Record, RecordStore

SWAP_ATTEMPTS = 100
"""Lost swaps after which we stop. Each loss means that another process succeeded; a hundred in a row means trouble."""
SWAPS_WITHOUT_PAUSE = 2
PAUSE_S_MAX = 0.1
"""Longest pause between two attempts."""
BACKEND_ATTEMPTS = 3
"""Attempts when the store answers that it is unavailable; the first failure may be a lost reply."""
BACKEND_PAUSE_S = 0.05
OUTAGE_S_MAX = 300.0
"""How long a waiter puts up with a store that does not answer: a restart or a failover, not more."""
OUTAGE_PAUSE_S = 1.0
SIGNS_PER_PATIENCE = 4
"""Signs of life that a waiter shows within its patience; it is doubted after half of it, so one may get lost."""
JOIN_BYTES_MAX = 256 * 1024
"""Size of a record beyond which nobody may join: the rest of the store's limit is kept for those already there."""
CACHED_RECORDS = 1_024
"""Decoded records kept, by state; a record whose version did not change need not be read again."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class _Stored:
    version: int | None
    record: StateRecord


class _Teller:
    """Tells a waiter its standing, once for each change that a person would notice."""

    def __init__(self, on_change: OnChange | None) -> None:
        self._on_change = on_change
        self._shown: tuple[object, ...] | None = None

    def about(self, standing: Standing) -> None:
        shape = standing.shape()
        if self._on_change is not None and shape != self._shown:
            self._shown = shape
            self._on_change(standing)


class _Signs:
    """When a waiter shows its next sign of life: at once, then several times within its patience."""

    def __init__(self) -> None:
        self.due_s = float("-inf")

    def is_due(self, waiter: Waiter, now_s: float) -> bool:
        return now_s >= self.due_s or waiter.doubted_at is not None

    def shown(self, waiter: Waiter, now_s: float) -> None:
        self.due_s = now_s + waiter.patience_s / SIGNS_PER_PATIENCE


class _Outage:
    """A store that stays away for a while costs a waiter no more than that while; its place is in the store."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def over(self) -> None:
        self._since_s = None

    def is_too_long(self, now_s: float) -> bool:
        """Note a failure; say whether they have gone on for too long."""
        self._since_s = now_s if self._since_s is None else self._since_s
        return now_s - self._since_s >= OUTAGE_S_MAX


class LocalCoordinator:
    """A `Coordinator` over any `RecordStore`. Several processes may have one each over the same store.

    Args:
        store: Where the records are.
        clock: For leases, patience and time limits.
        ids: For tickets, and to spread out competing processes.
    """

    def __init__(self, store: RecordStore, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._known: OrderedDict[str, _Stored] = OrderedDict()

    def new_ticket(self) -> Ticket:
        """See `Coordinator.new_ticket`."""
        return self._ids.fresh()

    async def apply_event(self, state: str, event: Event) -> Decision:
        """See `Coordinator.apply_event`."""
        now = self._clock.now()

        def step(record: StateRecord) -> tuple[StateRecord, Decision]:
            decision = decide(record.lock, event, now=now)
            if decision.lock is record.lock:
                return record, decision
            assert_follows(record.lock, decision.lock)
            after = replace(record, lock=decision.lock)
            if isinstance(event, Requested) and _is_too_large(record, after):
                full = Refuse(ticket=event.ticket, reason=RefuseReason.QUEUE_FULL)
                return record, Decision(lock=record.lock, effects=(full,))
            return after, decision

        return await self._change(state, step)

    async def request(self, state: str, request: Requested) -> Standing:
        """See `Coordinator.request`."""
        decision = await self._told(state, request)
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
        self, state: str, ticket: Ticket, *, timeout_s: float | None, on_change: OnChange | None = None
    ) -> Grant:
        """See `Coordinator.await_grant`."""
        until_s = None if timeout_s is None else self._clock.monotonic() + timeout_s
        tell, signs, outage = _Teller(on_change), _Signs(), _Outage()
        while True:
            now_s = self._clock.monotonic()
            try:
                stored = await self._load(state)
                standing = standing_of(state, stored.record.lock, ticket)
                tell.about(standing)
                if standing.token is not None:
                    return Grant(ticket=ticket, token=standing.token)
                if standing.position and until_s is not None and now_s >= until_s:
                    raise timed_out(state, stored.record.lock, position=standing.position, timeout_s=timeout_s or 0.0)
                await self._wait_a_while(state, ticket, stored, signs, until_s)
                outage.over()
            except BackendUnavailable:
                if outage.is_too_long(now_s):
                    raise
                await self._clock.sleep(OUTAGE_PAUSE_S)

    async def _wait_a_while(
        self, state: str, ticket: Ticket, stored: _Stored, signs: _Signs, until_s: float | None
    ) -> None:
        """Show a sign of life if one is due, else wait for a change, the next sign or the end of the wait."""
        waiter = waiter_of(stored.record.lock, ticket=ticket)
        if waiter is None:
            raise lease_lost(state, stored.record.lock, ticket=ticket)
        now_s = self._clock.monotonic()
        if signs.is_due(waiter, now_s):
            await self.apply_event(state, Renewed(ticket=ticket))
            signs.shown(waiter, now_s)
            return
        next_s = signs.due_s if until_s is None else min(signs.due_s, until_s)
        await self._store.watch(key_of(state), seen=stored.version, timeout_s=next_s - now_s)

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

    async def withdraw(
        self, state: str, ticket: Ticket, *, or_release: bool = False, by: str = "", reason: str = ""
    ) -> None:
        """See `Coordinator.withdraw`."""
        await self._told(state, Withdrawn(ticket=ticket, or_release=or_release, by=by, reason=reason))

    async def break_(self, state: str, broken: Broken) -> None:
        """See `Coordinator.break_`."""
        await self._told(state, broken)

    async def freeze(self, state: str, *, by: str, reason: str) -> None:
        """See `Coordinator.freeze`."""
        await self._told(state, Frozen(by=by, reason=reason))

    async def thaw(self, state: str, *, by: str) -> None:
        """See `Coordinator.thaw`."""
        await self._told(state, Thawed(by=by))

    async def promote(self, state: str, ticket: Ticket, *, by: str = "") -> None:
        """See `Coordinator.promote`."""
        await self._told(state, Promoted(ticket=ticket, by=by))

    async def view(self, state: str) -> View:
        """See `Coordinator.view`."""
        return _view(state, await self._load(state))

    async def watch(self, state: str, *, seen: int | None, timeout_s: float) -> View:
        """See `Coordinator.watch`."""
        record = await self._store.watch(key_of(state), seen=seen, timeout_s=timeout_s)
        return _view(state, self._read(state, record))

    async def states(self, prefix: str = "") -> list[View]:
        """See `Coordinator.states`."""
        views: list[View] = []
        after = ""
        while True:
            page = await self._store.list(key_prefix(prefix), after=after, limit=LIST_LIMIT_MAX)
            views += [_view(state_of(record.key), self._read(state_of(record.key), record)) for record in page]
            if len(page) < LIST_LIMIT_MAX:
                return views
            after = page[-1].key

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
        """See `Coordinator.update_head`."""

        def step(record: StateRecord) -> tuple[StateRecord, Head | None]:
            holder = holder_of(record.lock, ticket=ticket, lock_id=lock_id, token=token)
            if holder is None or (new_head is not None and new_head.token != holder.token):
                raise lease_lost(state, record.lock, ticket=ticket, lock_id=lock_id, token=token)
            if record.head == new_head:
                return record, new_head
            if record.head != expected_head:
                raise _head_moved(state, expected=expected_head, current=record.head)
            return replace(record, head=new_head), new_head

        return await self._change(state, step)

    async def _told(self, state: str, event: Event) -> Decision:
        decision = await self.apply_event(state, event)
        if decision.refused is not None:
            raise refusal(state, decision.lock, decision.refused)
        return decision

    async def _change(self, state: str, step: Callable[[StateRecord], tuple[StateRecord, _Answer]]) -> _Answer:
        """Load, step, swap; again on the newer record when somebody else was faster."""
        async with self._turn_of(state):
            lost, failed = 0, 0
            while True:
                stored = await self._load(state)
                after, answer = step(stored.record)
                if after is stored.record:
                    return answer
                try:
                    await self._swap(state, stored, after)
                except Mismatch:
                    lost += 1
                    if lost >= SWAP_ATTEMPTS:
                        raise _crowded(state) from None
                    await self._clock.sleep(self._pause_s(lost))
                except BackendUnavailable:
                    failed += 1
                    if failed >= BACKEND_ATTEMPTS:
                        raise
                    await self._clock.sleep(BACKEND_PAUSE_S * failed)
                else:
                    return answer

    async def _swap(self, state: str, stored: _Stored, after: StateRecord) -> None:
        version = await self._store.swap(key_of(state), expected=stored.version, value=encode(after))
        self._remember(state, _Stored(version, after))

    async def _load(self, state: str) -> _Stored:
        return self._read(state, await self._store.get(key_of(state)))

    def _read(self, state: str, record: Record | None) -> _Stored:
        if record is None:
            return _Stored(None, NEW_STATE)
        known = self._known.get(state)
        if known is not None and known.version == record.version:
            return known
        stored = _Stored(record.version, decode(record.value))
        self._remember(state, stored)
        return stored

    def _remember(self, state: str, stored: _Stored) -> None:
        self._known[state] = stored
        self._known.move_to_end(state)
        if len(self._known) > CACHED_RECORDS:
            self._known.popitem(last=False)

    def _turn_of(self, state: str) -> asyncio.Lock:
        turn = self._turns.get(check_state_name(state))
        if turn is None:
            turn = self._turns[state] = asyncio.Lock()
        return turn

    def _pause_s(self, lost: int) -> float:
        """Return a pause that grows and that no two processes share, so that a crowd spreads out."""
        if lost <= SWAPS_WITHOUT_PAUSE:
            return 0.0
        longest = min(PAUSE_S_MAX, 0.001 * 2.0**lost)
        return longest * int.from_bytes(self._ids.fresh()[-2:].encode(), "big") / 0xFFFF


def _is_too_large(before: StateRecord, after: StateRecord) -> bool:
    parties = len(before.lock.holders) + len(before.lock.waiters)
    grows = len(after.lock.holders) + len(after.lock.waiters) > parties
    return grows and len(encode(after)) > JOIN_BYTES_MAX


def _view(state: str, stored: _Stored) -> View:
    return View(state=state, version=stored.version, lock=stored.record.lock, head=stored.record.head)


def _head_moved(state: str, *, expected: Head | None, current: Head | None) -> HeadMoved:
    return HeadMoved(
        f'state "{state}" was not written',
        why=f"version {expected.number if expected else 0} was to be replaced, "
        f"{current.number if current else 0} is current",
        fix=f"interlock state history {state}",
        state=state,
    )


def _crowded(state: str) -> BackendUnavailable:
    return BackendUnavailable(
        f'the record of state "{state}" could not be changed',
        why=f"others changed it {SWAP_ATTEMPTS} times in a row while we tried",
        fix="try again; if it stays so, interlock doctor",
        state=state,
    )

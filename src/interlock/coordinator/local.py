"""The coordinator over a record store: load, decide, compare-and-swap. A hand: it waits and it stores.

It has no rules of its own. Within a process, events of one state take turns (first come, first served), so that a
crowd of tasks does not fight over the swap; between processes a lost swap is decided again on the newer record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakValueDictionary

from msgspec.structs import replace

from interlock.clock import Clock
from interlock.coordinator.interface import EventOf
from interlock.coordinator.listing import list_views
from interlock.coordinator.lookout import Stored
from interlock.coordinator.names import check_state_name, key_of, state_of
from interlock.coordinator.record import Head, StateRecord
from interlock.coordinator.refusals import HeadMoved, lease_lost
from interlock.coordinator.telling import TellingCoordinator, view_at
from interlock.coordinator.view import View
from interlock.errors import BackendUnavailable, InterlockError, command
from interlock.ids import Ids
from interlock.lock import (
    Decision,
    Event,
    FencingToken,
    Refuse,
    RefuseReason,
    Requested,
    Ticket,
    assert_follows,
    decide,
    holder_of,
    settled,
)
from interlock.store.records import Mismatch, Record, RecordStore

SWAP_ATTEMPTS = 100
"""Lost swaps after which we stop. Each loss means that another process succeeded; a hundred in a row means trouble."""
SWAPS_WITHOUT_PAUSE = 2
PAUSE_S_MAX = 0.1
"""Longest pause between two attempts."""
BACKEND_ATTEMPTS = 3
"""Attempts when the store answers that it is unavailable; the first failure may be a lost reply."""
BACKEND_PAUSE_S = 0.05
JOIN_BYTES_MAX = 256 * 1024
"""Size of a record beyond which nobody may join: the rest of the store's limit is kept for those already there."""
_Answer = TypeVar("_Answer")


class _Attempts:
    """Counts the attempts of one change, up to their limits. Its methods are called in the handler of the failure."""

    def __init__(self, state: str) -> None:
        self._state = state
        self._lost = 0
        self._failed = 0

    def lost_again(self) -> int:
        """Return how many swaps were lost.

        Raises:
            BackendUnavailable: There were `SWAP_ATTEMPTS`.
        """
        self._lost += 1
        if self._lost >= SWAP_ATTEMPTS:
            raise _crowded(self._state) from None
        return self._lost

    def failed_again(self, error: BackendUnavailable) -> float:
        """Return the seconds until the next attempt.

        Raises:
            BackendUnavailable: `error`, when there were `BACKEND_ATTEMPTS`.
        """
        self._failed += 1
        if self._failed >= BACKEND_ATTEMPTS:
            raise error
        return BACKEND_PAUSE_S * self._failed


class LocalCoordinator(TellingCoordinator):
    """A `Coordinator` over any `RecordStore`. Several processes may have one each over the same store.

    Args:
        store: Where the records are.
        clock: For leases, patience and time limits.
        ids: For tickets, and to spread out competing processes.
        first_token: For stores that forget records: a number higher than every fencing token of a forgotten record.
    """

    def __init__(
        self, store: RecordStore, clock: Clock, ids: Ids, *, first_token: Callable[[], FencingToken] | None = None
    ) -> None:
        super().__init__(store, clock, ids)
        self._store = store
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._first_token = first_token

    async def apply_event(self, state: str, event: Event) -> Decision:
        """See `Coordinator.apply_event`."""
        return await self._apply(state, lambda _lock, _now: event)

    async def apply_event_of(self, state: str, event_of: EventOf) -> Decision:
        """See `Coordinator.apply_event_of`."""
        return await self._apply(state, event_of)

    async def _apply(self, state: str, event_of: EventOf) -> Decision:
        now = self._clock.now()

        def step(record: StateRecord) -> tuple[StateRecord, Decision]:
            event = event_of(record.lock, now)
            decision = decide(record.lock, event, now=now)
            if decision.lock is record.lock:
                return record, decision
            assert_follows(record.lock, decision.lock)
            after = replace(record, lock=decision.lock)
            if isinstance(event, Requested) and _grows(record, after) and self._is_too_large(after):
                full = Refuse(ticket=event.ticket, reason=RefuseReason.QUEUE_FULL)
                return record, Decision(lock=record.lock, effects=(full,))
            return after, decision

        return await self._change(state, step)

    async def states(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> list[View]:
        """See `Coordinator.states`."""
        return await list_views(self._store, prefix, after=after, limit=limit, read=self._view_of)

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
            # Who writes knows of its grant: from here on only a release or recovery ends it.
            return replace(record, head=new_head, lock=settled(record.lock, holder)), new_head

        return await self._change(state, step)

    def _view_of(self, record: Record) -> View:
        state = state_of(record.key)
        return view_at(state, self._lookout.learn(state, record, before=None))

    async def _change(self, state: str, step: Callable[[StateRecord], tuple[StateRecord, _Answer]]) -> _Answer:
        """Load, step, swap; again on the newer record when somebody else was faster.

        The first try is made on the record as we last knew it: the swap finds out whether it still is that. What
        would write nothing (a refusal, a repetition) is only believed on a record that was read meanwhile.
        """
        async with self._turn_of(state):
            attempts = _Attempts(state)
            stored, is_fresh = self._lookout.known(state), False
            while True:
                if stored is None:
                    stored, is_fresh = await self._load(state, attempts), True
                stored = self._founded(stored)
                try:
                    after, answer = step(stored.record)
                    if after is not stored.record:
                        await self._swap(state, stored, after)
                        return answer
                except Mismatch as overtaken:
                    stored, is_fresh = self._lookout.learn(state, overtaken.current, before=stored), True
                    await self._clock.sleep(self._pause_s(attempts.lost_again()))
                except BackendUnavailable as error:
                    self._lookout.forget(state)
                    stored = None
                    await self._clock.sleep(attempts.failed_again(error))
                except InterlockError:
                    if is_fresh:
                        raise
                    stored = None
                else:
                    if is_fresh:
                        return answer
                    stored = None

    async def _swap(self, state: str, stored: Stored, after: StateRecord) -> None:
        before = self._lookout.known(state)
        value = self._lookout.spell(after)
        version = await self._store.swap(key_of(state), expected=stored.version, value=value)
        self._lookout.keep(state, Stored(version, after), before=before)

    async def _load(self, state: str, attempts: _Attempts) -> Stored:
        """Read the record, and again when the store does not answer; a record that cannot be read stays so."""
        before = self._lookout.known(state)
        while True:
            try:
                record = await self._store.get(key_of(state))
                break
            except BackendUnavailable as error:
                await self._clock.sleep(attempts.failed_again(error))
        return self._lookout.learn(state, record, before=before)

    def _founded(self, stored: Stored) -> Stored:
        """Let a record that is absent begin above every token it may have had before it was forgotten."""
        if stored.version is not None or self._first_token is None or stored.record.lock.token:
            return stored
        lock = replace(stored.record.lock, token=self._first_token())
        return Stored(None, replace(stored.record, lock=lock))

    def _is_too_large(self, record: StateRecord) -> bool:
        return len(self._lookout.spell(record)) > JOIN_BYTES_MAX

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


def _grows(before: StateRecord, after: StateRecord) -> bool:
    parties = len(before.lock.holders) + len(before.lock.waiters)
    return len(after.lock.holders) + len(after.lock.waiters) > parties


def _head_moved(state: str, *, expected: Head | None, current: Head | None) -> HeadMoved:
    return HeadMoved(
        f'state "{state}" was not written',
        why=f"version {expected.number if expected else 0} was to be replaced, "
        f"{current.number if current else 0} is current",
        fix=command("state", "history", state),
        state=state,
    )


def _crowded(state: str) -> BackendUnavailable:
    return BackendUnavailable(
        f'the record of state "{state}" could not be changed',
        why=f"others changed it {SWAP_ATTEMPTS} times in a row while we tried",
        fix="try again; if it happens again, interlock doctor",
        state=state,
    )

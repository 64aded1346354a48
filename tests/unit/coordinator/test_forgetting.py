"""Stores that forget records after a while: what is in use is kept, and no fencing token ever restarts lower."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from interlock.coordinator.local import LocalCoordinator
from interlock.coordinator.names import key_of
from interlock.coordinator.record import HEAD_S, Head, StateRecord, encode, keep_s
from interlock.lock import Requested
from interlock.lock.lock import NEW_LOCK, Pause
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import START, FakeClock
from interlock.testing.ids import CountingIds

STATE = "prod"


async def take(coordinator: LocalCoordinator, ticket: str) -> int:
    request = Requested(ticket=ticket, run=ticket, who="me@here", lease_s=5.0, patience_s=90.0)
    token = (await coordinator.acquire(STATE, request, timeout_s=0)).token
    await coordinator.release(STATE, ticket=ticket, token=token)
    return token


async def test_after_a_record_was_forgotten_tokens_go_on_above_all_that_were_granted() -> None:
    clock = FakeClock()
    store = MemoryRecords(clock=clock)

    def new() -> LocalCoordinator:
        return LocalCoordinator(store, clock, CountingIds(), first_token=lambda: int(clock.now().timestamp() * 1000))

    before = [await take(new(), f"a{number}") for number in range(50)]
    record = await store.get(key_of(STATE))
    assert record is not None
    await store.swap(key_of(STATE), expected=record.version, value=None)
    clock.pass_time(86_400)
    after = [await take(new(), f"b{number}") for number in range(3)]
    assert before == sorted(set(before))
    assert after == sorted(set(after))
    assert after[0] > before[-1]


async def test_a_store_that_never_forgets_counts_from_one() -> None:
    clock = FakeClock()
    assert await take(LocalCoordinator(MemoryRecords(clock=clock), clock, CountingIds()), "a") == 1


async def test_a_record_is_kept_for_longer_than_every_lease_and_patience_in_it() -> None:
    clock = FakeClock()
    store = MemoryRecords(clock=clock)
    coordinator = LocalCoordinator(store, clock, CountingIds())
    for ticket, lease_s in (("a", 500.0), ("b", 5.0)):
        request = Requested(ticket=ticket, run=ticket, who="me", lease_s=lease_s, patience_s=90.0)
        await coordinator.request(STATE, request)
    record = await store.get(key_of(STATE))
    assert record is not None
    assert keep_s(record.value, 1000.0) == 1500.0


def test_a_paused_state_is_kept_for_ever() -> None:
    pause = Pause(reason="audit", by="me", since=datetime(2026, 1, 1, tzinfo=UTC))
    assert keep_s(encode(StateRecord(lock=replace(NEW_LOCK, pause=pause))), 1000.0) is None
    assert keep_s(encode(StateRecord()), 1000.0) == 1000.0
    head = Head(number=1, digest="d", serial=1, lineage="l", size_bytes=1, written_at=START, token=1)
    assert keep_s(encode(StateRecord(head=head)), 1000.0) == HEAD_S

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from interlock.coordinator import Head, HeadMoved, PlaceLost
from interlock.coordinator.local import BACKEND_ATTEMPTS, JOIN_BYTES_MAX, SWAP_ATTEMPTS, LocalCoordinator
from interlock.coordinator.names import key_of
from interlock.errors import BackendUnavailable, LeaseLost, WaitTimeout
from interlock.lock import Decision, Elapsed, Grant, LockBroken, Requested, claim_of
from interlock.store.records import VALUE_BYTES_MAX
from interlock.testing.clock import START, FakeClock, settle
from interlock.testing.ids import CountingIds

Ask = Callable[..., Requested]
TroubledRecords = Any  # tests/unit/coordinator/conftest.py

HEAD = Head(number=1, digest="d" * 64, serial=1, lineage="l", size_bytes=1, written_at=START, token=1)


async def test_a_lost_reply_is_found_out_and_nothing_happens_twice(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    records.lose_replies = 1
    asking = asyncio.create_task(coordinator.request("prod", ask("a")))
    await clock.advance(1)
    assert (await asking).token == 1
    records.lose_replies = 1
    writing = asyncio.create_task(coordinator.update_head("prod", token=1, expected_head=None, new_head=HEAD))
    await clock.advance(1)
    assert await writing == HEAD
    records.lose_replies = 1
    releasing = asyncio.create_task(coordinator.release("prod", "a", 1))
    await clock.advance(1)
    await releasing
    view = await coordinator.view("prod")
    assert (view.lock.token, view.lock.arrivals, view.lock.holders, view.head) == (1, 1, (), HEAD)


async def test_a_store_that_stays_away_is_reported_after_a_few_attempts(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    records.fail = 1_000
    asking = asyncio.create_task(coordinator.request("prod", ask("a")))
    await clock.advance(10)
    with pytest.raises(BackendUnavailable):
        await asking
    assert records.swaps == BACKEND_ATTEMPTS


async def test_a_lost_swap_is_decided_again(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    records.be_overtaken = 20
    asking = asyncio.create_task(coordinator.request("prod", ask("a")))
    await clock.advance(10)
    assert (await asking).token == 1


async def test_swaps_lost_without_end_are_an_error(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    records.be_overtaken = 10 * SWAP_ATTEMPTS
    asking = asyncio.create_task(coordinator.request("prod", ask("a")))
    await clock.advance(60)
    with pytest.raises(BackendUnavailable, match="could not be changed"):
        await asking
    assert records.swaps == SWAP_ATTEMPTS


async def test_an_event_that_changes_nothing_writes_nothing(
    coordinator: LocalCoordinator, records: TroubledRecords, ask: Ask
) -> None:
    await coordinator.request("prod", ask("a"))
    swaps = records.swaps
    await coordinator.request("prod", ask("a"))
    await coordinator.apply_event("prod", Elapsed())
    with pytest.raises(WaitTimeout):
        await coordinator.request("prod", ask("b", queue=False))
    assert records.swaps == swaps


@pytest.mark.promise("P1")
async def test_no_refusal_is_raised_from_a_record_that_was_only_remembered(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    """What this process remembers may be old: another process may have made true what it would refuse."""
    other = LocalCoordinator(records, clock, CountingIds())
    await coordinator.request("prod", ask("a"))
    await other.release("prod", "a", 1)
    await other.request("prod", ask("b"))
    head = replace(HEAD, token=2)
    assert await coordinator.update_head("prod", token=2, expected_head=None, new_head=head) == head
    after = replace(head, number=2, serial=2)
    await other.update_head("prod", token=2, expected_head=head, new_head=after)
    last = replace(head, number=3, serial=3)
    assert await coordinator.update_head("prod", token=2, expected_head=after, new_head=last) == last


@pytest.mark.promise("P4")
async def test_no_repetition_is_confirmed_from_a_record_that_was_only_remembered(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    other = LocalCoordinator(records, clock, CountingIds())
    await coordinator.request("prod", ask("a"))
    await other.release("prod", "a", 1)
    with pytest.raises(LeaseLost):
        await coordinator.request("prod", ask("a"))


async def test_a_step_that_breaks_a_promise_is_not_written(
    coordinator: LocalCoordinator, records: TroubledRecords, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    await coordinator.request("prod", ask("a"))
    swaps = records.swaps
    forgetful = lambda lock, _event, *, now: Decision(lock=replace(lock, token=0, holders=()), effects=())  # noqa: ARG005, E731
    monkeypatch.setattr("interlock.coordinator.local.decide", forgetful)
    with pytest.raises(LockBroken):
        await coordinator.apply_event("prod", Elapsed())
    assert records.swaps == swaps


async def test_a_read_that_fails_is_asked_again(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    records.fail_gets = 2
    asking = asyncio.create_task(coordinator.request("prod", ask("a")))
    await clock.advance(1)
    assert (await asking).token == 1
    records.fail_gets = 3
    asking = asyncio.create_task(LocalCoordinator(records, clock, CountingIds()).request("prod", ask("a")))
    await clock.advance(1)
    with pytest.raises(BackendUnavailable):
        await asking


async def test_all_waiters_of_a_process_show_their_signs_of_life_in_one_write(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    await coordinator.request("prod", ask("a"))
    waiting = []
    for n in range(30):
        await coordinator.request("prod", ask(f"t{n}"))
        waiting.append(asyncio.create_task(coordinator.await_grant("prod", f"t{n}", timeout_s=None)))
        await clock.advance(0.3)  # they came one after the other, so each of their signs is due at another time
    swaps = records.swaps
    await clock.advance(100)
    assert 8 <= records.swaps - swaps <= 12, "one sign for all in each quarter of their patience of 40 s"
    assert all(waiter.doubted_at is None for waiter in (await coordinator.view("prod")).lock.waiters)
    await clock.advance(0)
    for task in waiting:
        task.cancel()


async def test_a_crowd_that_was_stopped_speaks_up_in_one_write(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    other = LocalCoordinator(records, clock, CountingIds())
    await coordinator.request("prod", ask("a"))
    waiting = []
    for n in range(30):
        await coordinator.request("prod", ask(f"t{n}"))
        waiting.append(asyncio.create_task(coordinator.await_grant("prod", f"t{n}", timeout_s=None)))
    await settle()
    clock.pass_time(25)
    await other.apply_event("prod", Elapsed())
    swaps = records.swaps
    await clock.advance(1)
    assert records.swaps - swaps <= 2
    assert all(waiter.doubted_at is None for waiter in (await coordinator.view("prod")).lock.waiters)
    for task in waiting:
        task.cancel()


async def test_a_crowd_in_one_process_takes_turns_and_loses_no_swap(
    coordinator: LocalCoordinator, records: TroubledRecords, ask: Ask
) -> None:
    await asyncio.gather(*(coordinator.request("prod", ask(f"t{n}")) for n in range(50)))
    assert records.swaps == 50
    view = await coordinator.view("prod")
    assert [waiter.ticket for waiter in view.lock.waiters] == [f"t{n}" for n in range(1, 50)]


async def test_a_waiting_ticket_shows_signs_of_life_and_stays(
    coordinator: LocalCoordinator, clock: FakeClock, ask: Ask
) -> None:
    await coordinator.request("prod", ask("a"))
    await coordinator.request("prod", ask("b"))
    waiting = asyncio.create_task(coordinator.await_grant("prod", "b", timeout_s=None))
    for _ in range(100):
        await clock.advance(10)
        await coordinator.apply_event("prod", Elapsed())
    await coordinator.release("prod", "a", 1)
    await settle()
    assert await waiting == Grant(ticket="b", token=2)


async def test_a_dead_waiter_is_passed_over_because_the_living_look(
    coordinator: LocalCoordinator, clock: FakeClock, ask: Ask
) -> None:
    for ticket in ("a", "dead", "c"):
        await coordinator.request("prod", ask(ticket))
    waiting = asyncio.create_task(coordinator.await_grant("prod", "c", timeout_s=None))
    await coordinator.release("prod", "a", 1)
    assert (await coordinator.view("prod")).lock.holders[0].ticket == "dead", "it spoke a moment ago"
    await coordinator.release("prod", "dead", 2)
    await waiting
    for ticket in ("dead2", "e"):
        await coordinator.request("prod", ask(ticket))
    waiting = asyncio.create_task(coordinator.await_grant("prod", "e", timeout_s=None))
    await clock.advance(60)
    await coordinator.release("prod", "c", 3)
    assert await waiting == Grant(ticket="e", token=4)


async def test_a_process_that_was_stopped_for_too_long_lost_its_place_and_is_told(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    other = LocalCoordinator(records, clock, CountingIds())
    for ticket in ("a", "stopped", "c"):
        await coordinator.request("prod", ask(ticket))
    waiting = asyncio.create_task(other.await_grant("prod", "c", timeout_s=None))
    await clock.advance(100)
    with pytest.raises(PlaceLost):
        await coordinator.await_grant("prod", "stopped", timeout_s=None)
    waiting.cancel()


async def test_acquire_joins_again_at_the_end_after_it_lost_its_place(
    coordinator: LocalCoordinator, clock: FakeClock, ask: Ask
) -> None:
    positions: list[int] = []
    await coordinator.request("prod", ask("a"))
    waiting = asyncio.create_task(
        coordinator.acquire("prod", ask("b"), timeout_s=None, on_change=lambda s: positions.append(s.position))
    )
    await settle()
    await coordinator.request("prod", ask("c", patience_s=3000))
    clock.pass_time(25)
    await coordinator.apply_event("prod", Elapsed())  # doubts b
    clock.pass_time(25)
    await coordinator.apply_event("prod", Elapsed())  # drops b
    await clock.advance(0)
    await settle()
    assert [waiter.ticket for waiter in (await coordinator.view("prod")).lock.waiters] == ["c", "b"]
    assert positions[0] == 1
    assert positions[-1] == 2
    waiting.cancel()
    await settle()


async def test_the_time_limit_counts_from_the_call_and_is_kept(
    coordinator: LocalCoordinator, clock: FakeClock, ask: Ask
) -> None:
    await coordinator.request("prod", ask("a"))
    waiting = asyncio.create_task(coordinator.acquire("prod", ask("b"), timeout_s=600))
    await clock.advance(599)
    assert not waiting.done()
    await clock.advance(1)
    with pytest.raises(WaitTimeout, match="after 600 s at position 1"):
        await waiting
    assert (await coordinator.view("prod")).lock.waiters == ()


async def test_a_record_of_another_process_is_judged_before_it_is_used(
    coordinator: LocalCoordinator, records: TroubledRecords, ask: Ask
) -> None:
    await coordinator.request("prod", ask("a"))
    await coordinator.request("prod", ask("b"))
    record = await records.get(key_of("prod"))
    twice = record.value.replace(b'"waiters":[{', b'"waiters":[{"ticket":"a",').replace(b'"ticket":"b",', b"")
    await records.swap(key_of("prod"), expected=record.version, value=twice)
    with pytest.raises(BackendUnavailable, match="twice"):
        await coordinator.request("prod", ask("c"))
    stored = await records.get(key_of("prod"))
    assert stored.value == twice, "it is left as it was"


async def test_an_unreadable_record_is_reported_and_left(
    coordinator: LocalCoordinator, records: TroubledRecords, ask: Ask
) -> None:
    await records.swap(key_of("prod"), expected=None, value=b"{")
    with pytest.raises(BackendUnavailable):
        await coordinator.request("prod", ask("a"))
    assert (await records.get(key_of("prod"))).value == b"{"


async def test_nobody_joins_a_record_that_is_nearly_full_and_those_inside_go_on(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    claim = claim_of(writes=(f"genesyscloud_routing_queue.queue_number_{n}" for n in range(1000)))
    await coordinator.request("prod", ask("a"))
    requests = [ask(f"t{n}", claim=claim, info="i" * 1000) for n in range(100)]
    answers = await asyncio.gather(
        *(coordinator.request("prod", request) for request in requests), return_exceptions=True
    )
    assert 1 < sum(not isinstance(answer, WaitTimeout) for answer in answers) < 100
    stored = await records.get(key_of("prod"))
    assert len(stored.value) <= JOIN_BYTES_MAX < VALUE_BYTES_MAX
    await clock.advance(25)
    await coordinator.renew("prod", "a", 1)
    await coordinator.update_head("prod", token=1, expected_head=None, new_head=HEAD)
    await coordinator.release("prod", "a", 1)


async def test_a_head_of_another_version_is_not_replaced(coordinator: LocalCoordinator, ask: Ask) -> None:
    await coordinator.request("prod", ask("a"))
    await coordinator.update_head("prod", token=1, expected_head=None, new_head=HEAD)
    with pytest.raises(HeadMoved, match="not written"):
        await coordinator.update_head("prod", token=1, expected_head=None, new_head=replace(HEAD, number=2))


async def test_a_lost_reply_of_a_write_that_somebody_replaced_meanwhile_is_no_silent_success(
    coordinator: LocalCoordinator, records: TroubledRecords, clock: FakeClock, ask: Ask
) -> None:
    other = LocalCoordinator(records, clock, CountingIds())
    await coordinator.request("prod", ask("a"))
    records.lose_replies = 1
    writing = asyncio.create_task(coordinator.update_head("prod", token=1, expected_head=None, new_head=HEAD))
    await settle()
    second = replace(HEAD, number=2)
    assert await other.update_head("prod", token=1, expected_head=HEAD, new_head=second) == second
    await clock.advance(1)
    with pytest.raises(HeadMoved):
        await writing

from __future__ import annotations

import pytest

from interlock.gateway.ledger import Turn, from_bytes, occupied
from interlock.gateway.sharing import Around, LedgerPlace, SharedBudget, Sharing, shared_in
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock


def sharing(store: MemoryRecords, clock: FakeClock, process: str) -> tuple[Sharing, SharedBudget]:
    place = LedgerPlace(records=store, clock=clock)
    shared = Sharing(place, key="gateway/org", process=process, around=Around(waiting=lambda _name, _lasts_s: 1000))
    return shared, shared_budget(shared, "organisation", 100, clock)


def shared_budget(shared: Sharing, name: str, allowed: int | None, clock: FakeClock) -> SharedBudget:
    budget = shared_in([shared])(name, allowed, 60.0, None, clock.monotonic())
    assert isinstance(budget, SharedBudget)
    return budget


async def spend(shared: Sharing, budget: SharedBudget, clock: FakeClock, most: int) -> int:
    """Send at once what may go, drawing slices as it goes; answers come at once."""
    done = 0
    for _ in range(12):
        await shared._round()
        while done < most and budget.fits(1, clock.monotonic()):
            budget.settle(budget.take(1, clock.monotonic()), clock.monotonic())
            done += 1
    return done


async def test_without_a_slice_nobody_goes_and_one_is_asked_for() -> None:
    clock = FakeClock()
    store = MemoryRecords(clock=clock)
    _, budget = sharing(store, clock, "a")
    assert not budget.fits(1, clock.monotonic())
    assert budget.shares[0].wants == 1


async def test_two_processes_together_stay_within_the_allowance() -> None:
    clock = FakeClock()
    store = MemoryRecords(clock=clock)
    (one, first), (two, second) = sharing(store, clock, "a"), sharing(store, clock, "b")
    used = 0
    for _ in range(70):
        used += await spend(one, first, clock, 100)
        used += await spend(two, second, clock, 100)
        if clock.monotonic() < 59.0:
            await clock.advance(1.0)
    assert used == 100


@pytest.mark.promise("P7")
async def test_calls_that_were_sent_before_the_ledger_was_known_are_paid_by_the_first_slices() -> None:
    """Each process asks whose limits its client shares; without this, two of them sent 102 of 100."""
    clock = FakeClock()
    store = MemoryRecords(clock=clock)
    (one, first), (two, second) = sharing(store, clock, "a"), sharing(store, clock, "b")
    one.owe(1)
    two.owe(2)
    used = 0
    for _ in range(70):
        used += await spend(one, first, clock, 100)
        used += await spend(two, second, clock, 100)
        if clock.monotonic() < 59.0:
            await clock.advance(1.0)
    assert used == 97


async def test_a_slice_that_was_not_used_is_given_back() -> None:
    clock = FakeClock()
    store = MemoryRecords(clock=clock)
    shared, budget = sharing(store, clock, "a")
    await spend(shared, budget, clock, 2)
    await clock.advance(2.0)
    await shared._round()
    record = await store.get("gateway/org")
    assert record is not None
    assert occupied(from_bytes(record.value, now_s=0.0).accounts["organisation"], clock.now().timestamp()) == 2


async def test_a_call_that_costs_more_than_the_pace_gives_at_once_goes_too() -> None:
    """A page of 25 flows, of 300 a minute: slices of less than its cost are of use to nobody."""
    clock = FakeClock()
    around = Around(waiting=lambda _name, _lasts_s: 1, turn=lambda: Turn(name="APPLY", weight=8.0))
    place = LedgerPlace(records=MemoryRecords(clock=clock), clock=clock)
    shared = Sharing(place, key="gateway/org", process="a", around=around)
    budget = shared_budget(shared, "flows-list", 300, clock)
    sent_s = []
    for _ in range(600):
        if budget.fits(25, clock.monotonic()):
            budget.settle(budget.take(25, clock.monotonic()), clock.monotonic())
            sent_s.append(clock.monotonic())
        await shared._round()
        await clock.advance(0.1)
    assert 10 <= len(sent_s) <= 12


async def test_a_refusal_of_one_closes_the_other() -> None:
    clock = FakeClock()
    store = MemoryRecords(clock=clock)
    (one, first), (two, second) = sharing(store, clock, "a"), sharing(store, clock, "b")
    assert await spend(two, second, clock, 1) == 1
    first.refuse(first.take(1, clock.monotonic()), 30.0, clock.monotonic())
    await one._round()
    await clock.advance(2.0)
    second.wait_s(1, clock.monotonic())
    await two._round()
    assert 27.0 < second.blocked_s(clock.monotonic()) <= 28.0


async def test_a_budget_without_a_limit_needs_no_slice() -> None:
    clock = FakeClock()
    store = MemoryRecords(clock=clock)
    shared, _ = sharing(store, clock, "a")
    free = shared_budget(shared, "GET users", None, clock)
    assert free.fits(1, clock.monotonic())
    assert await store.get("gateway/org") is None


async def test_a_request_that_never_left_gives_its_part_of_the_slice_back() -> None:
    clock = FakeClock()
    store = MemoryRecords(clock=clock)
    shared, budget = sharing(store, clock, "a")
    budget.fits(1, clock.monotonic())
    await shared._round()
    place = budget.take(1, clock.monotonic())
    budget.unsent(place)
    assert budget.shares[0]._leases[0].used == 0


@pytest.mark.promise("P7")
async def test_a_damaged_record_is_begun_anew_and_gives_nothing_before_what_was_drawn_counts_no_more() -> None:
    clock = FakeClock()
    store = MemoryRecords(clock=clock)
    (one, first), (two, second) = sharing(store, clock, "a"), sharing(store, clock, "b")
    assert await spend(one, first, clock, 100) > 0
    store._sums["gateway/org"] = b"damaged"
    assert await spend(two, second, clock, 100) == 0
    assert two._lost_until_s > clock.now().timestamp()
    await clock.advance(122.0)
    assert await spend(two, second, clock, 100) > 0
    assert two._lost_until_s == 0.0

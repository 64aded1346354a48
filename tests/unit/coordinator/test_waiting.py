from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from interlock.coordinator.local import LocalCoordinator
from interlock.coordinator.waiting import OUTAGE_S_MAX, SIGNS_PER_PATIENCE
from interlock.errors import BackendUnavailable
from interlock.lock import Elapsed, Grant, Requested
from interlock.testing.clock import FakeClock, settle

Ask = Callable[..., Requested]


async def test_an_outage_of_the_store_costs_a_waiter_nothing_but_time(
    coordinator: LocalCoordinator, records: Any, clock: FakeClock, ask: Ask
) -> None:
    await coordinator.request("prod", ask("a"))
    waiting = asyncio.create_task(coordinator.acquire("prod", ask("b"), timeout_s=None))
    await clock.advance(5)
    records.away = True
    await clock.advance(OUTAGE_S_MAX - 50)
    records.away = False
    await clock.advance(5)
    await coordinator.release("prod", "a", 1)
    await settle()
    assert await waiting == Grant(ticket="b", token=2)


async def test_an_outage_without_end_is_reported(
    coordinator: LocalCoordinator, records: Any, clock: FakeClock, ask: Ask
) -> None:
    await coordinator.request("prod", ask("a"))
    await coordinator.request("prod", ask("b"))
    waiting = asyncio.create_task(coordinator.await_grant("prod", "b", timeout_s=None))
    await clock.advance(5)
    records.away = True
    await clock.advance(OUTAGE_S_MAX + 60)
    with pytest.raises(BackendUnavailable):
        await waiting


async def test_a_waiter_speaks_a_few_times_within_its_patience_and_not_at_every_change(
    coordinator: LocalCoordinator, records: Any, clock: FakeClock, ask: Ask
) -> None:
    await coordinator.request("prod", ask("a"))
    waiting = asyncio.create_task(coordinator.acquire("prod", ask("b"), timeout_s=None))
    await settle()
    before = records.swaps
    for _ in range(40):
        await clock.advance(1)
        await coordinator.renew("prod", "a", 1)
    assert records.swaps - before == 40 + SIGNS_PER_PATIENCE
    waiting.cancel()
    await settle()


async def test_the_first_sign_is_shown_at_once_by_a_ticket_that_was_silent_before(
    coordinator: LocalCoordinator, clock: FakeClock, ask: Ask
) -> None:
    await coordinator.request("prod", ask("a"))
    await coordinator.request("prod", ask("b"))
    await clock.advance(19)
    waiting = asyncio.create_task(coordinator.await_grant("prod", "b", timeout_s=None))
    await settle()
    assert (await coordinator.view("prod")).lock.waiters[0].seen_at == clock.now()
    waiting.cancel()


async def test_a_doubted_waiter_answers_at_once(coordinator: LocalCoordinator, clock: FakeClock, ask: Ask) -> None:
    await coordinator.request("prod", ask("a"))
    await coordinator.request("prod", ask("b"))
    waiting = asyncio.create_task(coordinator.await_grant("prod", "b", timeout_s=None))
    await settle()
    clock.pass_time(30)
    await coordinator.apply_event("prod", Elapsed())
    await settle()
    assert (await coordinator.view("prod")).lock.waiters[0].doubted_at is None
    waiting.cancel()

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from interlock.coordinator.local import LocalCoordinator
from interlock.errors import BackendUnavailable, Superseded, WaitTimeout
from interlock.lock import Requested
from interlock.testing.clock import FakeClock, settle

Ask = Callable[..., Requested]


async def test_a_refused_request_leaves_its_ticket_usable(coordinator: LocalCoordinator, ask: Ask) -> None:
    await coordinator.request("prod", ask("a"))
    with pytest.raises(WaitTimeout):
        await coordinator.acquire("prod", ask("b", queue=False), timeout_s=None)
    await coordinator.release("prod", "a", 1)
    assert (await coordinator.acquire("prod", ask("b", queue=False), timeout_s=None)).token == 2


async def test_a_request_whose_outcome_is_unknown_is_taken_back(
    coordinator: LocalCoordinator, records: Any, clock: FakeClock, ask: Ask
) -> None:
    records.lose_replies = 1
    records.fail = 0
    asking = asyncio.create_task(coordinator.acquire("prod", ask("a"), timeout_s=None))
    await settle()
    records.fail = 2
    asking.cancel()
    await clock.advance(5)
    with pytest.raises((asyncio.CancelledError, BackendUnavailable)):
        await asking
    assert (await coordinator.view("prod")).lock.holders == ()


async def test_a_failure_of_the_listener_leaves_nothing_behind(coordinator: LocalCoordinator, ask: Ask) -> None:
    def fail(_standing: object) -> None:
        raise RuntimeError("listener")

    with pytest.raises(RuntimeError):
        await coordinator.acquire("prod", ask("a"), timeout_s=None, on_change=fail)
    assert (await coordinator.view("prod")).lock.holders == ()


async def test_a_withdrawn_acquire_says_so(coordinator: LocalCoordinator, ask: Ask) -> None:
    await coordinator.request("prod", ask("a"))
    waiting = asyncio.create_task(coordinator.acquire("prod", ask("b"), timeout_s=None))
    await settle()
    await coordinator.withdraw("prod", "b", by="anna", reason="newer commit")
    with pytest.raises(Superseded, match="no longer waits"):
        await waiting

"""A process that was stopped must not take for its own what another attempt of its ticket was granted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from interlock.coordinator import PlaceLost
from interlock.coordinator.local import LocalCoordinator
from interlock.lock import Disconnected, Elapsed, Requested
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock, settle
from interlock.testing.ids import CountingIds

Ask = Callable[..., Requested]


@pytest.mark.promise("P4")
@pytest.mark.parametrize("then", ["waits", "holds", "left"])
async def test_an_attempt_that_was_called_off_is_told_so(
    coordinator: LocalCoordinator, records: MemoryRecords, clock: FakeClock, ask: Ask, then: str
) -> None:
    other = LocalCoordinator(records, clock, CountingIds())
    await coordinator.request("prod", ask("a"))
    await coordinator.request("prod", replace(ask("b"), attempt="B1"))
    clock.pass_time(30)
    await other.apply_event("prod", Elapsed())
    clock.pass_time(30)
    await other.apply_event("prod", Elapsed())
    await other.request("prod", replace(ask("b"), attempt="B2"))
    if then == "holds":
        await other.release("prod", "a", 1)
    if then == "left":
        await other.apply_event("prod", Disconnected(ticket="b", attempt="B2", patience_s=5.0))
    waiting = asyncio.create_task(coordinator.await_grant("prod", "b", timeout_s=None, attempt="B1"))
    await settle()
    with pytest.raises(PlaceLost):
        await asyncio.wait_for(waiting, 1)

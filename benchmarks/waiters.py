"""What it costs to wait: one process with many waiters of one state, as `interlock serve` has, showing signs of life.

The baseline is what each waiter did for itself before: an event of its own in each quarter of its patience. Both run on
one clock that the measurement moves, so that what is measured is work, not waiting.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks import Row, compared
from interlock.clock import SystemClock
from interlock.coordinator.local import LocalCoordinator
from interlock.lock import Renewed, Requested
from interlock.store.sqlite import SqliteStore
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

FEW, MANY = 100, 900  # a state takes 1000 parties
PATIENCE_S = 40.0
PERIODS = 4
ALONE = 50  # signs of single waiters that are measured; all would take minutes
STATE = "s"


def measure() -> list[Row]:
    few, few_alone = asyncio.run(_cost_s(FEW))
    many, many_alone = asyncio.run(_cost_s(MANY))
    return [
        compared(f"{FEW} waiters, CPU per waiter and minute", few, "ms", baseline=few_alone),
        compared(f"{MANY} waiters, CPU per waiter and minute", many, "ms", baseline=many_alone),
        compared(f"{MANY} waiters against {FEW}, per waiter", many, "ms", baseline=few, aim="flat: below 2"),
    ]


async def _cost_s(waiters: int) -> tuple[float, float]:
    """Return milliseconds of CPU per waiter and minute of waiting: as it is, and with a sign of each for itself."""
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as name:
        store = await SqliteStore.open(Path(name) / "interlock.db", clock=SystemClock())
        coordinator = LocalCoordinator(store.records, clock, CountingIds())
        for n in range(waiters + 1):
            await coordinator.request(STATE, Requested(ticket=f"t{n}", who="b", lease_s=3600, patience_s=PATIENCE_S))
        waiting = [
            asyncio.create_task(coordinator.await_grant(STATE, f"t{n}", timeout_s=None)) for n in range(1, waiters + 1)
        ]
        await clock.advance(1)
        together_s = await _together_s(clock)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        began_s = time.process_time()
        for n in range(1, ALONE + 1):
            clock.jump(0.01)
            await coordinator.apply_event(STATE, Renewed(ticket=f"t{n}"))
        alone_s = (time.process_time() - began_s) / ALONE
        await store.close()
    signs_per_min = 60 / (PATIENCE_S / 4)
    return 1000 * together_s / waiters, 1000 * alone_s * signs_per_min


async def _together_s(clock: FakeClock) -> float:
    """Return seconds of CPU in one minute of waiting."""
    began_s = time.process_time()
    for _ in range(PERIODS * 4):
        await clock.advance(PATIENCE_S / 16)
        await asyncio.sleep(0.01)  # the store works in a thread
    return (time.process_time() - began_s) * 60 / (PERIODS * PATIENCE_S / 4)

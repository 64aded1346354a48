"""A clock that moves only when told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush

START = datetime(2026, 1, 1, tzinfo=UTC)
"""What a fresh `FakeClock` shows."""

SETTLE_TURNS = 40
"""Turns that the event loop gets before time moves on: enough for a wake-up to pass through nested tasks."""


class FakeClock:
    """A `Clock` whose time is set by the test. Sleepers wake in the order of their deadlines, ties first come first.

    Args:
        start: The first wall-clock instant.
    """

    def __init__(self, *, start: datetime = START) -> None:
        self._start = start
        self._elapsed_s = 0.0
        self._jumped_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrivals = 0

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self._start + timedelta(seconds=self._elapsed_s + self._jumped_s)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._elapsed_s

    async def sleep(self, wait_s: float) -> None:
        """See `Clock.sleep`."""
        if wait_s <= 0:
            await asyncio.sleep(0)
            return
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heappush(self._sleepers, (self._elapsed_s + wait_s, self._arrivals, alarm))
        await alarm

    async def advance(self, by_s: float) -> None:
        """Move time forward by `by_s` seconds; stop at each sleeper's deadline, and let tasks run there and after."""
        until = self._elapsed_s + by_s
        await settle()
        while (deadline := self._next_deadline()) is not None and deadline <= until:
            self._elapsed_s = max(self._elapsed_s, deadline)
            heappop(self._sleepers)[2].set_result(None)
            await settle()
        self._elapsed_s = until

    def pass_time(self, by_s: float) -> None:
        """Move time forward by `by_s` seconds and wake nobody: what a stopped process sees when it goes on."""
        self._elapsed_s += by_s

    def jump(self, by_s: float) -> None:
        """Set the wall clock forward, or back with a negative `by_s`. The monotonic clock does not notice."""
        self._jumped_s += by_s

    def sleepers(self) -> int:
        """Return how many tasks sleep."""
        self._next_deadline()
        return sum(not alarm.done() for _, _, alarm in self._sleepers)

    def skewed(self, by_s: float) -> SkewedClock:
        """Return this clock as another machine shows it, `by_s` seconds ahead (behind, if negative)."""
        return SkewedClock(self, by_s=by_s)

    def _next_deadline(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():  # cancelled
            heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None


class SkewedClock:
    """The clock of a machine whose wall clock is wrong and whose seconds are right."""

    def __init__(self, clock: FakeClock, *, by_s: float) -> None:
        self._clock = clock
        self._by = timedelta(seconds=by_s)

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self._clock.now() + self._by

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._clock.monotonic()

    async def sleep(self, wait_s: float) -> None:
        """See `Clock.sleep`."""
        await self._clock.sleep(wait_s)


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)

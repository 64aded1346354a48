from __future__ import annotations

import asyncio
from datetime import timedelta

from interlock.testing.clock import START, FakeClock, settle


async def test_time_moves_only_when_told() -> None:
    clock = FakeClock()
    assert clock.now() == START
    await clock.advance(5)
    assert clock.now() == START + timedelta(seconds=5)
    assert clock.monotonic() == 5.0


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleep(name: str, wait_s: float) -> None:
        await clock.sleep(wait_s)
        woken.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleep(name, wait_s)) for name, wait_s in (("b", 2), ("a", 1), ("b2", 2), ("c", 9))]
    await clock.advance(3)
    assert woken == [("a", 1.0), ("b", 2.0), ("b2", 2.0)]
    assert clock.sleepers() == 1
    tasks[3].cancel()
    await settle()
    assert clock.sleepers() == 0


async def test_a_task_that_sleeps_again_while_time_moves_is_woken_again() -> None:
    clock = FakeClock()
    beats: list[float] = []

    async def beat() -> None:
        while True:
            await clock.sleep(1)
            beats.append(clock.monotonic())

    task = asyncio.create_task(beat())
    await clock.advance(3.5)
    task.cancel()
    assert beats == [1.0, 2.0, 3.0]


async def test_the_wall_clock_may_jump_and_differ_while_seconds_stay_true() -> None:
    clock = FakeClock()
    ahead = clock.skewed(3600)
    clock.jump(-60)
    await clock.sleep(0)
    assert clock.now() == START - timedelta(seconds=60)
    assert ahead.now() - clock.now() == timedelta(hours=1)
    assert ahead.monotonic() == clock.monotonic() == 0.0


async def test_time_that_passes_unseen_wakes_nobody_until_time_moves_on() -> None:
    clock = FakeClock()
    task = asyncio.create_task(clock.skewed(1).sleep(1))
    await settle()
    clock.pass_time(10)
    await settle()
    assert not task.done()
    await clock.advance(0)
    assert task.done()
    assert clock.monotonic() == 10.0

from __future__ import annotations

import asyncio

from interlock.clock import SystemClock
from interlock.store.doorbell import Doorbell


def _doorbell() -> Doorbell:
    return Doorbell(clock=SystemClock())


async def test_a_bell_rung_before_the_wait_is_heard() -> None:
    doorbell = _doorbell()
    with doorbell.hung("k") as bell:
        doorbell.ring("k")
        assert await doorbell.rung(bell, timeout_s=0)
        assert not await doorbell.rung(bell, timeout_s=0)


async def test_a_bell_rings_for_its_key_and_for_everything() -> None:
    doorbell = _doorbell()
    with doorbell.hung("a") as a, doorbell.hung("b") as b, doorbell.hung_for_all_of("") as every:
        doorbell.ring("a")
        assert (a.is_set(), b.is_set(), every.is_set()) == (True, False, True)
        doorbell.ring_all()
        assert b.is_set()


async def test_a_bell_for_a_prefix_is_silent_about_other_keys() -> None:
    doorbell = _doorbell()
    with doorbell.hung_for_all_of("a/") as some, doorbell.hung("a/") as alike:
        doorbell.ring("a")
        doorbell.ring("b/a/")
        assert not some.is_set()
        doorbell.ring("a/b")
        assert (some.is_set(), alike.is_set()) == (True, False)
        some.clear()
        doorbell.ring_prefixes()
        assert (some.is_set(), alike.is_set()) == (True, False)


async def test_bells_are_taken_down() -> None:
    doorbell = _doorbell()
    with doorbell.hung("k"), doorbell.hung("k"):
        assert doorbell.awaited() == ["k"]
    with doorbell.hung_for_all_of("k"):
        assert doorbell.awaited() == []  # it is no key
    doorbell.ring("k")


async def test_a_wait_ends_with_its_time() -> None:
    doorbell = _doorbell()
    with doorbell.hung("k") as bell:
        assert not await doorbell.rung(bell, timeout_s=0.001)


async def test_a_cancelled_wait_leaves_no_task() -> None:
    doorbell = _doorbell()
    with doorbell.hung("k") as bell:
        wait = asyncio.create_task(doorbell.rung(bell, timeout_s=20))
        await asyncio.sleep(0)
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}

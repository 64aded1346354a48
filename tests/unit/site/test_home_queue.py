"""The queue of a state elsewhere, in the home: a name of its own space, and a word about whom it orders."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.existing import Found
from interlock.existing.local import LocalBackend
from interlock.lock import Requested
from interlock.site.home_queue import HomeQueue
from interlock.testing.existing import MemoryBackend
from interlock.testing.home import memory_home


@pytest.mark.promise("P11")
async def test_a_state_of_ours_and_one_elsewhere_of_the_same_name_have_two_queues(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    queue = HomeQueue(MemoryBackend(), home)
    request = Requested(ticket="r1", run="r1", who="me", lease_s=30.0, patience_s=15.0)
    await queue.coordinator.acquire("local/app", request, timeout_s=1.0)
    assert (await home.coordinator.view("local/app")).lock.holders == ()
    assert not await home.keeps("local/app")
    assert [view.state for view in await queue.coordinator.states()] == ["local/app"]
    assert await home.coordinator.states() == []


async def test_two_openings_of_one_home_share_it(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    await HomeQueue(MemoryBackend(), home).coordinator.pause("q", by="me", reason="a test")
    assert (await HomeQueue(MemoryBackend(), home).coordinator.view("q")).lock.pause is not None


async def test_a_run_and_doctor_say_whom_it_orders_and_what_keeps_out_the_others(tmp_path: Path) -> None:
    locked = HomeQueue(LocalBackend(tmp_path / "s", found=Found(type="local")), memory_home(tmp_path))
    (words,) = locked.words
    assert f"queue: in {tmp_path}" in words
    assert "are kept out by Terraform's own lock, in no order" in words
    assert [row.result for row in await locked.inspect()] == ["ok", "ok"]
    free = HomeQueue(MemoryBackend(mechanisms=()), memory_home(tmp_path))
    assert "nobody keeps out" in free.words[0]
    assert [row.result for row in await free.inspect()] == ["ok", "problem"]

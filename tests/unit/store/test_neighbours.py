"""Waiters of one machine at a store that cannot ring: they hear each other through the home, and look without it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.store import Record
from interlock.store.neighbours import Neighbours
from interlock.store.polled import PolledWatch
from interlock.store.polling import Polling

PATIENCE_S = 30.0
KEY = "lock/prod"
RARELY = Polling(first_s=3600.0, most_s=3600.0)
linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
RING = "import sys; from pathlib import Path; from interlock.store.neighbours import Neighbours; \
Neighbours(Path(sys.argv[1])).ring(sys.argv[2])"


class Shelf:
    """One record of a service that tells nobody of changes; it says when somebody has looked."""

    def __init__(self) -> None:
        self.version = 1
        self.looks = 0
        self.looked = asyncio.Event()

    async def get(self, key: str) -> Record | None:
        self.looks += 1
        self.looked.set()
        return Record(key=key, version=self.version, value=b"")


def watch_in(folder: Path | None, polling: Polling = RARELY) -> PolledWatch:
    watch = PolledWatch(clock=SystemClock(), polling=polling, fraction=lambda: 0.5)
    if folder is not None:
        watch.neighbours = Neighbours(folder)
    return watch


def ring_elsewhere(folder: Path, key: str) -> None:
    subprocess.run([sys.executable, "-c", RING, str(folder), key], check=True, timeout=PATIENCE_S)


@linux
async def test_a_change_by_another_process_of_this_machine_is_looked_at_at_once(tmp_path: Path) -> None:
    shelf, watch = Shelf(), watch_in(tmp_path / "bells")
    waiting = asyncio.create_task(watch.record(KEY, shelf.get, seen=1, timeout_s=PATIENCE_S))
    await shelf.looked.wait()
    shelf.version = 2
    await asyncio.to_thread(ring_elsewhere, tmp_path / "bells", KEY)
    found = await waiting
    assert found is not None
    assert (found.version, shelf.looks) == (2, 2)
    await watch.close()


@linux
async def test_of_two_that_wait_for_one_key_each_hears_after_the_other_has_left(tmp_path: Path) -> None:
    shelf, watch = Shelf(), watch_in(tmp_path / "bells")
    waiting = asyncio.create_task(watch.record(KEY, shelf.get, seen=1, timeout_s=PATIENCE_S))
    await shelf.looked.wait()
    await watch.record(KEY, shelf.get, seen=1, timeout_s=0.0)
    shelf.version = 2
    await asyncio.to_thread(ring_elsewhere, tmp_path / "bells", KEY)
    found = await waiting
    assert found is not None
    assert (found.version, shelf.looks) == (2, 3)
    await watch.close()


@linux
async def test_a_ring_for_another_key_costs_no_look(tmp_path: Path) -> None:
    shelf, other = Shelf(), Shelf()
    watch = watch_in(tmp_path / "bells")
    waiting = asyncio.create_task(watch.record(KEY, shelf.get, seen=1, timeout_s=PATIENCE_S))
    beside = asyncio.create_task(watch.record("lock/dev", other.get, seen=1, timeout_s=PATIENCE_S))
    await shelf.looked.wait()
    await other.looked.wait()
    other.version = 2
    await asyncio.to_thread(ring_elsewhere, tmp_path / "bells", "lock/dev")
    await beside
    assert (shelf.looks, other.looks) == (1, 2)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await watch.close()


def test_who_changes_something_that_nobody_waits_for_leaves_no_file(tmp_path: Path) -> None:
    watch_in(tmp_path / "bells").ring(KEY)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_in_the_place_of_the_bells_leaves_the_looking_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "bells").write_bytes(b"")
    await _looks_by_itself(tmp_path / "bells")


async def test_without_signs_of_the_kernel_the_looking_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    await _looks_by_itself(tmp_path / "bells")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _looks_by_itself(folder: Path) -> None:
    shelf, watch = Shelf(), watch_in(folder, Polling(first_s=0.01))
    waiting = asyncio.create_task(watch.record(KEY, shelf.get, seen=1, timeout_s=PATIENCE_S))
    await shelf.looked.wait()
    watch.ring(KEY)
    shelf.version = 2
    found = await waiting
    assert found is not None
    assert found.version == 2
    await watch.close()


@linux
async def test_waiting_again_and_again_keeps_one_descriptor_until_the_store_is_closed(tmp_path: Path) -> None:
    shelf, watch = Shelf(), watch_in(tmp_path / "bells")
    before = _descriptors()
    for _ in range(20):
        await watch.record(KEY, shelf.get, seen=1, timeout_s=0.0)
    assert _descriptors() == before + 1
    await watch.close()
    assert _descriptors() == before

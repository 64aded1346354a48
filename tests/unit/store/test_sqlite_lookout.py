from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.store import sqlite_lookout
from interlock.store.doorbell import Doorbell
from interlock.store.file_bell import FileBell, open_bell
from interlock.store.record_rows import swap_row
from interlock.store.sqlite import SqliteStore
from interlock.store.sqlite_file import open_file
from interlock.store.sqlite_lookout import OWN_MAX, SETTLE_S, Seen, SqliteLookout


async def test_nothing_looks_at_the_file_while_nobody_waits(store: SqliteStore) -> None:
    await store.records.watch("k", seen=None, timeout_s=0.001)
    task = store.records._lookout._task
    assert task is not None
    await asyncio.wait_for(task, 10)


async def test_a_write_that_rings_no_bell_is_noticed_all_the_same(store: SqliteStore) -> None:
    watch = asyncio.create_task(store.records.watch("k", seen=None, timeout_s=20))
    await asyncio.sleep(0.02)
    await asyncio.wrap_future(store._writer.submit(lambda connection: swap_row(connection, "k", None, b"one")))
    assert (await watch or pytest.fail("absent")).value == b"one"


async def test_the_log_is_listened_to_once_however_often_somebody_waits(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[FileBell | None] = []

    def noted(path: str) -> FileBell | None:
        opened.append(open_bell(path))
        return opened[-1]

    monkeypatch.setattr(sqlite_lookout, "open_bell", noted)
    for _ in range(3):
        await store.records.watch("k", seen=None, timeout_s=0.001)
        task = store.records._lookout._task
        assert task is not None
        await asyncio.wait_for(task, 10)  # nobody waits any more
    assert len([bell for bell in opened if bell is not None]) <= 1  # none where the kernel gives no signs
    assert len(opened) in {1, 3}


async def test_what_this_process_wrote_is_not_looked_for(path: Path, store: SqliteStore) -> None:
    doorbell, clock = Doorbell(clock=SystemClock()), SystemClock()
    lookout = SqliteLookout(open_file(path, clock=clock), doorbell, clock=clock)
    with doorbell.hung("waited") as bell, doorbell.hung_for_all_of("w") as every:
        seen = Seen()
        lookout.look_once(seen)
        version = await store.records.swap("waited", expected=None, value=b"a peer's")
        lookout.look_once(seen)
        assert (bell.is_set(), every.is_set()) == (True, True)
        bell.clear()
        every.clear()

        lookout.know_own(await store.records.swap("other", expected=None, value=b"said to be ours"))
        lookout.look_once(seen)
        assert (bell.is_set(), every.is_set()) == (False, False)

        lookout.know_own(await store.records.swap("other", expected=version + 1, value=b"ours again"))
        version = await store.records.swap("waited", expected=version, value=b"a peer's, right behind it")
        lookout.know_own(await store.records.swap("third", expected=None, value=b"and ours before the look"))
        lookout.look_once(seen)
        assert (bell.is_set(), every.is_set()) == (True, True)

        bell.clear()
        version = await store.records.swap("waited", expected=version, value=b"ours, among more than are remembered")
        for number in range(version, version + OWN_MAX + 1):
            lookout.know_own(number)
        lookout.look_once(seen)
        assert bell.is_set()

        bell.clear()
        await store.records.swap("waited", expected=version, value=None)  # a removal has no version
        lookout.look_once(seen)
        assert bell.is_set()
    await lookout.close()


def test_a_commit_is_noticed_before_it_has_taken_twice_as_long() -> None:
    waited_s = SETTLE_S[0]
    for pause_s in SETTLE_S[1:]:
        assert pause_s <= min(waited_s + SETTLE_S[0], 0.04)
        waited_s += pause_s
    assert waited_s >= 0.5

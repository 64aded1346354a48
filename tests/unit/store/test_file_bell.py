from __future__ import annotations

import asyncio
import ctypes
import sys
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.store.file_bell import open_bell
from interlock.store.sqlite import SqliteStore
from interlock.store.sqlite_lookout import SETTLE_S

PATIENCE_S = 20.0
linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@linux
async def test_a_write_and_a_removal_are_heard(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"")
    bell = open_bell(path) or pytest.fail("no inotify")
    heard = asyncio.Event()

    def noticed() -> None:
        bell.silence()
        heard.set()

    asyncio.get_running_loop().add_reader(bell.descriptor, noticed)
    for act in (lambda: path.write_bytes(b"x"), path.unlink):
        heard.clear()
        act()
        await asyncio.wait_for(heard.wait(), PATIENCE_S)
    asyncio.get_running_loop().remove_reader(bell.descriptor)
    bell.close()


@linux
def test_a_file_that_is_not_there_has_no_bell(tmp_path: Path) -> None:
    assert open_bell(tmp_path / "nothing") is None


def test_elsewhere_and_with_too_many_watchers_there_is_no_bell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert open_bell(tmp_path) is None
    monkeypatch.setattr(sys, "platform", "linux")

    class Exhausted:
        def inotify_init1(self, _flags: int) -> int:
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_named: Exhausted())
    assert open_bell(tmp_path) is None


@pytest.mark.parametrize("hears", [True, False])
async def test_a_peer_is_woken_with_and_without_a_bell(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, hears: bool
) -> None:
    if not hears:
        monkeypatch.setattr("interlock.store.sqlite_lookout.open_bell", lambda _path: None)
    monkeypatch.setattr("interlock.store.sqlite_lookout.UNASKED_S", PATIENCE_S)
    monkeypatch.setattr("interlock.store.sqlite_lookout.SETTLE_S", SETTLE_S[:8])
    peer = await SqliteStore.open(path, clock=SystemClock())
    version = None
    for number in range(3):
        watch = asyncio.create_task(peer.records.watch("k", seen=version, timeout_s=PATIENCE_S))
        await asyncio.sleep(0.3 if hears and number == 1 else 0.01)  # once it has fallen asleep
        version = await store.records.swap("k", expected=version, value=b"%d" % number)
        assert (await asyncio.wait_for(watch, PATIENCE_S / 2) or pytest.fail("absent")).version == version
    await peer.close()

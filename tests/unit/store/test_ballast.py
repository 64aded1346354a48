from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable
from interlock.store.ballast import BALLAST_BYTES, ballast_of, give_up_ballast, is_full, lay_ballast
from interlock.store.sqlite import SqliteStore
from interlock.store.sqlite_file import open_file

DISK_BYTES = 64 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("a disk of its own needs root and the right to mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(place: Path) -> None:
    with (place / f"filler{len(list(place.iterdir()))}").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


async def _put_without_end(store: SqliteStore) -> None:
    for _ in range(DISK_BYTES // 1_000_000):
        await store.blobs.put(os.urandom(1_000_000))


def test_a_ballast_takes_room_once_and_is_given_up_once(tmp_path: Path) -> None:
    database = tmp_path / "interlock.db"
    assert lay_ballast(database, 100_000)
    assert lay_ballast(database, 100_000)
    assert ballast_of(database).stat().st_blocks * 512 >= 100_000
    assert ballast_of(database).stat().st_mode & 0o777 == 0o600
    assert give_up_ballast(database)
    assert not give_up_ballast(database)


def test_no_ballast_is_laid_where_it_would_fill_the_disk(tmp_path: Path) -> None:
    assert not lay_ballast(tmp_path / "interlock.db", shutil.disk_usage(tmp_path).free // 2)
    assert not lay_ballast(tmp_path / "nowhere" / "interlock.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("code", "full"), [(sqlite3.SQLITE_FULL, True), (sqlite3.SQLITE_CORRUPT, False)])
def test_a_full_disk_is_told_from_other_failures(tmp_path: Path, code: int, full: bool) -> None:
    error = sqlite3.OperationalError("some words")
    error.sqlite_errorcode = code
    assert is_full(error, tmp_path / "interlock.db") is full


@pytest.mark.promise("P3")
async def test_on_a_full_disk_what_is_under_way_is_still_stored_and_then_the_refusal_says_why(
    small_disk: Path,
) -> None:
    path = small_disk / "interlock.db"
    store = await SqliteStore.open(path, clock=SystemClock())
    version = await store.records.swap("state/prod", expected=None, value=b"held")
    assert await store.keep_room()
    assert ballast_of(path).stat().st_size == BALLAST_BYTES
    _fill(small_disk)
    state = os.urandom(1_000_000)
    digest = await store.blobs.put(state)
    for number in range(20):
        version = await store.records.swap("state/prod", expected=version, value=b"renewed %d" % number)
    assert await store.blobs.get(digest) == state
    assert not ballast_of(path).exists()
    _fill(small_disk)
    with pytest.raises(BackendUnavailable, match="disk is full") as refusal:
        await _put_without_end(store)
    assert refusal.value.fix.startswith("df -h")
    assert (await store.records.get("state/prod") or pytest.fail("lost")).value == b"renewed 19"
    await store.close()


async def test_a_database_on_a_full_disk_is_opened_with_the_room_of_the_ballast(small_disk: Path) -> None:
    path = small_disk / "interlock.db"
    store = await SqliteStore.open(path, clock=SystemClock())
    await store.records.swap("k", expected=None, value=b"one")
    await store.keep_room()
    await store.close()
    _fill(small_disk)
    store = await SqliteStore.open(path, clock=SystemClock())
    assert (await store.records.get("k") or pytest.fail("lost")).value == b"one"
    await store.records.swap("new", expected=None, value=b"x" * 100_000)
    await store.close()


def test_a_new_database_on_a_full_disk_is_refused_with_30(small_disk: Path) -> None:
    _fill(small_disk)
    with pytest.raises(BackendUnavailable) as refusal:
        open_file(small_disk / "interlock.db", clock=SystemClock())
    assert refusal.value.exit_status == 30
    assert refusal.value.fix

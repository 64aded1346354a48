from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable, UsageError
from interlock.store.record_rows import behind
from interlock.store.sqlite import SqliteStore


def _limit_pages(store: SqliteStore, pages: int) -> None:
    """Make the disk full, as far as SQLite can tell: it gives the same error."""
    store._writer.submit(lambda connection: connection.execute(f"PRAGMA max_page_count={pages}").fetchone()).result()


async def _fill(store: SqliteStore, acknowledged: dict[str, int]) -> None:
    for number in range(1000):
        key = f"k{number:04}"
        acknowledged[key] = await store.records.swap(key, expected=None, value=os.urandom(2000))


async def test_a_full_disk_loses_nothing_that_was_acknowledged(store: SqliteStore) -> None:
    _limit_pages(store, 60)
    acknowledged: dict[str, int] = {}
    with pytest.raises(BackendUnavailable, match="disk is full") as refusal:
        await _fill(store, acknowledged)
    assert refusal.value.exit_status == 30
    records = await store.records.list("")
    assert {record.key: record.version for record in records} == acknowledged
    _limit_pages(store, 100_000)
    assert await store.records.swap("later", expected=None, value=b"x" * 5000) > max(acknowledged.values())


async def test_a_blob_that_finds_the_disk_full_spoils_no_swap_beside_it(store: SqliteStore) -> None:
    _limit_pages(store, 100)
    swaps = [store.records.swap(f"k{number}", expected=None, value=b"small") for number in range(5)]
    put, *versions = await asyncio.gather(store.blobs.put(os.urandom(3_000_000)), *swaps, return_exceptions=True)
    assert isinstance(put, BackendUnavailable)
    assert all(isinstance(version, int) for version in versions)
    assert len(await store.records.list("k")) == 5


async def test_a_busy_database_is_waited_for(path: Path, store: SqliteStore) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    swap = asyncio.create_task(store.records.swap("k", expected=None, value=b"one"))
    await asyncio.sleep(0.05)
    assert not swap.done()
    assert await store.records.get("k") is None  # readers are not held up
    other.execute("COMMIT")
    other.close()
    assert await swap > 0


async def test_a_store_used_after_a_fork_refuses(store: SqliteStore) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0 if _refuses(store) else 1)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def _refuses(store: SqliteStore) -> bool:
    for call in (store.records.get("k"), store.records.swap("k", expected=None, value=b""), store.blobs.has("0" * 64)):
        try:
            call.send(None)
        except UsageError:
            continue
        return False
    return True


async def test_closing_waits_for_swaps_under_way(path: Path) -> None:
    store = await SqliteStore.open(path, clock=SystemClock())
    swaps = [asyncio.create_task(store.records.swap(f"k{number}", expected=None, value=b"x")) for number in range(50)]
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    assert len(set(await asyncio.gather(*swaps))) == 50
    assert not Path(f"{path}-wal").exists()  # the last connection tidied up


@given(prefix=st.text(max_size=4), text=st.text(max_size=6))
def test_the_end_of_a_prefix_sorts_behind_all_that_start_with_it(prefix: str, text: str) -> None:
    end = behind(prefix)
    if text.startswith(prefix):
        assert end is None or text < end
    elif text > prefix:
        assert end is not None
        assert text >= end


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("", None), ("a", "b"), ("a\U0010ffff", "b"), ("\U0010ffff\U0010ffff", None), ("\ud7ff", "\ue000")],
)
def test_the_end_of_a_prefix_is_the_next_text(prefix: str, end: str | None) -> None:
    assert behind(prefix) == end

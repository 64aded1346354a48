"""A long history: found by its pages, side by side with the walk along the chain that was the only way before."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import Row, compared
from interlock.clock import SystemClock
from interlock.coordinator.chain import Chain
from interlock.state.history import Version, VersionKind, encode
from interlock.store import blob_digest
from interlock.store.packing import pack, read_header
from interlock.store.sqlite import SqliteStore

VERSIONS = 100_000
WALKED = 5_000  # links of the chain that are timed one by one
STATE = "prod/routing"


def measure() -> list[Row]:
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        store = await SqliteStore.open(Path(name) / "history.db", clock=SystemClock())
        metas = await asyncio.wrap_future(store._writer.submit(_grow))  # noqa: SLF001 - at once
        chain, head = Chain(store.records, store.blobs), metas[-1]
        link_s = await _timed(_walk(chain, head, WALKED)) / WALKED
        rebuild_s = await _timed(chain.rebuild(STATE, head))
        whole_s, half = VERSIONS * link_s, VERSIONS // 2
        rows = [
            _row("the newest 50", await _timed(_newest(chain, head, 50)), 50 * link_s),
            _row("version 7", await _timed(chain.find(STATE, head, 7)), whole_s),
            _row(f"version {half}", await _timed(chain.find(STATE, head, half)), whole_s / 2),
            _row("highest serial, for a restore", await _timed(chain.highest_serial(STATE, head, "l")), whole_s),
            _row("all of them, for a prune", await _timed(_newest(chain, head, VERSIONS)), whole_s),
            _row("making all pages anew", rebuild_s, whole_s),
        ]
        await store.close()
        return rows


def _row(name: str, took_s: float, by_chain_s: float) -> Row:
    return compared(f"{name}, of {VERSIONS:,}", took_s, "s", baseline=by_chain_s, aim="flat")


def _grow(connection: sqlite3.Connection) -> list[str]:
    """Write a chain of descriptions straight into the tables: through the store it would take minutes."""
    metas = [""]
    for number in range(1, VERSIONS + 1):
        version = Version(
            number=number,
            kind=VersionKind.WRITE,
            digest=f"{number * 7919:064x}",
            blob=f"{number * 104729:064x}",
            serial=number,
            lineage="l",
            who="ann@host",
            run=f"20261129-{number:08d}",
            token=number,
            written_at=datetime(2026, 11, 29, tzinfo=UTC),
            size_bytes=100_000,
            resources=100,
            parent=metas[-1],
        )
        stored = encode(version)
        packed = pack(stored)
        metas.append(blob_digest(stored))
        connection.execute("INSERT INTO parts VALUES (?, 0, ?)", (number, packed))
        connection.execute(
            "INSERT INTO blobs VALUES (?, ?, ?, NULL)", (metas[-1], number, read_header(packed).plain_bytes)
        )
    connection.execute("INSERT INTO uploads (id, started_s) VALUES (?, 1)", (VERSIONS,))
    connection.execute("DELETE FROM uploads")
    return metas


async def _walk(chain: Chain, meta: str, count: int) -> None:
    for _ in range(count):
        meta = (await chain.describe(meta)).parent


async def _newest(chain: Chain, meta: str, count: int) -> None:
    async for _ in chain.walk(STATE, meta):
        count -= 1
        if not count:
            return


async def _timed(work: Awaitable[object]) -> float:
    start_s = time.perf_counter()
    await work
    return time.perf_counter() - start_s

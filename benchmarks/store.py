"""The SQLite store against SQLite itself, and against a plain file."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from benchmarks import Row, compared
from interlock.clock import SystemClock
from interlock.coordinator.local import LocalCoordinator
from interlock.ids import RandomIds
from interlock.lock import Requested
from interlock.store.sqlite import SqliteStore

CYCLES = 1500
ROUNDS = 5
TASKS = 16
WAKES = 100
BLOB_BYTES = 100_000_000
RECORD = b"x" * 600  # a lock record with a holder and a waiter or two


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [*asyncio.run(_cycles(folder)), *asyncio.run(_wakes(folder)), *_blobs(folder)]


async def _cycles(folder: Path) -> list[Row]:
    store = await SqliteStore.open(folder / "cycles.db", clock=SystemClock())
    # In turn, and the best round of each: the disk of a shared machine is now quick, now slow.
    rounds = [await _round(folder / f"raw{number}.db", store, number) for number in range(ROUNDS)]
    commits, locked, alone = (max(each) for each in zip(*rounds, strict=True))
    many = CYCLES / await _timed(
        asyncio.gather(*(_cycle_often(store, f"k{task}", CYCLES // TASKS) for task in range(TASKS)))
    )
    await store.close()
    return [
        compared("lock cycles, one task", locked, "per second", baseline=commits, aim="0.4; two commits each: 0.5"),
        compared("the same without a lock: two swaps", alone, "per second", baseline=commits),
        compared(f"two swaps, {TASKS} tasks", many, "per second", baseline=commits, aim="more than 0.5"),
    ]


async def _round(raw: Path, store: SqliteStore, number: int) -> tuple[float, float, float]:
    """Return commits, lock cycles and cycles of two swaps per second."""
    times = CYCLES // ROUNDS
    commits = raw_commits(raw, 2 * times)
    locked = times / await _timed(_lock_often(store, f"s{number}", times))
    alone = times / await _timed(_cycle_often(store, f"alone{number}", times))
    return commits, locked, alone


async def _cycle_often(store: SqliteStore, key: str, times: int) -> None:
    version = await store.records.swap(key, expected=None, value=RECORD)
    for _ in range(times):
        version = await store.records.swap(key, expected=version, value=RECORD)
        version = await store.records.swap(key, expected=version, value=RECORD)


async def _lock_often(store: SqliteStore, state: str, times: int) -> None:
    coordinator = LocalCoordinator(store.records, SystemClock(), RandomIds())
    for number in range(times):
        asked = Requested(ticket=f"t{number}", who="bench", lease_s=30.0, patience_s=15.0)
        grant = await coordinator.acquire(state, asked, timeout_s=None)
        await coordinator.release(state, grant.ticket, grant.token)


def raw_commits(path: Path, times: int) -> float:
    """Return commits per second of a plain loop with the same settings as the store."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE records (key TEXT PRIMARY KEY, version INTEGER, value BLOB)")
        connection.execute("INSERT INTO records VALUES ('k', 0, ?)", (RECORD,))
        start = time.perf_counter()
        for version in range(times):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE records SET version = ?, value = ? WHERE key = 'k'", (version, RECORD))
            connection.execute("COMMIT")
        return times / (time.perf_counter() - start)


async def _timed(work: Awaitable[object]) -> float:
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


# CLOCK_MONOTONIC is one clock for all processes of a machine, so two of them may be compared.
_WATCHER = """
import asyncio, sys, time
from pathlib import Path
from interlock.clock import SystemClock
from interlock.store.sqlite import SqliteStore

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), clock=SystemClock())
    version = None
    while True:
        print("waiting", flush=True)
        record = await store.records.watch("bell", seen=version, timeout_s=60)
        print(time.monotonic_ns(), flush=True)
        version = record.version
        if record.value == b"end":
            break
    await store.close()

asyncio.run(main())
"""


async def _wakes(folder: Path) -> list[Row]:
    path = folder / "wakes.db"
    store = await SqliteStore.open(path, clock=SystemClock())
    chance = random.Random(1)
    waits_ms = []
    with subprocess.Popen(  # noqa: ASYNC220 - measured, so nothing else runs in this loop
        [sys.executable, "-c", _WATCHER, str(path)], stdout=subprocess.PIPE, text=True
    ) as watcher:
        assert watcher.stdout is not None
        version = None
        for number in range(WAKES):
            watcher.stdout.readline()
            await asyncio.sleep(chance.uniform(0.02, 0.05))
            start = time.monotonic_ns()
            value = b"end" if number == WAKES - 1 else b"x"
            version = await store.records.swap("bell", expected=version, value=value)
            waits_ms.append((int(watcher.stdout.readline()) - start) / 1e6)
    await store.close()
    waits_ms.sort()
    return [
        Row(name="wake-up in another process, p50", value=waits_ms[len(waits_ms) // 2], unit="ms", aim="under 50"),
        Row(name="wake-up in another process, p99", value=waits_ms[int(len(waits_ms) * 0.99)], unit="ms"),
    ]


def _blobs(folder: Path) -> list[Row]:
    """Measure in a process of its own, so that its memory is its own too."""
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.store", str(folder)], check=True, capture_output=True, text=True
    ).stdout
    return [Row(**fields) for fields in json.loads(output)]


def _state(seed: int) -> bytes:
    """Return a document like a state: indented, full of ids, about `BLOB_BYTES` long."""
    chance = random.Random(seed)
    block = (
        '    {\n      "mode": "managed",\n      "type": "genesyscloud_routing_queue",\n      "name": "queue_%d",\n'
        '      "instances": [\n        {\n          "schema_version": 1,\n          "attributes": {\n'
        '            "id": "%032x",\n            "division_id": "%032x",\n            "acw_timeout_ms": 300000\n'
        "          }\n        }\n      ]\n    },\n"
    )
    count = BLOB_BYTES // len(block % (0, 0, 0))
    return "".join(
        block % (number, chance.getrandbits(128), chance.getrandbits(128)) for number in range(count)
    ).encode()


async def _measure_blobs(folder: Path) -> list[Row]:
    state = _state(1)
    successor = state.replace(b'"acw_timeout_ms": 300000', b'"acw_timeout_ms": 120000', 50)
    noise = os.urandom(BLOB_BYTES)
    store = await SqliteStore.open(folder / "blobs.db", clock=SystemClock())
    before = _memory_bytes()
    rows = []
    like = None
    for name, data in (("state", state), ("successor of it", successor), ("noise", noise)):
        write_s, read_s = plain_file(folder / "plain", data)
        start = time.perf_counter()
        digest = await store.blobs.put(data, like=like)
        put_s = time.perf_counter() - start
        start = time.perf_counter()
        assert await store.blobs.get(digest) == data
        get_s = time.perf_counter() - start
        like = digest if name == "state" else None
        rows += [
            compared(f"100 MB {name}: put", put_s, "s", baseline=write_s, aim="under 1 s; baseline: file and fsync"),
            compared(f"100 MB {name}: get", get_s, "s", baseline=read_s, aim="under 1 s; baseline: read the file"),
        ]
    await store.close()
    peak = (_memory_bytes() - before) / BLOB_BYTES
    return [*rows, Row(name="most memory for a put or get, beside the blob", value=peak, unit="x its size")]


def plain_file(path: Path, data: bytes) -> tuple[float, float]:
    start = time.perf_counter()
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    written = time.perf_counter()
    path.read_bytes()
    return written - start, time.perf_counter() - written


def _memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    print(json.dumps([asdict(row) for row in asyncio.run(_measure_blobs(Path(sys.argv[1])))]))

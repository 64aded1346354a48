"""What encryption costs: put and get of states of 1, 10 and 100 MB, with and without a key, on SQLite."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import Row, compared
from interlock.clock import SystemClock
from interlock.store.opening import open_store
from interlock.store.sealing import MasterKey, master_key
from interlock.store.vault import with_encryption

ROUNDS = 5
SIZES_MB = (1, 10, 100)
KEY = master_key(bytes(range(32)))


def state(megabytes: int) -> bytes:
    """Return text that compresses about as a state does."""
    rng = random.Random(7)
    lines = []
    size = 0
    while size < megabytes * 1_000_000:
        line = f'{{"id": "{rng.getrandbits(128):032x}", "name": "queue {rng.randrange(9999)}", "division": "home"}},\n'
        lines.append(line)
        size += len(line)
    return "".join(lines).encode()


async def measured(keys: tuple[MasterKey, ...], data: bytes, folder: Path) -> tuple[float, float]:
    """Return median seconds of a put and of a get."""
    store = await open_store(str(folder / "interlock.db"), clock=SystemClock())
    sealed = await with_encryption(store, keys, clock=SystemClock())
    puts, gets = [], []
    for number in range(ROUNDS):
        fresh = f"{number} ".encode() + data
        start = time.perf_counter()
        digest = await sealed.blobs.put(fresh)
        puts.append(time.perf_counter() - start)
        start = time.perf_counter()
        await sealed.blobs.get(digest)
        gets.append(time.perf_counter() - start)
        await sealed.blobs.delete(digest)
    await store.close()
    return statistics.median(puts), statistics.median(gets)


def measure() -> list[Row]:
    """Return seconds of a put and a get with a key, against those without."""
    return [row for megabytes in SIZES_MB for row in asyncio.run(_rows(megabytes))]


async def _rows(megabytes: int) -> list[Row]:
    data = state(megabytes)
    found = []
    for keys in ((), (KEY,)):
        with tempfile.TemporaryDirectory() as folder:
            found.append(await measured(keys, data, Path(folder)))
    clear, sealed = found
    return [
        compared(f"{what} {megabytes} MB, encrypted", sealed[n], "s", baseline=clear[n])
        for n, what in enumerate(("put", "get"))
    ]

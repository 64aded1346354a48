"""The time from a release to the next grant: in one process, and from one process to another."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from benchmarks import Row
from interlock.clock import SystemClock
from interlock.coordinator.local import LocalCoordinator
from interlock.ids import RandomIds
from interlock.lock import Grant, Requested
from interlock.store.sqlite import SqliteStore

ROUNDS = 60
STATE = "s"
SETTLE_S = 0.03  # until the waiter waits


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        database = Path(name) / "interlock.db"
        inside = asyncio.run(_inside(database))
        across = asyncio.run(_across(database))
    return [
        *_rows("hand-over in one process", inside, "p50 below 5 ms"),
        *_rows("hand-over to another process", across, "p50 below 50 ms"),
    ]


def _rows(name: str, times_s: list[float], aim: str) -> list[Row]:
    return [
        Row(name=f"{name}, p50", value=median(times_s) * 1000, unit="ms", aim=aim),
        Row(name=f"{name}, p95", value=quantiles(times_s, n=20)[-1] * 1000, unit="ms"),
    ]


async def _open(database: Path) -> tuple[SqliteStore, LocalCoordinator]:
    store = await SqliteStore.open(database, clock=SystemClock())
    return store, LocalCoordinator(store.records, SystemClock(), RandomIds())


async def _acquire(coordinator: LocalCoordinator) -> Grant:
    request = Requested(ticket=coordinator.new_ticket(), who="bench", lease_s=60.0, patience_s=60.0)
    return await coordinator.acquire(STATE, request, timeout_s=30.0)


async def _release(coordinator: LocalCoordinator, grant: Grant) -> None:
    await coordinator.release(STATE, ticket=grant.ticket, token=grant.token)


async def _inside(database: Path) -> list[float]:
    store, coordinator = await _open(database)
    times_s = []
    grant = await _acquire(coordinator)
    for _ in range(ROUNDS):
        waiting = asyncio.create_task(_acquire(coordinator))
        await asyncio.sleep(SETTLE_S)
        began_s = time.monotonic()
        releasing = asyncio.create_task(_release(coordinator, grant))
        grant = await waiting
        times_s.append(time.monotonic() - began_s)
        await releasing
    await _release(coordinator, grant)
    await store.close()
    return times_s


async def _across(database: Path) -> list[float]:
    store, coordinator = await _open(database)
    words = [sys.executable, "-m", "benchmarks.hand_over", str(database)]
    times_s = []
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:  # noqa: ASYNC220 - before any timing
        assert other.stdin is not None
        assert other.stdout is not None
        for _ in range(ROUNDS):
            grant = await _acquire(coordinator)
            other.stdin.write("acquire\n")
            other.stdin.flush()
            await asyncio.to_thread(other.stdout.readline)  # it asks now
            await asyncio.sleep(SETTLE_S)
            began_s = time.monotonic()  # one clock for all processes of a machine
            await _release(coordinator, grant)
            times_s.append(float(await asyncio.to_thread(other.stdout.readline)) - began_s)
        other.stdin.close()
    await store.close()
    return times_s


async def _be_the_other(database: Path) -> None:
    store, coordinator = await _open(database)
    while await asyncio.to_thread(sys.stdin.readline):
        sys.stdout.write("asking\n")
        sys.stdout.flush()
        grant = await _acquire(coordinator)
        sys.stdout.write(f"{time.monotonic()}\n")
        await _release(coordinator, grant)
        sys.stdout.flush()
    await store.close()


if __name__ == "__main__":
    asyncio.run(_be_the_other(Path(sys.argv[1])))

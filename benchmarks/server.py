"""`interlock serve` as its clients meet it, on SQLite and on PostgreSQL: over HTTP, in a process of its own.

Lock cycles stand beside the database's own commits in the same run: what `pgbench` reaches with as many connections, or
a plain loop on a file of SQLite. States stand beside a plain file. What depends on how much there is, waiters, states,
runs and versions, stands beside the same with little. `BENCH_SCALE=10` is the size of the aims: 1,000 waiters and
states, 100,000 runs and versions, a state of 100 MB.

Hand-over between servers is in `postgres.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
from tests.replicas import TOKEN

from benchmarks import Row, compared
from benchmarks.postgres import TASKS, commits_per_s
from benchmarks.serving import Connection, Server, lock_body, own_peak_bytes, running
from benchmarks.state import state_of_size
from benchmarks.store import plain_file, raw_commits
from interlock.clock import SystemClock
from interlock.coordinator.archive import Writer
from interlock.home.line import Line
from interlock.home.server_archive import ServerArchive
from interlock.ids import RandomIds, run_id
from interlock.server.api.run_book import KeptRun
from interlock.settings.values import Secret
from interlock.store.opening import Store, open_store
from interlock.testing.postgres import PostgresServer, running_server, why_not

SCALE = int(os.environ.get("BENCH_SCALE", "1"))
SECONDS = 4.0
ROUNDS = 40
FEW = 10
WAITERS = STATES = 100 * SCALE
RUNS = VERSIONS = 10_000 * SCALE
SIZES_MB = (1, 10, 100) if SCALE > 1 else (1, 10)
BEGAN_AT = datetime(2026, 9, 1, tzinfo=UTC)


def measure() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows += asyncio.run(_on_sqlite(folder))
        if not why_not():
            with running_server(is_durable=True) as database:
                rows += asyncio.run(_on_postgres(database, folder))
    return rows


async def _on_sqlite(folder: Path) -> list[Row]:
    database = folder / "server.db"
    async with running(str(database), folder / "home") as server:
        commits = await asyncio.to_thread(raw_commits, folder / "raw.db", 1500)
        rows = await _cycles(server, "SQLite", commits)
        rows += await _waiters(server, "SQLite")
        rows += await _states(server, "SQLite")
        rows += await _bulk(server, "SQLite", folder)
    async with running(str(database), folder / "home") as server:
        return rows + await _runs(server, "SQLite", str(database))


async def _on_postgres(database: PostgresServer, folder: Path) -> list[Row]:
    url = f"{database.url}&schema=bench"
    async with running(url, folder / "home-of-postgres") as server:
        commits = await asyncio.to_thread(commits_per_s, database, TASKS)
        rows = await _cycles(server, "PostgreSQL", commits)
        rows += await _waiters(server, "PostgreSQL")
        rows += await _states(server, "PostgreSQL")
        rows += await _bulk(server, "PostgreSQL", folder)
        return rows + await _runs(server, "PostgreSQL", url)


# -- lock cycles ------------------------------------------------------------------------------------------------------


async def _cycles(server: Server, kind: str, commits: float) -> list[Row]:
    """LOCK and UNLOCK of as many states as there are clients, as quickly as each is answered."""
    connections = [await Connection.open(server.port) for _ in range(TASKS)]
    until_s, done = time.perf_counter() + SECONDS, 0

    async def cycle(number: int, connection: Connection) -> None:
        nonlocal done
        while time.perf_counter() < until_s:
            await _lock_once(connection, f"cycles/{number}")
            done += 1

    before, asked = server.cpu_s(), await _metrics(server)
    began_s = time.perf_counter()
    await asyncio.gather(*(cycle(number, each) for number, each in enumerate(connections)))
    rate = done / (time.perf_counter() - began_s)
    cpu_s, asked_now = (server.cpu_s() - before) / done, await _metrics(server)
    for each in connections:
        each.close()
    rows = [
        compared(f"{kind}: lock cycles over HTTP, {TASKS} clients", rate, "1/s", baseline=commits, aim="0.45"),
        Row(name=f"{kind}: the server's CPU for a cycle", value=1000 * cpu_s, unit="ms"),
    ]
    for name, value in asked_now.items():
        if name.startswith("interlock_store_") and name in asked:
            what = name.removeprefix("interlock_store_").removesuffix("_total")
            rows.append(Row(name=f"{kind}: {what} for a cycle", value=(value - asked[name]) / done, unit=""))
    return rows


async def _lock_once(connection: Connection, state: str) -> None:
    body = lock_body(f"{state}-{time.perf_counter_ns()}")
    await connection.ok("LOCK", f"/state/{state}?wait=0", body)
    await connection.ok("UNLOCK", f"/state/{state}", body)


async def _metrics(server: Server) -> dict[str, float]:
    connection = await Connection.open(server.port)
    text = (await connection.ok("GET", "/metrics")).decode()
    connection.close()
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}


# -- waiters ----------------------------------------------------------------------------------------------------------


async def _waiters(server: Server, kind: str) -> list[Row]:
    """Each waits for a state of its own, by a LOCK that is held; some are handed over."""
    began = server.forget_peak()
    few, _ = await _handed_over(server, FEW)
    many, idle = await _handed_over(server, WAITERS)
    memory = (server.peak_bytes() - began) / WAITERS / 1024
    name = f"{kind}: hand-over beside {WAITERS} held requests, p50"
    return [
        compared(name, 1000 * many, "ms", baseline=1000 * few, aim="flat"),
        Row(name=f"{kind}: the server's CPU for a held request and minute", value=1000 * 60 * idle, unit="ms"),
        Row(name=f"{kind}: memory for a held request", value=memory, unit="KiB"),
    ]


async def _handed_over(server: Server, waiters: int) -> tuple[float, float]:
    """Return the seconds of a hand-over, and those on the processor for a waiter in a second."""
    holds = await Connection.open(server.port)
    waiting = []
    for number in range(waiters):
        state = f"w{waiters}/{number}"
        await holds.ok("LOCK", f"/state/{state}?wait=0", lock_body("held"))
        connection = await Connection.open(server.port)
        connection.send("LOCK", f"/state/{state}?wait=30m", lock_body("waits"))
        waiting.append(connection)
    await asyncio.sleep(1)
    before, pause_s = server.cpu_s(), 2.0
    await asyncio.sleep(pause_s)
    idle = (server.cpu_s() - before) / waiters / pause_s
    times = [
        await _timed(partial(_hand_over, holds, waiting[number], f"w{waiters}/{number}"))
        for number in range(0, waiters, max(1, waiters // ROUNDS))
    ]
    for each in (holds, *waiting):
        each.close()
    return _median(times), idle


async def _hand_over(holds: Connection, waits: Connection, state: str) -> None:
    holds.send("UNLOCK", f"/state/{state}", lock_body("held"))
    assert (await waits.answer())[0] == 200
    await holds.answer()


# -- many states ------------------------------------------------------------------------------------------------------


async def _states(server: Server, kind: str) -> list[Row]:
    """Beside few states, then beside many: a lock cycle, and a page of the list."""
    connection = await Connection.open(server.port)
    few = await _looks(connection)
    for number in range(STATES):
        await _lock_once(connection, f"many/{number:06d}")
    many = await _looks(connection)
    connection.close()
    names = ("lock cycle", "the first page of states", "a page in the middle")
    return [
        compared(
            f"{kind}: {name} beside {STATES} states more, p50", 1000 * there, "ms", baseline=1000 * here, aim="flat"
        )
        for name, here, there in zip(names, few, many, strict=True)
    ]


async def _looks(connection: Connection) -> list[float]:
    page = "/api/v1/locks/all?limit=20"
    return [
        await _median_of(lambda: _lock_once(connection, "one")),
        await _median_of(lambda: connection.ok("GET", page)),
        await _median_of(lambda: connection.ok("GET", f"{page}&after=many/{STATES // 2:06d}")),
    ]


# -- many runs and versions -------------------------------------------------------------------------------------------


async def _runs(server: Server, kind: str, url: str) -> list[Row]:
    """The newest runs, those of one state, and one by its id, beside few and many."""
    store = await open_store(url, clock=SystemClock())
    looks: list[list[float]] = []
    for first, end in ((0, 100), (100, RUNS)):
        await _write_runs(store, first, end)
        connection = await Connection.open(server.port)  # not before: the server ends one that is idle for long
        looks.append(await _run_looks(connection))
        connection.close()
    await store.close()
    few, many = looks
    names = ("the newest 20 runs", "one run by its id", "telling of a new run")
    return [
        compared(f"{kind}: {name}, of {RUNS:,}, p50", 1000 * there, "ms", baseline=1000 * here, aim="flat")
        for name, here, there in zip(names, few, many, strict=True)
    ]


async def _run_looks(connection: Connection) -> list[float]:
    async def tell() -> None:
        run = RandomIds().run(datetime.now(UTC))
        told = msgspec.json.encode({"summary": _summary(run), "ended": False})
        await connection.ok("PUT", f"/api/v1/runs?run={run}&state=prod/routing", told)

    return [
        await _median_of(lambda: connection.ok("GET", "/api/v1/runs?limit=20"), rounds=5),
        await _median_of(lambda: connection.ok("GET", f"/api/v1/runs?limit=20&begins={_run_id(7)}"), rounds=5),
        await _median_of(tell, rounds=5),
    ]


async def _write_runs(store: Store, first: int, end: int) -> None:
    now = store.clock.now()

    async def write(number: int) -> None:
        kept = _run(number, now)
        await store.records.swap(f"run/{kept.run}", expected=None, value=msgspec.json.encode(kept))

    for start in range(first, end, 1000):
        await asyncio.gather(*(write(number) for number in range(start, min(end, start + 1000))))


# -- large states -----------------------------------------------------------------------------------------------------


async def _bulk(server: Server, kind: str, folder: Path) -> list[Row]:
    return [row for size in SIZES_MB for row in await _bulk_of(server, kind, folder, size)]


async def _bulk_of(server: Server, kind: str, folder: Path, size: int) -> list[Row]:
    """POST and GET as plain Terraform does it, and as our own clients do, with the memory of both ends."""
    body = state_of_size(size)
    write_s, read_s = plain_file(folder / "plain", body)
    connection, state = await Connection.open(server.port), f"bulk/{size}"
    await connection.ok("LOCK", f"/state/{state}?wait=0", lock_body("bulk"))
    rows, scale = [], len(body)
    for name, baseline, ask in (
        ("POST", write_s, lambda: connection.ok("POST", f"/state/{state}?ID=bulk", body)),
        ("GET", read_s, lambda: connection.ok("GET", f"/state/{state}")),
    ):
        idle = server.forget_peak()
        took_s = await _timed(ask)
        memory = (server.peak_bytes() - idle) / scale
        rows.append(compared(f"{kind}: {name} {size} MB", took_s, "s", baseline=baseline, aim="baseline: a plain file"))
        rows.append(Row(name=f"{kind}: {name} {size} MB, memory of the server", value=memory, unit="x its size"))
    connection.close()  # the server ends one that is idle for half a minute, as on a busy machine
    rows += await _by_our_client(server, kind, folder, size, scale)
    connection = await Connection.open(server.port)
    await connection.ok("UNLOCK", f"/state/{state}", lock_body("bulk"))
    connection.close()
    return rows


async def _by_our_client(server: Server, kind: str, folder: Path, size: int, scale: int) -> list[Row]:
    rows, path = [], folder / "next"
    path.write_bytes((folder / "plain").read_bytes().replace(b'"serial": 7', b'"serial": 8', 1))
    for what in ("write", "read"):
        idle = server.forget_peak()
        words = ("-m", "benchmarks.server", what, f"http://127.0.0.1:{server.port}", f"bulk/{size}", path)
        child = await asyncio.create_subprocess_exec(sys.executable, *map(str, words), stdout=asyncio.subprocess.PIPE)
        told = json.loads((await child.communicate())[0])
        rows.append(Row(name=f"{kind}: our client, {what} {size} MB", value=told["time_s"], unit="s"))
        of_server, of_client = (server.peak_bytes() - idle) / scale, told["peak"] / scale
        rows.append(Row(name=f"{kind}: the same, memory of the server", value=of_server, unit="x its size"))
        rows.append(Row(name=f"{kind}: the same, memory of the client", value=of_client, unit="x its size"))
    return rows


async def _be_the_client(what: str, url: str, state: str, path: Path) -> None:
    """Write the state under the lock that the parent holds, or read it; tell time and memory beside the state."""
    line = Line(url, Secret(value=TOKEN), SystemClock())
    archive = ServerArchive(line)
    body = path.read_bytes() if what == "write" else b""
    idle, began_s = own_peak_bytes(), time.perf_counter()
    if what == "write":
        await archive.write(state, body, writer=Writer(who="bench", lock_id="bulk"))
    else:
        assert await archive.current(state) is not None
    print(json.dumps({"time_s": time.perf_counter() - began_s, "peak": own_peak_bytes() - idle}))
    await line.close()


def _run_id(number: int) -> str:
    return run_id(BEGAN_AT + timedelta(seconds=number), chance=number)


def _run(number: int, now: datetime) -> KeptRun:
    run = _run_id(number)
    summary = msgspec.Raw(msgspec.json.encode(_summary(run)))
    return KeptRun(run=run, state="prod/routing", owner="b", summary=summary, told_at=now, ended=True)


def _summary(run: str) -> dict[str, object]:
    fields = {"operation": "apply", "who": "ann@host", "directory": "/work", "phase": "applied", "message": "x" * 300}
    return {"run": run, "state": "prod/routing", "started_at": BEGAN_AT, **fields}


async def _median_of(work: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> float:
    return _median([await _timed(work) for _ in range(rounds)])


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    began_s = time.perf_counter()
    await work()
    return time.perf_counter() - began_s


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    asyncio.run(_be_the_client(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])))

"""A store in PostgreSQL that waits for its disk: lock cycles against the database's own commits, hand-over between real
servers, and whether many waiters, states and versions cost more each.

The database's own rate is what its own `pgbench` reaches with as many connections as we have tasks, each commit
changing one of as many rows. Both share the machine with the database.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
from tests.replicas import Replica, answer, lock_body

from benchmarks import Row, compared
from interlock.clock import SystemClock
from interlock.coordinator.local import LocalCoordinator
from interlock.ids import RandomIds
from interlock.lock import Requested
from interlock.store.opening import Store, open_store
from interlock.testing.postgres import PostgresServer, find_program, running_server, why_not

TASKS = 32
SECONDS = 4
ROUNDS = 200
WAITERS = 1000
STATES = 1000
VERSIONS = 100_000


def measure() -> list[Row]:
    if why := why_not():
        raise SystemExit(why)
    with running_server(is_durable=True) as server:
        rows = asyncio.run(_cycles(server))
        rows += _hand_over(server)
        rows += asyncio.run(_many_waiters(server))
        rows += asyncio.run(_many_states(server))
        return rows + asyncio.run(_many_versions(server))


@asynccontextmanager
async def _opened(server: PostgresServer, schema: str) -> AsyncIterator[Store]:
    store = await open_store(f"{server.url}&schema={schema}", clock=SystemClock())
    yield store
    await store.close()


# -- lock cycles ------------------------------------------------------------------------------------------------------


async def _cycles(server: PostgresServer) -> list[Row]:
    commits, alone = [await asyncio.to_thread(commits_per_s, server, clients) for clients in (TASKS, 1)]
    async with _opened(server, "cycles") as store:
        coordinator = LocalCoordinator(store.records, store.clock, RandomIds())
        until_s, done = time.perf_counter() + SECONDS, 0

        async def cycle(state: str) -> None:
            nonlocal done
            while time.perf_counter() < until_s:
                await _lock_once(coordinator, state)
                done += 1

        began_s = time.perf_counter()
        await asyncio.gather(*(cycle(f"s{number}") for number in range(TASKS)))
        rate = done / (time.perf_counter() - began_s)
        swaps = await _swaps_per_s(store)
        alone_s = [await _timed(lambda: _lock_once(coordinator, "alone")) for _ in range(ROUNDS)]
    return [
        compared(f"lock cycles, {TASKS} at once", rate, "1/s", baseline=commits, aim="half of the swaps of records"),
        compared(f"swaps of records, {TASKS} at once", swaps, "1/s", baseline=commits),
        compared(
            "lock cycles by one task, at p50",
            1 / _quantile(alone_s, 0.5),
            "1/s",
            baseline=alone,
            aim="0.4; two commits a cycle make 0.5 the ceiling",
        ),
    ]


async def _swaps_per_s(store: Store) -> float:
    until_s, done = time.perf_counter() + SECONDS, 0

    async def swap(key: str) -> None:
        nonlocal done
        version = None
        while time.perf_counter() < until_s:
            version = await store.records.swap(key, expected=version, value=b"x" * 500)
            done += 1

    began_s = time.perf_counter()
    await asyncio.gather(*(swap(f"swap/{number}") for number in range(TASKS)))
    return done / (time.perf_counter() - began_s)


async def _lock_once(coordinator: LocalCoordinator, state: str) -> None:
    request = Requested(ticket=coordinator.new_ticket(), who="b", lease_s=60, patience_s=40)
    grant = await coordinator.acquire(state, request, timeout_s=60)
    await coordinator.release(state, ticket=grant.ticket, token=grant.token)


def commits_per_s(server: PostgresServer, clients: int) -> float:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS own")
        connection.execute("CREATE TABLE own (n int PRIMARY KEY, v int) WITH (fillfactor = 50)")
        connection.execute("INSERT INTO own SELECT n, 0 FROM generate_series(1, %s) AS n", (TASKS,))
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"\\set n random(1, {TASKS})\nUPDATE own SET v = v + 1 WHERE n = :n;\n")
        script.flush()
        Path(script.name).chmod(0o644)
        words = [
            find_program("pgbench") or "pgbench",
            "-n",
            "-M",
            "prepared",
            "-c",
            str(clients),
            "-j",
            str(min(clients, 2)),
        ]
        words += ["-T", str(SECONDS), "-f", script.name, server.url]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return float((re.search(r"tps = ([0-9.]+)", said) or ["", "0"])[1])


# -- hand-over --------------------------------------------------------------------------------------------------------


def _hand_over(server: PostgresServer) -> list[Row]:
    """Measure from sending UNLOCK until the next one's LOCK is answered, over HTTP."""
    url = f"{server.url}&schema=handover"
    with tempfile.TemporaryDirectory() as home:
        one, two = Replica(url, Path(home) / "one"), Replica(url, Path(home) / "two")
        try:
            same, other = _hand_overs(one, one), _hand_overs(one, two)
        finally:
            one.end()
            two.end()
    rows = []
    for name, times, aim in (("same server", same, "5 ms"), ("other server", other, "25 ms")):
        rows.append(Row(name=f"hand-over, {name}, p50", value=1000 * _quantile(times, 0.5), unit="ms", aim=aim))
        rows.append(Row(name=f"hand-over, {name}, p99", value=1000 * _quantile(times, 0.99), unit="ms", aim=aim))
    return rows


def _hand_overs(unlocks: Replica, waits: Replica) -> list[float]:
    state, times = f"bench/{unlocks.port}-{waits.port}", []
    unlocks.lock("0", state)
    for number in range(ROUNDS):
        waiting = waits.send("LOCK", state, lock_body(str(number + 1)), "?wait=60s")
        time.sleep(0.03)
        granted_s: list[float] = []
        listening = threading.Thread(target=lambda: granted_s.append(_answered(waiting)))  # noqa: B023 - joined here
        listening.start()
        began_s = time.perf_counter()
        unlocks.unlock(str(number), state)
        listening.join()
        times.append(granted_s[0] - began_s)
    return times


def _answered(waiting: object) -> float:
    status = answer(waiting)[0]  # type: ignore[arg-type]
    assert status == 200
    return time.perf_counter()


# -- many -------------------------------------------------------------------------------------------------------------


async def _many_waiters(server: PostgresServer) -> list[Row]:
    """Measure one hand-over at another store while so many wait, each for a state of its own."""
    async with _opened(server, "waiters") as store, _opened(server, "waiters") as peer:
        few = await _handed_over_s(store, peer, waiters=10)
        many = await _handed_over_s(store, peer, waiters=WAITERS)
    return [
        compared(
            f"hand-over beside {WAITERS} waiters, other store, p50",
            1000 * many,
            "ms",
            baseline=1000 * few,
            aim="flat",
        )
    ]


async def _handed_over_s(store: Store, peer: Store, *, waiters: int) -> float:
    holders = LocalCoordinator(store.records, store.clock, RandomIds())
    others = LocalCoordinator(peer.records, peer.clock, RandomIds())
    grants, tasks = [], []
    for number in range(waiters):
        state = f"w{waiters}/{number}"
        grants.append(await holders.acquire(state, _request(holders), timeout_s=60))
        tasks.append(asyncio.create_task(others.acquire(state, _request(others), timeout_s=600)))
    await asyncio.sleep(2)
    times = []
    for number in range(0, waiters, max(1, waiters // 50)):
        grant = grants[number]
        began_s = time.perf_counter()
        await holders.release(f"w{waiters}/{number}", ticket=grant.ticket, token=grant.token)
        await tasks[number]
        times.append(time.perf_counter() - began_s)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return _quantile(times, 0.5)


def _request(coordinator: LocalCoordinator) -> Requested:
    return Requested(ticket=coordinator.new_ticket(), who="b", lease_s=3600, patience_s=3600)


async def _many_states(server: PostgresServer) -> list[Row]:
    async with _opened(server, "states") as store:
        coordinator = LocalCoordinator(store.records, store.clock, RandomIds())
        few = await _cycle_of_one_s(coordinator)
        await asyncio.gather(*(_lock_once(coordinator, f"many/{number}") for number in range(STATES)))
        many = await _cycle_of_one_s(coordinator)
    return [compared(f"lock cycle beside {STATES} states, p50", 1000 * many, "ms", baseline=1000 * few, aim="flat")]


async def _cycle_of_one_s(coordinator: LocalCoordinator) -> float:
    return _quantile([await _timed(lambda: _lock_once(coordinator, "one")) for _ in range(100)], 0.5)


async def _many_versions(server: PostgresServer) -> list[Row]:
    """Measure writing and reading a small blob beside so many others; these are made by the database itself."""
    async with _opened(server, "versions") as store:
        few = await _blob_s(store)
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO versions.blobs (digest, upload, plain_bytes)"
                " SELECT encode(sha256(n::text::bytea), 'hex'), n, 500 FROM generate_series(1, %s) AS n",
                (VERSIONS,),
            )
            connection.execute(
                "INSERT INTO versions.parts SELECT n, 0, convert_to(repeat('x', 500), 'UTF8')"
                " FROM generate_series(1, %s) AS n",
                (VERSIONS,),
            )
            connection.execute("VACUUM ANALYZE versions.blobs")
        many = await _blob_s(store)
    return [
        compared(f"blob put and read beside {VERSIONS}, p50", 1000 * many, "ms", baseline=1000 * few, aim="flat"),
    ]


async def _blob_s(store: Store) -> float:
    async def once() -> None:
        digest = await store.blobs.put(RandomIds().secret().encode() * 20)
        await store.blobs.get(digest)

    return _quantile([await _timed(once) for _ in range(100)], 0.5)


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    began_s = time.perf_counter()
    await work()
    return time.perf_counter() - began_s


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]

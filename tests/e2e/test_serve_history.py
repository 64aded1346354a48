"""Many clients of both kinds against servers that are killed, restarted and paused: the promises on what they saw.

`INTERLOCK_TEST_CONTENTION=50x200x20` says how many clients, runs and states; `INTERLOCK_TEST_SEED` what is drawn.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.balancer import balancing
from tests.contention import ApiClient, Fleet, contend, draw
from tests.server_history import Run, Stored, in_order, judge_runs
from tests.team import TeamServer

from interlock.testing.postgres import PostgresServer, why_not

pytestmark = pytest.mark.e2e

CLIENTS, RUNS, STATES = map(int, os.environ.get("INTERLOCK_TEST_CONTENTION", "12x48x3").split("x"))
SEED = int(os.environ.get("INTERLOCK_TEST_SEED", "20261130"))
PAUSE_S = 14.0  # longer than the silence after which a server is taken for gone


@contextmanager
def fleet(folder: Path, *, servers: int, store: str | None) -> Iterator[Fleet]:
    """Start servers of one store."""
    started = []
    try:
        for number in range(servers):
            home = folder / f"server{number}"
            home.mkdir()
            started.append(TeamServer(home, store))
            started[-1].start()
        yield Fleet(started)
    finally:
        for server in started:
            server.end()


def _proved(servers: Fleet, troubles: list[Callable[[], None]]) -> None:
    orders = draw(SEED, clients=CLIENTS, runs=RUNS, states=STATES)
    began_s = time.monotonic()
    with balancing() as balancer:
        balancer.backends = [server.port for server in servers.servers]
        runs = contend(servers, orders, f"http://127.0.0.1:{balancer.port}", troubles)
        took_s = time.monotonic() - began_s
        stored = asyncio.run(_stored(f"http://127.0.0.1:{balancer.port}"))
    assert sorted(run.turn.lock_id for run in runs) == sorted(order.name for each in orders for order in each)
    pairs = len(list(in_order(runs)))
    print(_numbers(runs, stored, pairs, took_s))  # noqa: T201 - with -s
    broken = judge_runs(runs, stored)
    assert not broken, f"seed {SEED}:\n" + "\n".join(broken)
    assert pairs, "no order was judged"
    assert [run for run in runs if run.zombie], "no zombie was judged"
    assert all(servers.over_s), "not every server was in trouble"


def _numbers(runs: list[Run], stored: dict[str, list[Stored]], pairs: int, took_s: float) -> str:
    acknowledged = sum(run.turn.is_acknowledged for run in runs)
    zombies = sum(bool(run.zombie) for run in runs)
    waits = sorted(run.turn.granted_s - run.asked_s for run in runs)
    return (
        f"seed {SEED}: {len(runs)} runs of {CLIENTS} clients on {len(stored)} states in {took_s:.1f} s, "
        f"{acknowledged} written, {zombies} zombies, {pairs} orders judged, "
        f"longest wait {waits[-1]:.1f} s, median {waits[len(waits) // 2]:.1f} s"
    )


async def _stored(url: str) -> dict[str, list[Stored]]:
    client = ApiClient(url)
    try:
        return await client.stored()
    finally:
        await client.close()


@pytest.mark.slow
@pytest.mark.promise("P1", "P2", "P3", "P4", "P8")
def test_clients_of_one_server_on_sqlite_keep_their_order_through_its_kills_and_pauses(tmp_path: Path) -> None:
    with fleet(tmp_path, servers=1, store=None) as servers:
        _proved(servers, [lambda: servers.kill(0), lambda: servers.pause(0, PAUSE_S), lambda: servers.kill(0)])


@pytest.mark.slow
@pytest.mark.promise("P1", "P2", "P3", "P4", "P8")
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_clients_of_three_servers_on_postgresql_keep_their_order_through_kills_and_pauses(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    store = f"{postgres.url}&schema=s{uuid.uuid4().hex[:12]}"
    with fleet(tmp_path, servers=3, store=store) as servers:
        _proved(servers, [lambda: servers.kill(0), lambda: servers.pause(1, PAUSE_S), lambda: servers.kill(2)])

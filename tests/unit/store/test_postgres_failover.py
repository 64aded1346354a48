"""A store whose database fails over to a standby, with real servers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable
from interlock.ids import RandomIds
from interlock.store.postgres import PostgresStore
from interlock.store.postgres_place import parse_place
from interlock.testing.postgres import PostgresServer, promote, running_server, standby, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]

PATIENCE_S = 120.0
KEYS = 4


@pytest.fixture
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    with running_server() as primary, standby(primary) as other:
        _await_synchronous(primary)
        yield primary, other


def _await_synchronous(primary: PostgresServer) -> None:
    with psycopg.connect(primary.url, autocommit=True) as connection:
        for _ in range(600):
            rows = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
            if rows == [("sync",)]:
                return
            connection.execute("SELECT pg_sleep(0.1)")
    pytest.fail("the standby does not follow")


@pytest.mark.promise("P3")
async def test_no_acknowledged_write_is_lost_when_the_primary_dies_and_its_standby_is_promoted(
    pair: tuple[PostgresServer, PostgresServer],
) -> None:
    primary, other = pair
    url = f"postgresql://interlock@127.0.0.1:{primary.port},127.0.0.1:{other.port}/postgres?sslmode=disable&schema=failing"
    store = await PostgresStore.open(parse_place(urlsplit(url)), clock=SystemClock(), ids=RandomIds())
    acknowledged: dict[str, int] = {}
    over = asyncio.Event()

    async def write(key: str) -> None:
        version, number = await store.records.swap(key, expected=None, value=b"0"), 0
        while not over.is_set():
            number += 1
            try:
                version = await store.records.swap(key, expected=version, value=b"%d" % number)
            except BackendUnavailable:  # whether it was done is unknown: look
                version, value = await _found(store, key)
                assert int(value) >= acknowledged.get(key, 0)
                number = int(value)
            acknowledged[key] = number

    async def heard() -> None:
        """Wait for a change that is made after the failover."""
        seen = await store.records.swap("wanted", expected=None, value=b"0")
        watch = asyncio.create_task(store.records.watch("wanted", seen=seen, timeout_s=PATIENCE_S))
        await store.records.swap("wanted", expected=seen, value=b"1")
        record = await watch
        assert record is not None
        assert record.value == b"1"

    writers = [asyncio.create_task(write(f"k{n}")) for n in range(KEYS)]
    await _until(lambda: len(acknowledged) == KEYS)
    await asyncio.to_thread(primary.stop, signal.SIGQUIT)
    before = dict(acknowledged)
    await asyncio.to_thread(promote, other)
    try:
        await _until(lambda: all(acknowledged[key] > number + 1 for key, number in before.items()))
        await heard()
    finally:
        over.set()
        await asyncio.gather(*writers)
        await store.close()
    with psycopg.connect(other.url) as connection:  # read without our own code
        rows = connection.execute("SELECT key, value FROM failing.records WHERE key LIKE 'k%'").fetchall()
    assert {key: int(value) for key, value in rows} == acknowledged


async def _found(store: PostgresStore, key: str) -> tuple[int, bytes]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                record = await store.records.get(key) or pytest.fail("gone")
            except BackendUnavailable:
                continue
            return record.version, record.value


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.01)

"""A store in a real PostgreSQL, while connections die, hang and flood."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.held_line import HeldLine, held_line

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable, UsageError
from interlock.ids import RandomIds
from interlock.store import Mismatch
from interlock.store.postgres import PostgresStore
from interlock.store.postgres_place import parse_place
from interlock.testing.postgres import PostgresServer, pooler, why_no_pooler, why_not
from interlock.testing.store_contract import PATIENCE_S, count_up

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

Open = Callable[..., Any]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return f"{postgres.url}&schema=s{uuid.uuid4().hex[:12]}"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(parse_place(urlsplit(url)), clock=SystemClock(), ids=RandomIds())
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def stores(url: str) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(opened(url)), await stack.enter_async_context(opened(url))


@pytest.fixture
async def line(postgres: PostgresServer) -> AsyncIterator[HeldLine]:
    async with held_line(postgres.port) as line:
        yield line


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what must happen."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.01)


async def end_sessions(postgres: PostgresServer, purpose: str) -> int:
    """End the database's sessions of one purpose, as an administrator or a failing proxy does."""
    async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as connection:
        rows = await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            (f"interlock {purpose}",),
        )
        return len(await rows.fetchall())


async def test_a_dead_listener_is_noticed_and_its_waiters_hear_all_the_same(
    postgres: PostgresServer, stores: tuple[PostgresStore, PostgresStore]
) -> None:
    store, peer = stores
    version = await peer.records.swap("k", expected=None, value=b"0")
    for round_number in range(1, 4):
        watch = asyncio.create_task(store.records.watch("k", seen=version, timeout_s=2 * PATIENCE_S))
        await until(lambda: store.hearing.is_listening)
        assert await end_sessions(postgres, "listen") >= 1
        version = await peer.records.swap("k", expected=version, value=b"%d" % round_number)
        assert (await asyncio.wait_for(watch, PATIENCE_S) or pytest.fail("gone")).version == version
        await until(lambda: store.hearing.gaps >= round_number)  # noqa: B023 - awaited here
    watch = asyncio.create_task(store.records.watch("k", seen=version, timeout_s=2 * PATIENCE_S))
    await until(lambda: store.hearing.is_listening)
    assert store.hearing.gap_s > 0
    await peer.records.swap("k", expected=version, value=None)
    assert await asyncio.wait_for(watch, PATIENCE_S) is None


async def test_a_listener_whose_line_is_half_open_is_noticed_and_made_anew(
    url: str, line: HeldLine, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.store.postgres_bell.HEARTBEAT_S", 0.1)
    monkeypatch.setattr("interlock.store.postgres_bell.HEARTBEAT_LIMIT_S", 0.3)
    async with opened(f"{url}&listen=127.0.0.1:{line.port}") as store, opened(url) as peer:
        watch = asyncio.create_task(store.records.watch("k", seen=None, timeout_s=2 * PATIENCE_S))
        await until(lambda: store.hearing.is_listening)
        line.flows.clear()
        await until(lambda: store.hearing.gaps == 1)
        await peer.records.swap("k", expected=None, value=b"x")
        assert (await asyncio.wait_for(watch, PATIENCE_S) or pytest.fail("gone")).value == b"x"
        again = asyncio.create_task(store.records.watch("none", seen=None, timeout_s=2 * PATIENCE_S))
        line.flows.set()
        await until(lambda: store.hearing.is_listening)
        again.cancel()


@pytest.mark.promise("P3")
async def test_a_write_over_a_half_open_line_is_repeated_and_done_once(
    url: str, line: HeldLine, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.store.postgres_session.STATEMENT_S", 0.3)
    async with opened(url.replace(f":{postgres.port}/", f":{line.port}/")) as store, opened(url) as peer:
        version = await store.records.swap("k", expected=None, value=b"0")
        line.flows.clear()
        swap = asyncio.create_task(store.records.swap("k", expected=version, value=b"1"))
        await asyncio.sleep(0.5)
        assert not swap.done()
        line.flows.set()  # what was held back arrives too, late
        assert await asyncio.wait_for(swap, PATIENCE_S) == (await peer.records.get("k") or pytest.fail("gone")).version
        assert (await peer.records.get("k") or pytest.fail("gone")).value == b"1"


async def test_a_database_that_is_away_is_told_in_time_and_found_again(
    url: str, line: HeldLine, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.store.postgres_session.STATEMENT_S", 0.2)
    monkeypatch.setattr("interlock.store.postgres_session.OUTAGE_S", 0.4)
    monkeypatch.setattr("interlock.store.postgres_session.CONNECT_S", 1)
    async with opened(url.replace(f":{postgres.port}/", f":{line.port}/")) as store:
        line.flows.clear()
        for call in (store.records.get("k"), store.records.swap("k", expected=None, value=b"x")):
            with pytest.raises(BackendUnavailable) as refusal:
                await asyncio.wait_for(call, PATIENCE_S)
            assert refusal.value.fix.startswith("pg_isready")
        line.flows.set()
        async with asyncio.timeout(PATIENCE_S):
            await store.records.get("k")


@pytest.mark.promise("P3")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["in order", "crashed"])
async def test_no_acknowledged_write_is_lost_when_the_database_restarts_in_the_middle(
    postgres: PostgresServer, stores: tuple[PostgresStore, PostgresStore], how: signal.Signals
) -> None:
    acknowledged: dict[str, int] = {}
    unknown: dict[str, set[int]] = {}
    ending = asyncio.Event()

    async def write(store: PostgresStore, key: str) -> None:
        version, number = await store.records.swap(key, expected=None, value=b"0"), 0
        while not ending.is_set():
            number += 1
            try:
                version = await store.records.swap(key, expected=version, value=b"%d" % number)
            except BackendUnavailable:
                unknown.setdefault(key, set()).add(number)
                record = await store.records.get(key) or pytest.fail("gone")
                version = record.version
            else:
                acknowledged[key] = number
                unknown.pop(key, None)

    writers = [asyncio.create_task(write(stores[n % 2], f"k{n}")) for n in range(8)]
    await until(lambda: len(acknowledged) == 8)
    await asyncio.to_thread(postgres.stop, how)
    await asyncio.to_thread(postgres.start)
    before = dict(acknowledged)
    await until(lambda: all(acknowledged[key] > number for key, number in before.items()))
    ending.set()
    await asyncio.gather(*writers)
    with psycopg.connect(postgres.url) as connection:  # read without our own code
        table = stores[0].place.quoted
        rows = connection.execute(f"SELECT key, value FROM {table}.records").fetchall()  # noqa: S608 - made here
    assert {key: int(value) for key, value in rows} == acknowledged


async def test_a_storm_of_writes_hides_no_change_and_is_told_in_few_notifications(
    stores: tuple[PostgresStore, PostgresStore],
) -> None:
    store, peer = stores
    version = await peer.records.swap("wanted", expected=None, value=b"0")
    storm = [asyncio.create_task(peer.records.swap(f"storm/{n}", expected=None, value=b"x")) for n in range(3000)]
    for number in range(1, 6):
        watch = asyncio.create_task(store.records.watch("wanted", seen=version, timeout_s=2 * PATIENCE_S))
        version = await peer.records.swap("wanted", expected=version, value=b"%d" % number)
        assert (await asyncio.wait_for(watch, PATIENCE_S) or pytest.fail("gone")).version == version
    await asyncio.gather(*storm)
    assert len(await store.records.list("storm/", limit=1000)) == 1000


@pytest.mark.promise("P3")
async def test_no_increment_is_lost_while_sessions_are_ended_all_the_time(
    postgres: PostgresServer, stores: tuple[PostgresStore, PostgresStore]
) -> None:
    known, unknown = 0, 0

    async def count(store: PostgresStore, times: int) -> None:
        """Add one, `times` times."""
        nonlocal known, unknown
        for _ in range(times):
            record = await store.records.get("n")
            number = 0 if record is None else int(record.value)
            try:
                await store.records.swap("n", expected=record.version if record else None, value=b"%d" % (number + 1))
            except Mismatch:
                continue
            except BackendUnavailable:  # its connection was ended, and before it looked the other one had written
                unknown += 1
            else:
                known += 1

    counting = asyncio.gather(*(count(store, 40) for store in stores))
    while not counting.done():
        await end_sessions(postgres, "write")
        await end_sessions(postgres, "read")
        await asyncio.sleep(0.05)
    await counting
    assert known <= int((await stores[0].records.get("n") or pytest.fail("gone")).value) <= known + unknown


_WRITER = """
import asyncio, sys
from interlock.clock import SystemClock
from interlock.store.opening import open_store

async def main():
    store = await open_store(sys.argv[1], clock=SystemClock())
    version, number = None, 0
    while True:
        number += 1
        writes = [store.records.swap("k", expected=version, value=b"%d" % number)]
        version = (await asyncio.gather(*writes))[0]
        print(number, flush=True)

asyncio.run(main())
"""


def _writer(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE)


def _line(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline() or pytest.fail("it ended"))


@pytest.mark.promise("P3")
async def test_a_server_stopped_in_the_middle_of_its_writes_holds_up_nobody_and_a_killed_one_loses_nothing(
    url: str, stores: tuple[PostgresStore, PostgresStore]
) -> None:
    writer = await asyncio.to_thread(_writer, url)
    store = stores[0]
    try:
        await asyncio.to_thread(_line, writer)
        for _ in range(10):
            os.kill(writer.pid, signal.SIGSTOP)
            async with asyncio.timeout(PATIENCE_S):
                await count_up(store.records, "other", times=2)
                record = await store.records.get("k") or pytest.fail("gone")
            os.kill(writer.pid, signal.SIGCONT)
            await asyncio.to_thread(_line, writer)
        writer.kill()
        rest, _ = await asyncio.to_thread(writer.communicate)
    finally:
        writer.kill()
        writer.wait()
    said = [int(line) for line in rest.split()]
    record = await store.records.get("k") or pytest.fail("gone")
    if said:
        assert int(record.value) in {said[-1], said[-1] + 1}  # the last may have been written and not yet said


async def test_nobody_who_waits_has_a_connection(
    postgres: PostgresServer, stores: tuple[PostgresStore, PostgresStore]
) -> None:
    store, peer = stores
    watches = [
        asyncio.create_task(store.records.watch(f"k{n}", seen=None, timeout_s=2 * PATIENCE_S)) for n in range(300)
    ]
    await until(lambda: store.hearing.is_listening)
    async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as connection:
        rows = await connection.execute(
            "SELECT application_name, state FROM pg_stat_activity WHERE application_name LIKE 'interlock %'"
        )
        sessions = await rows.fetchall()
    assert len(sessions) <= 12  # of two stores
    assert not [name for name, state in sessions if state == "idle in transaction"]
    await asyncio.gather(*(peer.records.swap(f"k{n}", expected=None, value=b"x") for n in range(300)))
    records = await asyncio.wait_for(asyncio.gather(*watches), PATIENCE_S)
    assert all(record is not None and record.value == b"x" for record in records)


async def test_two_servers_decide_by_the_clock_of_the_database(url: str) -> None:
    class Wrong(SystemClock):
        def now(self) -> Any:
            raise AssertionError("the machine's own clock was asked")

    place = parse_place(urlsplit(url))
    store = await PostgresStore.open(place, clock=Wrong(), ids=RandomIds())
    async with opened(url) as peer:
        assert abs((store.clock.now() - peer.clock.now()).total_seconds()) < 1.0
    await store.close()


@pytest.fixture(scope="module")
def pooled(postgres: PostgresServer) -> Iterator[int]:
    """The port of a PgBouncer that hands each transaction to whichever session is free."""
    with pooler(postgres, mode="transaction") as port:
        yield port


@pytest.mark.skipif(bool(why_no_pooler()), reason=why_no_pooler() or "-")
@pytest.mark.parametrize("listening", ["off", "past it", "through it"])
async def test_a_store_works_through_a_pooler_however_it_listens(
    postgres: PostgresServer, url: str, pooled: int, listening: str
) -> None:
    listen = {"off": "&listen=off", "past it": f"&listen=127.0.0.1:{postgres.port}", "through it": ""}[listening]
    through = f"{url.replace(f':{postgres.port}/', f':{pooled}/')}&prepared=off{listen}"
    async with opened(through) as store, opened(through) as peer:
        await asyncio.gather(*(count_up(each.records, "n", times=10) for each in (store, peer, store)))
        record = await store.records.get("n") or pytest.fail("gone")
        assert record.value == b"30"
        watch = asyncio.create_task(store.records.watch("n", seen=record.version, timeout_s=2 * PATIENCE_S))
        if listening == "past it":
            await until(lambda: store.hearing.is_listening)
        await peer.records.swap("n", expected=record.version, value=b"x")
        assert (await asyncio.wait_for(watch, PATIENCE_S) or pytest.fail("gone")).value == b"x"
        data = os.urandom(9_000_000)
        assert await peer.blobs.get(await store.blobs.put(data)) == data


@pytest.mark.skipif(bool(why_no_pooler()), reason=why_no_pooler() or "-")
async def test_a_store_through_a_pooler_that_loses_its_statements_says_what_to_write(
    postgres: PostgresServer, url: str, pooled: int
) -> None:
    through = url.replace(f":{postgres.port}/", f":{pooled}/") + "&listen=off"
    async with opened(through) as store, opened(through) as peer:

        async def mixed() -> None:
            for number in range(100):
                each = (store, peer)[number % 2]
                await asyncio.gather(each.records.get(f"k{number}"), each.blobs.has("0" * 64), each.records.list(""))

        with pytest.raises(UsageError) as refusal:
            await mixed()
    assert "prepared=off" in refusal.value.fix

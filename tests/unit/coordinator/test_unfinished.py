"""What a killed writer leaves is swept, and nothing that a version names ever is.

A writer is killed, or held up while others go on, before and after each of its calls to the stores.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.coordinator.test_archive import STATE, body

from interlock.clock import SystemClock
from interlock.coordinator.archive import UNFINISHED_S, StateArchive, Writer
from interlock.coordinator.local import LocalCoordinator
from interlock.coordinator.unfinished import Attempt, Unfinished
from interlock.errors import InterlockError, LeaseLost
from interlock.lock import Broken, Requested
from interlock.state.history import encode
from interlock.store import blob_digest
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.store.sqlite import SqliteStore
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

pytestmark = pytest.mark.promise("P3")
STEPS = 20  # more than any write has; `test_a_write_has_fewer_steps_than_are_tried` holds that
OTHER = "staging/routing"


class Killed(BaseException):
    """The process ends here."""


class Ends:
    """Counts a writer's calls and does something before or after one of them."""

    def __init__(self, step: int, *, after: bool, do: Callable[[], Awaitable[None]]) -> None:
        self.step, self.after, self.do, self.calls = step, after, do, 0

    async def around(self, call: Callable[[], Awaitable[Any]]) -> Any:
        number, self.calls = self.calls, self.calls + 1
        if number == self.step and not self.after:
            await self.do()
        answer = await call()
        if number == self.step and self.after:
            await self.do()
        return answer


class Watched:
    """A store whose calls pass by `ends`."""

    def __init__(self, store: Any, ends: Ends) -> None:
        self._store, self._ends = store, ends

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return lambda *args, **named: self._ends.around(lambda: method(*args, **named))


class Bench:
    """Stores that several processes use."""

    def __init__(self, records: Any, blobs: Any, stored: Callable[[], set[str]]) -> None:
        self.records, self.blobs, self.stored = records, blobs, stored
        self.clock, self.ids = FakeClock(), CountingIds()
        self.archive, self.coordinator = self.process()
        self.runs = 0

    def process(self, ends: Ends | None = None) -> tuple[StateArchive, LocalCoordinator]:
        records, blobs = self.records, self.blobs
        if ends is not None:
            records, blobs = Watched(records, ends), Watched(blobs, ends)
        coordinator = LocalCoordinator(records, self.clock, self.ids)
        return StateArchive(coordinator, records, blobs, self.clock, self.ids), coordinator

    async def hold(self, state: str = STATE) -> Writer:
        self.runs += 1
        ticket = f"t{self.runs}"
        request = Requested(ticket=ticket, run=ticket, who="ann", lease_s=60, patience_s=40)
        standing = await self.coordinator.request(state, request)
        assert standing.token
        return Writer(who="ann", run=ticket, ticket=ticket, token=standing.token)

    async def lose(self, writer: Writer, state: str = STATE) -> None:
        assert writer.ticket
        assert writer.token
        broken = Broken(ticket=writer.ticket, token=writer.token, by="recovery", reason="gone")
        await self.coordinator.break_(state, broken)

    async def write(self, writer: Writer, *, name: str = "a", state: str = STATE) -> bytes:
        """Write the next version, in a process of its own."""
        archive, _ = self.process()
        serial = await self.serial(state) + 1
        await archive.write(state, body(serial, name), writer=writer)
        return body(serial, name)

    async def serial(self, state: str = STATE) -> int:
        current = await self.archive.current(state)
        return current[0].serial if current is not None else 0

    async def named(self, *states: str) -> set[str]:
        """Return what versions and refused writes name; each of it can be read."""
        digests: set[str] = set()
        for state in states or (STATE,):
            for version in await self.archive.history(state):
                digests.add(blob_digest(encode(version)))
                if not version.is_tombstone:
                    await self.archive.read_version(state, version)
                    digests.add(version.blob)
            for entry in await self.archive.quarantined(state):
                await self.archive.read_quarantined(state, entry.id)
                digests.add(entry.blob)
        return digests


@asynccontextmanager
async def in_memory(_: Path) -> AsyncIterator[Bench]:
    blobs = MemoryBlobs()
    yield Bench(MemoryRecords(clock=FakeClock()), blobs, lambda: set(blobs._blobs))


@asynccontextmanager
async def on_sqlite(folder: Path) -> AsyncIterator[Bench]:
    path = folder / "interlock.db"
    store = await SqliteStore.open(path, clock=SystemClock())

    def stored() -> set[str]:
        with sqlite3.connect(path) as connection:
            found = {digest for (digest,) in connection.execute("SELECT digest FROM blobs")}
        connection.close()
        return found

    try:
        yield Bench(store.records, store.blobs, stored)
    finally:
        await store.close()


@asynccontextmanager
async def on_s3(_: Path) -> AsyncIterator[Bench]:
    from interlock.ids import RandomIds
    from interlock.store.s3 import S3Blobs, S3Place, S3Records
    from interlock.testing.aws import local_aws

    with local_aws() as aws:
        place = S3Place(bucket=aws.new_bucket())
        records = S3Records(aws.s3, place=place, clock=SystemClock(), ids=RandomIds())
        blobs = S3Blobs(aws.s3, place=place, clock=SystemClock(), ids=RandomIds())

        def stored() -> set[str]:
            prefix = place.object("blobs/")["Key"]
            found = aws.s3.list_objects_v2(Bucket=place.bucket, Prefix=prefix).get("Contents", ())
            return {each["Key"].removeprefix(prefix) for each in found}

        try:
            yield Bench(records, blobs, stored)
        finally:
            await records.close()
            await blobs.close()


STORES = {"memory": in_memory, "sqlite": on_sqlite, "s3": on_s3}


async def die() -> None:
    raise Killed


async def killed_at(bench: Bench, step: int, *, after: bool) -> int:
    """Let a writer of the second version be killed; return how many calls it made."""
    await bench.write(await bench.hold())
    await bench.coordinator.release(STATE, "t1")
    writer = await bench.hold()
    ends = Ends(step, after=after, do=die)
    archive, _ = bench.process(ends)
    with suppress(Killed):
        await archive.write(STATE, body(2, "b"), writer=writer)
    await bench.lose(writer)
    return ends.calls


async def check_after_a_kill(bench: Bench, step: int, *, after: bool) -> None:
    await killed_at(bench, step, after=after)
    last = await bench.write(await bench.hold(), name="c")
    assert bench.stored() == await bench.named()
    current = await bench.archive.current(STATE)
    assert current is not None
    assert current[1] == last


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(STEPS))
async def test_what_a_killed_writer_left_is_swept_by_the_next_write(tmp_path: Path, step: int, *, after: bool) -> None:
    async with in_memory(tmp_path) as bench:
        await check_after_a_kill(bench, step, after=after)


@pytest.mark.parametrize("store", ["sqlite", "s3"])
async def test_it_is_so_on_every_store(tmp_path: Path, store: str) -> None:
    for step in range(4, 12, 1 if store == "sqlite" else 3):
        folder = tmp_path / str(step)
        folder.mkdir()
        async with STORES[store](folder) as bench:
            await check_after_a_kill(bench, step, after=True)


async def test_a_write_has_fewer_steps_than_are_tried(tmp_path: Path) -> None:
    async with in_memory(tmp_path) as bench:
        assert 6 < await killed_at(bench, 10**6, after=False) < STEPS


@pytest.mark.promise("P4")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(STEPS))
async def test_a_fenced_writer_that_still_lives_loses_nothing_that_is_named(
    tmp_path: Path, step: int, *, after: bool
) -> None:
    """It is held up while its grant is broken, others write and sweep, and then goes on."""
    async with in_memory(tmp_path) as bench:
        await bench.write(await bench.hold())
        await bench.coordinator.release(STATE, "t1")
        slow, reached, goes_on = await bench.hold(), asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            reached.set()
            await goes_on.wait()

        archive, _ = bench.process(Ends(step, after=after, do=wait))
        writing = asyncio.create_task(archive.write(STATE, body(2, "slow"), writer=slow))
        await asyncio.wait({writing, asyncio.create_task(reached.wait())}, return_when=asyncio.FIRST_COMPLETED)
        was_told = writing.done()
        await bench.lose(slow)
        next_ = await bench.hold()
        await bench.write(next_, name="quick")
        goes_on.set()
        try:
            written = await writing
        except LeaseLost:
            assert not was_told
        else:  # its head had moved before it was fenced
            assert (await bench.archive.version(STATE, number=2)) == written.version
        await bench.write(next_, name="last")
        await bench.archive.sweep(STATE)
        await bench.archive.sweep(STATE)
        assert bench.stored() == await bench.named()


@pytest.mark.parametrize("step", range(STEPS))
async def test_a_fenced_writer_that_is_killed_after_a_sweep_leaves_nothing_for_ever(tmp_path: Path, step: int) -> None:
    """It stores more after the next writer has swept, and then ends without a word."""
    for more in range(1, STEPS - step):
        async with in_memory(tmp_path) as bench:
            await bench.write(await bench.hold())
            await bench.coordinator.release(STATE, "t1")
            slow, reached, goes_on = await bench.hold(), asyncio.Event(), asyncio.Event()
            ends = Ends(step, after=False, do=die)

            async def wait(
                ends: Ends = ends, more: int = more, reached: asyncio.Event = reached, goes_on: asyncio.Event = goes_on
            ) -> None:
                ends.step, ends.do = step + more, die
                reached.set()
                await goes_on.wait()

            ends.do = wait
            archive, _ = bench.process(ends)
            writing = asyncio.ensure_future(_until_killed(archive.write(STATE, body(2, "slow"), writer=slow)))
            await asyncio.wait({writing, asyncio.ensure_future(reached.wait())}, return_when=asyncio.FIRST_COMPLETED)
            await bench.lose(slow)
            next_ = await bench.hold()
            await bench.write(next_, name="quick")
            goes_on.set()
            await writing
            for _ in range(2):
                await bench.archive.sweep(STATE)
            left = bench.stored() - await bench.named()
            assert not left - await _of_refusals(bench)


async def _until_killed(writing: Awaitable[object]) -> None:
    with suppress(Killed, LeaseLost):
        await writing


async def _of_refusals(bench: Bench) -> set[str]:
    """Return the blobs of refused writes, also of one that was killed before it had its entry."""
    return {digest for digest in bench.stored() if b"interlock prod/routing" not in await bench.blobs.get(digest)}


async def test_writes_under_a_current_grant_are_never_swept(tmp_path: Path) -> None:
    async with in_memory(tmp_path) as bench:
        await bench.write(await bench.hold())
        await bench.coordinator.release(STATE, "t1")
        writer, reached, goes_on = await bench.hold(), asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            reached.set()
            await goes_on.wait()

        for step in range(STEPS):
            reached.clear()
            goes_on.clear()
            archive, _ = bench.process(Ends(step, after=True, do=wait))
            serial = await bench.serial() + 1
            writing = asyncio.create_task(archive.write(STATE, body(serial, "w"), writer=writer))
            await asyncio.wait({writing, asyncio.create_task(reached.wait())}, return_when=asyncio.FIRST_COMPLETED)
            assert await bench.archive.sweep(STATE) == 0
            goes_on.set()
            await writing
            await bench.named()


async def test_a_state_without_a_head_is_left_alone(tmp_path: Path) -> None:
    async with in_memory(tmp_path) as bench:
        writer = await bench.hold()
        archive, _ = bench.process(Ends(9, after=True, do=die))
        with suppress(Killed):
            await archive.write(STATE, body(1, "a"), writer=writer)
        await bench.lose(writer)
        before = bench.stored()
        assert await bench.archive.sweep(STATE) == 0
        assert bench.stored() == before


@pytest.mark.parametrize("note", [b"", b"{", b"\xff", b"[]", b'{"attempts":[],"schema":2}', b'{"attempts":[{}]}'])
async def test_a_note_that_cannot_be_read_stops_no_write(tmp_path: Path, note: bytes) -> None:
    async with in_memory(tmp_path) as bench:
        await bench.records.swap("unfinished/prod%2Frouting", expected=None, value=note)
        await bench.write(await bench.hold())
        assert await bench.archive.sweep(STATE) == 0
        assert bench.stored() == await bench.named()


@pytest.mark.parametrize("at", ["2020-01-01T00:00:00", "2020-01-01T00:00:00Z"])
@pytest.mark.parametrize("blob", ["", "../x", "0" * 64])
async def test_a_note_of_a_stranger_stops_no_write(tmp_path: Path, at: str, blob: str) -> None:
    async with in_memory(tmp_path) as bench:
        first = await bench.hold()
        await bench.write(first)
        attempt = {"token": first.token, "number": 1, "blob": blob, "meta": "0" * 64, "at": at}
        record = await bench.records.get("unfinished/prod%2Frouting") or pytest.fail("gone")
        note = json.dumps({"attempts": [attempt]}).encode()
        await bench.records.swap(record.key, expected=record.version, value=note)
        await bench.lose(first)
        await bench.write(await bench.hold())
        assert await bench.serial() == 2


async def test_a_write_is_not_looked_for_for_ever(tmp_path: Path) -> None:
    async with in_memory(tmp_path) as bench:
        await killed_at(bench, 13, after=False)
        assert await bench.archive.sweep(STATE) == 1
        unfinished = Unfinished(bench.records)
        assert [each.number for each in await unfinished.all(STATE) if each.swept] == [2]
        bench.clock.pass_time(UNFINISHED_S + 1)
        assert await bench.archive.sweep(STATE) == 0
        assert await unfinished.all(STATE) == ()


async def test_notes_of_one_state_are_bounded(tmp_path: Path) -> None:
    async with in_memory(tmp_path) as bench:
        unfinished = Unfinished(bench.records)
        for number in range(100):
            attempt = Attempt(token=1, number=number, blob=f"{number:064}", meta=f"{number:064}", at=FakeClock().now())
            noted = await unfinished.note(STATE, attempt)
        assert [each.number for each in noted] == list(range(36, 100))


DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["write", "die", "delete", "restore", "sweep", "fence"]),
        st.sampled_from([STATE, OTHER]),
        st.integers(0, STEPS),
        st.booleans(),
    ),
    max_size=14,
)


@settings(max_examples=150, deadline=None)
@given(deeds=DEEDS)
async def test_whatever_writers_do_and_wherever_they_die_what_versions_name_stays(
    deeds: list[tuple[str, str, int, bool]],
) -> None:
    async with in_memory(Path()) as bench:
        holders: dict[str, Writer] = {}
        for deed, state, step, after in deeds:
            holder = holders.get(state) or await bench.hold(state)
            holders[state] = holder
            match deed:
                case "write":
                    await bench.write(holder, state=state, name=f"n{step % 3}")
                case "die":
                    archive, _ = bench.process(Ends(step, after=after, do=die))
                    with suppress(Killed):
                        await archive.write(state, body(await bench.serial(state) + 1, "d"), writer=holder)
                    await bench.lose(holders.pop(state), state)
                case "delete":
                    await bench.archive.delete(state, writer=holder)
                case "restore" if versions := await bench.archive.history(state):
                    with suppress(InterlockError):  # a tombstone, say
                        await bench.archive.restore(state, versions[-1], writer=holder)
                case "sweep":
                    await bench.archive.sweep(state)
                case "fence":
                    await bench.lose(holders.pop(state), state)
                case _:
                    pass
            await bench.named(STATE, OTHER)  # reads every version
        for state in (STATE, OTHER):
            holder = holders.get(state) or await bench.hold(state)
            await bench.write(holder, state=state)
            await bench.archive.sweep(state)
        left = bench.stored() - await bench.named(STATE, OTHER)
        assert not left

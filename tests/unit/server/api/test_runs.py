"""Tests of the record of a team's runs: who tells, who may follow, and what is there when answers are lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from tests.killed_writers import killed_after

from interlock.audit.log import AuditLog
from interlock.coordinator.local import LocalCoordinator
from interlock.errors import BackendUnavailable, UsageError
from interlock.ids import RandomIds, run_id
from interlock.rights import Role
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.server.api import run_book
from interlock.server.api.own_entries import OwnEntries
from interlock.server.api.run_book import STOPS_MAX, KeptRun, RunBook
from interlock.server.api.run_index import STEP, RunIndex
from interlock.server.api.runs import run_endpoints
from interlock.server.api.serving import api_routes
from interlock.store import Record
from interlock.store.checksums import record_sum
from interlock.store.memory import MemoryRecords
from interlock.testing.asking import Answered, ask
from interlock.testing.clock import FakeClock, settle

RUN = "1m8pfjgf9tbp6nb4"
STATE = "prod/a"
NOW = datetime(2026, 12, 1, tzinfo=UTC)
SUMMARY = {
    "run": RUN,
    "state": STATE,
    "operation": "plan",
    "who": "anna@laptop",
    "directory": "/infra",
    "phase": "planning",
    "started_at": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=NOW)


@pytest.fixture
def book(clock: FakeClock) -> RunBook:
    return RunBook(MemoryRecords(clock=clock), clock)


@pytest.mark.promise("P3")
async def test_a_piece_that_is_sent_twice_is_there_once(book: RunBook) -> None:
    await book.tell(RUN, STATE, "anna", b"{}", ended=False)
    assert await book.append(RUN, STATE, "anna", 0, b"one\n") == 4
    assert await book.append(RUN, STATE, "anna", 0, b"one\n") == 4
    assert await book.append(RUN, STATE, "anna", 4, b"two\n") == 8
    kept = await book.find(RUN)
    assert kept is not None
    assert await book.journal(kept, 0, 100) == b"one\ntwo\n"
    assert await book.journal(kept, 2, 4) == b"e\ntw"


async def test_a_piece_behind_a_gap_is_not_taken(book: RunBook) -> None:
    await book.tell(RUN, STATE, "anna", b"{}", ended=False)
    assert await book.append(RUN, STATE, "anna", 4, b"two\n") == 0


async def test_a_piece_whose_size_was_not_noted_is_found_again(book: RunBook, clock: FakeClock) -> None:
    records = MemoryRecords(clock=clock)
    book = RunBook(records, clock)
    await book.tell(RUN, STATE, "anna", b"{}", ended=False)
    await records.swap(f"run-journal/{RUN}/{0:012d}", expected=None, value=b"one\n")  # the server was killed then
    assert await book.append(RUN, STATE, "anna", 0, b"one\ntwo\n") == 4, "the rest comes with the next piece"
    assert await book.append(RUN, STATE, "anna", 4, b"two\n") == 8


@pytest.mark.parametrize(("state", "owner"), [(STATE, "bob"), ("prod/b", "anna")])
async def test_nobody_adds_to_the_run_of_another(book: RunBook, state: str, owner: str) -> None:
    await book.tell(RUN, STATE, "anna", b"{}", ended=False)
    with pytest.raises(UsageError):
        await book.tell(RUN, state, owner, b"[]", ended=True)
    with pytest.raises(UsageError):
        await book.append(RUN, state, owner, 0, b"forged\n")


async def test_old_runs_beyond_the_newest_are_let_go(
    book: RunBook, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_book, "KEPT", 2)
    for number in range(3):
        await book.tell(f"1m8pfjgf9tbp6nb{number}", STATE, "anna", b"{}", ended=True)
        await book.append(f"1m8pfjgf9tbp6nb{number}", STATE, "anna", 0, b"line\n")
    clock.pass_time(31 * 86_400.0)
    await book.tell("1m8pfjgf9tbp6nb9", STATE, "anna", b"{}", ended=False)
    assert [kept.run[-1] async for kept in book.newest()] == ["9", "2"]


class Counted(MemoryRecords):
    """Counts what is read by lists."""

    looked = 0

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[Record]:
        found = await super().list(prefix, after=after, limit=limit)
        self.looked += len(found) + 1
        return found


async def written(records: MemoryRecords, runs: Iterable[str]) -> None:
    for run in runs:
        kept = KeptRun(run=run, state=STATE, owner="anna", summary=msgspec.Raw(b"{}"), told_at=NOW)
        await records.swap(f"run/{run}", expected=None, value=msgspec.json.encode(kept))


def month(count: int) -> list[str]:
    """Return the ids of so many runs of a month: most of them in working hours, some at one instant."""
    chance, ids = Random(7), []
    for number in range(count):
        day, hour = number * 30 // count, chance.gauss(11, 2)
        at = NOW - timedelta(days=30 - day, hours=24 - min(max(hour, 0), 23))
        ids.append(run_id(at if number % 10 else NOW - timedelta(days=15), chance.getrandbits(35)))
    return sorted(ids)


async def listed(book: RunBook, of: str) -> list[str]:
    return [kept.run async for kept in book.newest(of=of) if kept.state == of]


async def test_the_runs_of_a_state_are_read_by_themselves_however_many_others_have(clock: FakeClock) -> None:
    records = Counted(clock=clock)
    book = RunBook(records, clock)
    await written(records, month(3000))
    rare = sorted(run_id(NOW - timedelta(days=day), chance=day) for day in range(1, 29, 3))
    for run in rare:
        await book.tell(run, "prod/rare", "anna", b"{}", ended=True)
    assert await listed(book, "prod/rare") == rare[::-1], "also while older runs have no entries"
    steps = 0
    while not await RunIndex(records, runs="run/").is_whole():
        steps += 1
        await book.tell(run_id(NOW, chance=steps), STATE, "anna", b"{}", ended=True)
    assert steps > 3000 // STEP - 20
    records.looked = 0
    assert await listed(book, "prod/rare") == rare[::-1]
    assert records.looked < 100, "of 3,000"
    assert len(await listed(book, STATE)) == 3000 + steps
    assert [kept.run async for kept in book.newest(of="prod/rare", before=rare[5], begins=rare[0][:1])] == rare[4::-1]


async def test_a_run_that_a_server_of_an_older_release_wrote_is_found_with_its_state_later(clock: FakeClock) -> None:
    records = MemoryRecords(clock=clock)
    book = RunBook(records, clock)
    await book.tell(run_id(NOW, chance=1), STATE, "anna", b"{}", ended=True)
    await written(records, [run_id(NOW - timedelta(hours=3), chance=2)])
    assert len(await listed(book, STATE)) == 1
    clock.pass_time(run_book.SWEEP_EVERY_S)
    await book.tell(run_id(NOW, chance=3), STATE, "anna", b"{}", ended=True)
    assert len(await listed(book, STATE)) == 3


async def test_a_run_of_an_older_server_has_its_entry_within_hours_however_many_runs_there_are(
    clock: FakeClock,
) -> None:
    records = MemoryRecords(clock=clock)
    book = RunBook(records, clock)
    number = 0
    for ten_minutes in range(6 * 30):  # 6 runs in each, for 30 hours
        if ten_minutes == 6 * 25:
            await written(records, [run_id(clock.now() - timedelta(hours=1), chance=1)])
        for _ in range(6):
            number += 1
            await book.tell(run_id(clock.now(), chance=number), "prod/other", "anna", b"{}", ended=True)
        clock.pass_time(run_book.SWEEP_EVERY_S)
    assert len(await listed(book, STATE)) == 1


async def test_runs_that_an_older_server_wrote_last_are_listed_with_their_state_at_once(clock: FakeClock) -> None:
    records = MemoryRecords(clock=clock)
    book = RunBook(records, clock)
    await book.tell(run_id(NOW, chance=1), STATE, "anna", b"{}", ended=True)
    assert await RunIndex(records, runs="run/").is_whole()
    clock.pass_time(7 * 86_400.0)  # in which the release before was back
    await written(records, [run_id(NOW + timedelta(hours=hour), chance=2) for hour in range(1, 100)])
    assert len(await listed(book, STATE)) == 100
    await book.tell(run_id(clock.now(), chance=3), STATE, "anna", b"{}", ended=True)
    assert len(await listed(book, STATE)) == 101


async def test_no_run_is_without_its_entry_wherever_a_server_is_killed(clock: FakeClock) -> None:
    for writes in range(12):
        records = MemoryRecords(clock=clock)
        await written(records, [run_id(NOW - timedelta(hours=hour), chance=2) for hour in range(3)])
        with killed_after(records, writes):
            await RunBook(records, clock).tell(run_id(NOW, chance=1), STATE, "anna", b"{}", ended=True)
        book = RunBook(records, clock)
        there = [kept.run async for kept in book.newest()]
        assert await listed(book, STATE) == there, writes
        await book.tell(run_id(NOW, chance=4), STATE, "anna", b"{}", ended=True)
        assert await RunIndex(records, runs="run/").is_whole()
        assert await listed(book, STATE) == [kept.run async for kept in book.newest()], writes


async def test_a_run_that_is_let_go_leaves_no_entry(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_book, "KEPT", 1)
    records = MemoryRecords(clock=clock)
    book = RunBook(records, clock)
    await book.tell(run_id(NOW, chance=1), STATE, "anna", b"{}", ended=True)
    clock.pass_time(31 * 86_400.0)
    await book.tell(run_id(clock.now(), chance=1), STATE, "anna", b"{}", ended=True)
    assert len(await records.list("run-of/")) == 1


@pytest.mark.parametrize("count", [5, 3000])
async def test_lists_of_runs_read_as_much_as_they_show_however_many_there_are(count: int, clock: FakeClock) -> None:
    records = Counted(clock=clock)
    runs, book = month(count), RunBook(records, clock)
    await written(records, runs)
    newest = [kept.run async for kept in until(book.newest(), 20)]
    assert newest == runs[::-1][:20]
    older = [kept.run async for kept in until(book.newest(before=runs[count // 2]), 20)]
    assert older == runs[: count // 2][::-1][:20]
    begun = [kept.run async for kept in book.newest(begins=runs[0])]
    assert begun == runs[:1]
    await book.tell(run_id(NOW, chance=1), STATE, "anna", b"{}", ended=False)
    assert records.looked <= 1500  # of four questions
    assert [kept.run async for kept in book.newest()] == [run_id(NOW, chance=1), *runs[::-1]]


async def until(found: AsyncIterator[KeptRun], count: int) -> AsyncIterator[KeptRun]:
    async for kept in found:
        yield kept
        count -= 1
        if not count:
            return


async def test_runs_of_long_ago_are_found_behind_the_newest_without_reading_them_all(clock: FakeClock) -> None:
    records = Counted(clock=clock)
    runs = [run_id(NOW - timedelta(days=90, seconds=number), chance=number) for number in range(4000, 0, -1)]
    runs += [run_id(NOW - timedelta(seconds=number), chance=number) for number in (30, 20, 10)]
    await written(records, runs)
    assert [kept.run async for kept in until(RunBook(records, clock).newest(), 20)] == runs[::-1][:20]
    assert records.looked <= 3000


@given(st.lists(st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=8, max_size=12), unique=True, max_size=200))
@example([f"1m8pfjgf9{number:03d}" for number in range(180)])
@example(["1m8pfjgf9", "1m8pfjgf", "1m8pfjgf90", "1m8pfjgf8zzz", "00000000", "zzzzzzzz"])
def test_whatever_ids_there_are_each_run_is_listed_once_and_in_order(runs: list[str]) -> None:
    async def play() -> None:
        clock = FakeClock(start=NOW)
        records = MemoryRecords(clock=clock)
        await written(records, runs)
        assert [kept.run async for kept in RunBook(records, clock).newest()] == sorted(runs, reverse=True)

    asyncio.run(play())


async def test_runs_are_listed_page_by_page_and_a_token_that_may_see_few_finds_them_all() -> None:
    desk = Desk()
    runs = month(2500)
    await written(desk.records, runs)
    kept = KeptRun(run=runs[7][:-1] + "0", state="test/b", owner="bob", summary=msgspec.Raw(b"{}"), told_at=NOW)
    await desk.records.swap(f"run/{kept.run}", expected=None, value=msgspec.json.encode(kept))
    for query in ("limit=0", "limit=1001", "before=-", "begins=~"):
        assert (await desk.ask("GET", f"/runs?{query}", Role.READER, "**")).status == 400, query
    first = (await desk.ask("GET", "/runs?limit=2", Role.READER, "**")).json()
    assert [run["run"] for run in first["runs"]] == runs[::-1][:2]
    second = (await desk.ask("GET", f"/runs?limit=2&before={first['next']}", Role.READER, "**")).json()
    assert [run["run"] for run in second["runs"]] == runs[::-1][2:4]
    found, before = [], ""
    for _ in range(10):
        page = (await desk.ask("GET", f"/runs?before={before}", Role.READER, "test/*")).json()
        found += [run["run"] for run in page["runs"]]
        before = page["next"]
        if not before:
            break
    assert (found, before) == ([kept.run], "")


class Desk:
    def __init__(self) -> None:
        clock = FakeClock(start=NOW)
        self.records = records = MemoryRecords(clock=clock)
        self.book = TokenBook(records, clock, RandomIds())
        tokens = BookTokens(self.book, SingleToken("the-own-token-of-this-server"))
        self.clock, self.runs, self.log = clock, RunBook(records, clock), AuditLog(records, clock)
        rows = run_endpoints(self.runs, OwnEntries(self.log, records), LocalCoordinator(records, clock, RandomIds()))
        self.app = Starlette(routes=list(api_routes(rows, tokens=tokens, ending=asyncio.Event())))

    async def ask(self, method: str, path: str, role: Role, states: str, **more: Any) -> Answered:
        _, text = await self.book.create(role, states=states, by="test")
        headers = {"authorization": f"Bearer {text.whole()}"}
        return await ask(self.app, method, f"/api/v1{path}", headers=headers, **more)


@pytest.mark.promise("P10")
async def test_a_run_is_followed_by_whoever_may_read_its_state_and_by_nobody_else() -> None:
    desk = Desk()
    told = await desk.ask("PUT", f"/runs?run={RUN}&state={STATE}", Role.PLANNER, "prod/*", sends={"summary": SUMMARY})
    assert told.status == 200
    assert (await desk.ask("PUT", f"/runs?run={RUN}x&state={STATE}", Role.READER, "**", sends={})).status == 403
    listed = msgspec.json.decode((await desk.ask("GET", "/runs", Role.READER, "prod/*")).body)
    assert [run["run"] for run in listed["runs"]] == [RUN]
    assert (await desk.ask("GET", "/runs", Role.ADMIN, "test/*")).json()["runs"] == []
    assert (await desk.ask("GET", f"/runs/journal?run={RUN}", Role.READER, "prod/*")).status == 200
    assert (await desk.ask("GET", f"/runs/journal?run={RUN}", Role.ADMIN, "test/*")).status == 403
    assert (await desk.ask("GET", "/runs/journal?run=../x", Role.ADMIN, "**")).status == 400


@pytest.mark.promise("P11")
@pytest.mark.parametrize("summary", [5, "t", None, [], {}, {"run": RUN}, {**SUMMARY, "exit": "no"}])
async def test_a_summary_that_nobody_could_read_is_not_kept(summary: object) -> None:
    desk = Desk()
    path = f"/runs?run={RUN}&state={STATE}"
    assert (await desk.ask("PUT", path, Role.RUNNER, "prod/*", sends={"summary": summary})).status == 400
    assert (await desk.ask("GET", "/runs", Role.READER, "prod/*")).json()["runs"] == []


@pytest.mark.promise("P11")
async def test_a_run_is_told_of_by_the_name_of_its_token_and_for_the_state_that_it_may_change() -> None:
    desk = Desk()
    lie = {**SUMMARY, "run": "1m8pfjgf9tbp6zzz", "state": "secret/b", "who": "boss", "of_a_newer_release": [1]}
    path = f"/runs?run={RUN}&state={STATE}"
    assert (await desk.ask("PUT", path, Role.RUNNER, "prod/*", sends={"summary": lie})).status == 200
    told = (await desk.ask("GET", "/runs", Role.READER, "prod/*")).json()["runs"][0]["summary"]
    assert (told["run"], told["state"]) == (RUN, STATE)
    assert told["who"].startswith("boss as token (")
    assert told["of_a_newer_release"] == [1]


async def test_no_run_is_newest_for_good(book: RunBook) -> None:
    with pytest.raises(UsageError, match="in the future"):
        await book.tell("zzzzzzzzzzzzzzzz", STATE, "anna", b"{}", ended=False)


async def test_a_record_of_a_stranger_hides_no_other_run(clock: FakeClock) -> None:
    records = MemoryRecords(clock=clock)
    book = RunBook(records, clock)
    await book.tell(RUN, STATE, "anna", b"{}", ended=False)
    for number, value in enumerate((b"", b"[]", b'{"run": 3}')):
        await records.swap(f"run/1m8pfjgf9tbp6nb{number}", expected=None, value=value)
    for key in ("-", "Z", "~", "1m8P-x", "1m8p_x"):
        await records.swap(f"run/{key}", expected=None, value=b"{}")
    assert [kept.run async for kept in book.newest()] == [RUN]
    with pytest.raises(BackendUnavailable, match="cannot be read"):
        await book.find("1m8pfjgf9tbp6nb0")


async def test_nobody_waits_for_a_time_that_is_no_number() -> None:
    desk = Desk()
    path = f"/runs?run={RUN}&state={STATE}"
    assert (await desk.ask("PUT", path, Role.RUNNER, "prod/*", sends={"summary": SUMMARY})).status == 200
    async with asyncio.timeout(5.0):
        waited = await desk.ask("GET", f"/runs/journal?run={RUN}&wait_s=nan", Role.READER, "prod/*")
    assert waited.status == 400


STOP = f"/runs/stop?run={RUN}&state={STATE}"


async def own_run(desk: Desk) -> dict[str, str]:
    """Tell of a run with a token of its own; return what that token is shown by."""
    _, text = await desk.book.create(Role.RUNNER, states="prod/**", by="test")
    headers = {"authorization": f"Bearer {text.whole()}"}
    path = f"/api/v1/runs?run={RUN}&state={STATE}"
    told = await ask(desk.app, "PUT", path, headers=headers, sends={"summary": SUMMARY})
    assert told.status == 200
    return headers


@pytest.mark.promise("P9")
async def test_whoever_may_unlock_by_force_stops_a_run_wherever_it_works_once_for_each_request() -> None:
    desk = Desk()
    own = await own_run(desk)
    for role, states in ((Role.READER, "**"), (Role.PLANNER, "**"), (Role.RUNNER, "**"), (Role.ADMIN, "test/*")):
        refused = await desk.ask("POST", STOP, role, states, sends={"once": "a"})
        assert refused.status == 403
        assert b"--role operator" in refused.body, "and not a role that may not either"
    assert (await desk.runs.find(RUN)).stops == ()  # type: ignore[union-attr]
    _, text = await desk.book.create(Role.OPERATOR, states="prod/**", note="bob", by="test")
    bob = {"authorization": f"Bearer {text.whole()}"}
    for _ in range(2):  # the answer to the first one was lost
        asked = await ask(desk.app, "POST", f"/api/v1{STOP}", headers=bob, sends={"once": "a", "by": "bob@laptop"})
        assert asked.status == 204, asked.body
    assert (await ask(desk.app, "POST", f"/api/v1{STOP}", headers=own, sends={"once": "a"})).status == 204
    heard = (await ask(desk.app, "GET", f"/api/v1{STOP}", headers=own)).json()
    assert [by.partition(" (")[0] for by in heard["by"]] == ["bob@laptop as bob", "token"]
    assert heard["count"] == 2
    further = (await ask(desk.app, "GET", f"/api/v1{STOP}&seen=1", headers=own)).json()
    assert further == {"by": heard["by"][1:], "count": 2}
    assert [(each.action, each.by, each.subject) for each in await desk.log.entries()] == [
        ("run-cancelled", by, f"interlock:{STATE}") for by in heard["by"]
    ]
    assert (await ask(desk.app, "GET", f"/api/v1{STOP}", headers=bob)).status == 400, "it is told to the run alone"


@pytest.mark.promise("P9")
async def test_a_run_hears_of_a_request_while_it_waits_for_one_and_what_it_tells_of_itself_keeps_it() -> None:
    desk = Desk()
    own = await own_run(desk)
    waiting = asyncio.create_task(desk.runs.watch_stops(RUN, seen=0, timeout_s=20.0))
    early = asyncio.create_task(desk.runs.watch_stops("1m8pfjgf9tbp6nb5", seen=0, timeout_s=0.0))
    await settle()
    assert not waiting.done()
    assert await early is None, "it has not told of itself"
    assert (await desk.ask("POST", STOP, Role.OPERATOR, "**", sends={"once": "a"})).status == 204
    async with asyncio.timeout(5.0):
        heard = await waiting
        assert heard is not None
        assert len(heard.stops) == 1
    path = f"/api/v1/runs?run={RUN}&state={STATE}"
    assert (await ask(desk.app, "PUT", path, headers=own, sends={"summary": SUMMARY, "ended": True})).status == 200
    kept = await desk.runs.find(RUN)
    assert kept is not None
    assert len(kept.stops) == 1
    assert (await desk.ask("POST", STOP, Role.OPERATOR, "**", sends={"once": "b"})).status == 400, "it has ended"
    assert len(await desk.log.entries()) == 1


@pytest.mark.promise("P5")
async def test_a_request_to_stop_has_one_entry_where_it_was_kept_and_none_where_it_was_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    own = await own_run(desk)

    async def asked(once: str) -> int:
        return (await ask(desk.app, "POST", f"/api/v1{STOP}", headers=own, sends={"once": once})).status

    with monkeypatch.context() as killed, suppress(ConnectionError):  # the server, behind its entry
        killed.setattr(RunBook, "ask_to_stop", _breaks)
        await asked("0")
    assert [await asked(f"{each}") for each in range(STOPS_MAX + 2)] == [204] * STOPS_MAX + [400] * 2
    assert [each.facts["once"] for each in await desk.log.entries()] == [f"{each}" for each in range(STOPS_MAX)]


async def _breaks(*_: object, **__: object) -> None:
    raise ConnectionError


async def test_a_damaged_run_refuses_no_new_one_and_a_damaged_index_is_made_anew(clock: FakeClock) -> None:
    records = MemoryRecords(clock=clock)
    book = RunBook(records, clock)
    damaged = run_id(NOW - timedelta(hours=3), chance=2)
    await written(records, [damaged])
    records._sums[f"run/{damaged}"] = b"damaged"
    for number in range(3):
        await book.tell(run_id(NOW, chance=number), STATE, "anna", b"{}", ended=True)
    records._sums[f"run/{damaged}"] = record_sum(f"run/{damaged}", 1, records._records[f"run/{damaged}"].value)
    await book.tell(run_id(NOW, chance=3), STATE, "anna", b"{}", ended=True)
    assert await RunIndex(records, runs="run/").is_whole()
    records._sums["run-index"] = b"damaged"
    assert len(await listed(book, STATE)) == 5, "all runs are read"
    await book.tell(run_id(NOW, chance=4), STATE, "anna", b"{}", ended=True)
    assert await RunIndex(records, runs="run/").is_whole()
    assert len(await listed(book, STATE)) == 6

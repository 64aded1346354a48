"""Tests of the record of a team's runs: who tells, who may follow, and what is there when answers are lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette

from interlock.errors import BackendUnavailable, UsageError
from interlock.ids import RandomIds
from interlock.rights import Role
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.server.api import run_book
from interlock.server.api.run_book import RunBook
from interlock.server.api.runs import run_endpoints
from interlock.server.api.serving import api_routes
from interlock.store.memory import MemoryRecords
from interlock.testing.asking import Answered, ask
from interlock.testing.clock import FakeClock

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
    assert [kept.run[-1] for kept in await book.all()] == ["9", "2"]


class Desk:
    def __init__(self) -> None:
        clock = FakeClock(start=NOW)
        records = MemoryRecords(clock=clock)
        self.book = TokenBook(records, clock, RandomIds())
        tokens = BookTokens(self.book, SingleToken("the-own-token-of-this-server"))
        rows = run_endpoints(RunBook(records, clock))
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
    assert [kept.run for kept in await book.all()] == [RUN]
    with pytest.raises(BackendUnavailable, match="cannot be read"):
        await book.find("1m8pfjgf9tbp6nb0")


async def test_nobody_waits_for_a_time_that_is_no_number() -> None:
    desk = Desk()
    path = f"/runs?run={RUN}&state={STATE}"
    assert (await desk.ask("PUT", path, Role.RUNNER, "prod/*", sends={"summary": SUMMARY})).status == 200
    async with asyncio.timeout(5.0):
        waited = await desk.ask("GET", f"/runs/journal?run={RUN}&wait_s=nan", Role.READER, "prod/*")
    assert waited.status == 400

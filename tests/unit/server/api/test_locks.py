"""Tests of the lists of queues: they read as much as they show."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette

from interlock.coordinator.local import LocalCoordinator
from interlock.globs import matches
from interlock.ids import RandomIds
from interlock.lock import Requested
from interlock.rights import Role
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.server.api.locks import lock_endpoints
from interlock.server.api.serving import api_routes
from interlock.store import Record
from interlock.store.memory import MemoryRecords
from interlock.testing.asking import Answered, ask
from interlock.testing.clock import FakeClock

STATES = 1500


class Counted(MemoryRecords):
    """Counts what is read by lists."""

    looked = 0

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[Record]:
        found = await super().list(prefix, after=after, limit=limit)
        self.looked += len(found)
        return found


class Desk:
    def __init__(self) -> None:
        clock = FakeClock()
        self.records = Counted(clock=clock)
        self.queue = LocalCoordinator(self.records, clock, RandomIds())
        self.book = TokenBook(self.records, clock, RandomIds())
        tokens = BookTokens(self.book, SingleToken("the-own-token-of-this-server"))
        rows = lock_endpoints(self.queue, self.queue)
        self.app = Starlette(routes=list(api_routes(rows, tokens=tokens, ending=asyncio.Event())))

    async def ask(self, query: str, states: str) -> Answered:
        _, text = await self.book.create(Role.READER, states=states, by="test")
        return await ask(
            self.app, "GET", f"/api/v1/locks/all?{query}", headers={"authorization": f"Bearer {text.whole()}"}
        )


@pytest.fixture
async def desk() -> Desk:
    made = Desk()
    for number in range(STATES):
        state = f"{'rare' if number % 500 == 250 else 'prod'}/{number:04d}"
        await made.queue.request(state, Requested(ticket="t", who="b", lease_s=60.0, patience_s=60.0))
    return made


async def test_a_page_of_states_reads_as_much_as_it_shows_however_many_there_are(desk: Desk) -> None:
    for after in ("", "prod/0700", "prod/1490"):
        desk.records.looked = 0
        page = (await desk.ask(f"limit=20&after={after}", "**")).json()
        assert [each["state"] for each in page["states"]][:2] == sorted(page_of(after))[:2]
        assert desk.records.looked <= 25
    desk.records.looked = 0
    assert len((await desk.ask("", "rare/*")).json()["states"]) == 3
    assert desk.records.looked <= 25


async def test_a_page_has_its_limits() -> None:
    desk = Desk()
    for query in ("limit=0", "limit=201", "limit=-1", f"after={'a' * 201}", f"prefix={'a' * 201}"):
        assert (await desk.ask(query, "**")).status == 400, query


def page_of(after: str) -> list[str]:
    names = (f"{'rare' if number % 500 == 250 else 'prod'}/{number:04d}" for number in range(STATES))
    return [name for name in names if name > after]


@pytest.mark.parametrize("states", ["rare/*", "**", "prod/1*", "none/*", "*/*50"])
async def test_page_by_page_everybody_finds_what_the_token_may_see(desk: Desk, states: str) -> None:
    found, after = [], ""
    for _ in range(200):
        page = (await desk.ask(f"limit=100&after={after}", states)).json()
        found += [each["state"] for each in page["states"]]
        after = page["next"]
        assert after in ("", *found)  # no name of another's state
        if not after:
            break
    assert (found, after) == (sorted(name for name in page_of("") if matches(states, name)), "")

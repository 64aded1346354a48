"""What the TFE API keeps, on each store that a server may have: one client, two servers of one store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cloud_api import MASTER, STATE, Cloud, CloudServer, state

from interlock.clock import SystemClock
from interlock.coordinator.local import LocalCoordinator
from interlock.home.embedded import EmbeddedHome
from interlock.ids import RandomIds
from interlock.server.tfe.logins import LoginBook
from interlock.settings.values import Settings
from interlock.store.opening import open_store
from interlock.testing.postgres import PostgresServer, why_not

POSTGRES = pytest.param("postgres", marks=pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"))
ANSWER_S = 30.0


@pytest.fixture(params=["sqlite", POSTGRES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'server.db'}"
    postgres: PostgresServer = request.getfixturevalue("postgres")
    return f"{postgres.url}&schema=cloud"


@pytest.fixture
async def servers(url: str, tmp_path: Path) -> AsyncIterator[tuple[CloudServer, CloudServer]]:
    made = []
    stores = [await open_store(url, clock=SystemClock()) for _ in range(2)]
    for store in stores:
        coordinator = LocalCoordinator(store.records, store.clock, RandomIds())
        settings = Settings(home=tmp_path)
        home = EmbeddedHome(settings, store, coordinator, clock=store.clock, ids=RandomIds())
        made.append(CloudServer(tmp_path, home=home))
    yield made[0], made[1]
    for server in made:
        await server.locks.close()
    for store in stores:
        await store.close()


@pytest.mark.promise("P1", "P2", "P3", "P4")
async def test_each_request_of_a_run_may_reach_another_server(servers: tuple[CloudServer, CloudServer]) -> None:
    here, there = servers
    mine, other = Cloud(here), Cloud(there)
    assert (await mine.init()).status == 201
    assert (await other.init()).status == 200
    assert (await mine.lock()).status == 200
    mine.server = there
    assert (await mine.lock()).status == 200, "a repetition that reached the other server"
    waiting = other.send_lock()
    told = await mine.announce(state(1, "a"))
    assert told.status == 201
    mine.server = here
    assert (await mine.put(told, state(1, "a"))).status == 200
    mine.server = there
    assert (await mine.put(told, state(1, "a"))).status == 200, "also when its answer was lost"
    assert await mine.read() == state(1, "a")
    late = await mine.announce(state(2, "a"))
    assert not waiting.task.done()
    assert (await mine.unlock()).status == 200
    await asyncio.wait_for(waiting.task, ANSWER_S)
    assert waiting.answered.status == 200
    mine.server = here
    assert (await mine.put(late, state(2, "a"))).status == 409
    assert (await other.write(state(2, "b"))).status == 200
    assert await mine.read() == state(2, "b")
    assert len(await here.home.archive.quarantined(STATE)) == 1
    assert (await other.unlock()).status == 200


async def test_workspaces_and_their_tags_are_made_once_and_seen_by_all(
    servers: tuple[CloudServer, CloudServer],
) -> None:
    here, there = servers
    data = {"data": {"type": "workspaces", "attributes": {"name": "new"}}}
    told = await asyncio.gather(
        *(server.ask("POST", "organizations/acme/workspaces", sends=data) for server in servers * 3)
    )
    assert sorted(each.status for each in told) == [201] + [422] * 5
    tags = [{"data": [{"type": "tags", "attributes": {"name": f"t{number}"}}]} for number in range(6)]
    path = "workspaces/ws-acme~new/relationships/tags"
    await asyncio.gather(*(servers[n % 2].ask("POST", path, sends=each) for n, each in enumerate(tags)))
    seen = (await there.ask("GET", "workspaces/ws-acme~new")).json()["data"]["attributes"]["tag-names"]
    assert seen == [f"t{number}" for number in range(6)]
    assert (await here.ask("DELETE", "workspaces/ws-acme~new")).status == 204
    assert (await there.ask("GET", "workspaces/ws-acme~new")).status == 404


@pytest.mark.promise("P10")
async def test_a_code_of_a_login_is_taken_once_by_all_servers_together(
    servers: tuple[CloudServer, CloudServer],
) -> None:
    import base64
    import hashlib

    books = [LoginBook(server.home.store.records, server.home.clock, RandomIds()) for server in servers]
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    redirect = "http://localhost:10000/login"
    code = await books[0].give(MASTER, redirect=redirect, challenge=challenge)
    taken = await asyncio.gather(
        *(book.take(code, verifier=verifier, redirect=redirect) for book in books * 3), return_exceptions=True
    )
    assert [each for each in taken if isinstance(each, str)] == [MASTER]

"""Files of runs through the gateways of a server: given by one replica, taken by another. Real HTTP."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest
from tests.unit.server.gateway.test_doors import STATE, Server, keep, serving

from interlock.api.organisations import Placeholder
from interlock.clock import SystemClock
from interlock.gateway import Credentials, Secret
from interlock.gateway import files as gateway_files
from interlock.gateway.files import RELAYED
from interlock.gateway.oauth import basic_header
from interlock.gateway.service import Gateway, Terms
from interlock.lock import Priority, Released
from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import serve
from interlock.store.opening import Store, open_store
from interlock.store.sealing import master_key
from interlock.store.vault import with_encryption
from interlock.testing.postgres import PostgresServer, why_not

PROMPTS = "/api/v2/architect/prompts"


@dataclass
class Site:
    """Two replicas of one store, and the organisation behind them."""

    simulation: Simulation
    one: Server
    two: Server

    @property
    def uploads(self) -> list[int]:
        """How the organisation answered what was sent to its addresses for files."""
        return [entry.status for entry in self.simulation.journal if entry.path.startswith("/uploads/")]


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store that two replicas share."""
    if request.param == "sqlite":
        yield str(tmp_path / "interlock.db")
        return
    if why_not():
        pytest.skip(why_not())
    postgres: PostgresServer = request.getfixturevalue("postgres")
    yield f"{postgres.url}&schema=files_{tmp_path.name[-20:].replace('-', '_')}"


async def opened_store(url: str) -> Store:
    return await with_encryption(
        await open_store(url, clock=SystemClock()), [master_key(bytes(range(32)))], clock=SystemClock()
    )


@pytest.fixture
async def site(store_url: str) -> AsyncIterator[Site]:
    simulation = Simulation()
    first, second = await opened_store(store_url), await opened_store(store_url)
    async with serve(simulation) as served:
        await keep(first, served.url)
        async with serving(first) as one, serving(second) as two:
            yield Site(simulation, one, two)
    await first.close()
    await second.close()


def sound(seconds: int = 25) -> bytes:
    with io.BytesIO() as file:
        with wave.open(file, "wb") as written:
            written.setparams((1, 2, 8000, 0, "NONE", ""))
            written.writeframes(b"12" * 8000 * seconds)
        return file.getvalue()


async def send(http: aiohttp.ClientSession, address: str, token: str, file: bytes | None = None) -> int:
    """Send a sound as the provider does: the token stands alone in its header."""
    form = aiohttp.FormData({"file": io.BytesIO(sound() if file is None else file)})
    async with http.post(address, data=form, headers={"Authorization": token}) as answer:
        await answer.read()
        return answer.status


async def new_prompt(http: aiohttp.ClientSession, url: str, token: str, name: str = "Hello") -> tuple[str, str]:
    """Make a prompt with one language; return its path and where its file goes."""
    bearer = {"Authorization": f"Bearer {token}"}
    async with http.post(f"{url}{PROMPTS}", json={"name": name}, headers=bearer) as answer:
        path = f"{PROMPTS}/{(await answer.json())['id']}/resources"
    async with http.post(f"{url}{path}", json={"language": "en-us"}, headers=bearer) as answer:
        return f"{path}/en-us", (await answer.json())["uploadUri"]


async def status_of(http: aiohttp.ClientSession, url: str, token: str) -> str:
    async with http.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
        return str((await answer.json())["uploadStatus"])


async def token_of(server: Server, way: Placeholder) -> str:
    return str((await server.log_in(way))[1]["access_token"])


@pytest.mark.promise("P10")
async def test_a_file_may_come_to_another_replica_than_the_one_that_gave_its_address(site: Site) -> None:
    way = await site.one.way("run1", await site.one.hold("run1"))
    token = await token_of(site.one, way)
    path, address = await new_prompt(site.one.http, site.one.url + way.path, token)
    assert address.startswith(f"{site.one.url}{way.path}/files/")
    there = address.replace(site.one.url, site.two.url)
    assert await send(site.two.http, there, token) == 200
    assert await status_of(site.two.http, site.two.url + way.path + path, token) == "transcoded"
    site.simulation.login.revoke_all()  # the pools' tokens: no run sees those
    assert await send(site.two.http, there, token) == 200
    assert site.uploads == [200, 401, 200]


@pytest.mark.promise("P4")
async def test_a_file_of_a_run_that_lost_its_lock_is_refused_at_every_replica(site: Site) -> None:
    fencing = await site.one.hold("run1")
    way = await site.one.way("run1", fencing)
    token = await token_of(site.one, way)
    _, address = await new_prompt(site.one.http, site.one.url + way.path, token)
    await site.one.coordinator.apply_event(STATE, Released(ticket="run1", token=fencing))
    for server in (site.one, site.two):
        assert await send(server.http, address.replace(site.one.url, server.url), token) == 409
    assert site.uploads == []


@pytest.mark.promise("P4")
async def test_an_address_is_good_for_the_run_that_got_it_and_a_run_that_plans_sends_no_file(site: Site) -> None:
    first = await site.one.hold("run1")
    way = await site.one.way("run1", first)
    _, address = await new_prompt(site.one.http, site.one.url + way.path, await token_of(site.one, way))
    await site.one.coordinator.apply_event(STATE, Released(ticket="run1", token=first))
    name = address.rpartition("/")[2]
    other = await site.one.way("run2", await site.one.hold("run2", state="prod/b"), state="prod/b")
    at_other = f"{site.one.url}{other.path}/files/{name}"
    assert await send(site.one.http, at_other, await token_of(site.one, other)) == 404
    planning = await site.one.way("run3", await site.one.hold("run3", priority=Priority.PLAN))
    at_planning = f"{site.one.url}{planning.path}/files/{name}"
    assert await send(site.one.http, at_planning, await token_of(site.one, planning)) == 403
    assert site.uploads == []


@asynccontextmanager
async def provider_before(server: Server, way: Placeholder) -> AsyncIterator[tuple[aiohttp.ClientSession, str, str]]:
    """A run's own gateway before a server, as a provider meets it: a client, its address with the prefix, a token."""
    far = f"{server.url}{way.path}"
    shown = Credentials(client_id=way.client_id, secret=Secret(way.secret))
    gateway = Gateway(
        Terms(api_url=far, login_url=far, credentials=shown, runs_only=True, relays=True, files=RELAYED, tokens=1)
    )
    address = await gateway.start("127.0.0.1")
    try:
        url = address.url + gateway.add_run("run1", Priority.APPLY, "secret", lambda _: True, logins=(shown,))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            login = {"Authorization": basic_header(shown)}
            form = {"grant_type": "client_credentials"}
            async with http.post(f"{url}/oauth/token", data=form, headers=login) as answer:
                token = (await answer.json())["access_token"]
            yield http, url, token
    finally:
        await gateway.aclose()


@pytest.mark.promise("P7")
@pytest.mark.promise("P10")
async def test_a_providers_file_passes_its_own_gateway_and_the_servers_and_is_sent_once(site: Site) -> None:
    way = await site.one.way("run1", await site.one.hold("run1"))
    async with provider_before(site.one, way) as (http, url, token):
        path, address = await new_prompt(http, url, token)
        assert address.startswith(f"{url}/files/")
        assert DEFAULT_CLIENT.secret not in address
        assert way.secret not in address
        assert await send(http, address, token) == 200
        assert await status_of(http, url + path, token) == "transcoded"
        asked = [entry for entry in site.simulation.journal if entry.path.startswith("/api/v2/architect/")]
        assert (site.uploads, len(asked)) == ([200], 3)
        assert await send(http, address, "another") == 401
        assert await send(http, f"{url}/files/other", token) == 404


@pytest.mark.promise("P8")
async def test_a_file_without_room_at_the_server_comes_back_until_there_is_some(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = await site.one.way("run1", await site.one.hold("run1"))
    async with provider_before(site.one, way) as (http, url, token):
        _, address = await new_prompt(http, url, token)
        files = site.one.doors._gateways["acme"].gateway._proxy._files
        assert files is not None
        monkeypatch.setattr(files, "patience", replace(files.patience, turn_s=0.01))
        monkeypatch.setattr(gateway_files, "_COME_BACK_S", 0)
        with ExitStack() as stack:
            for _ in range(gateway_files.AT_ONCE_MAX):
                await files._turns.acquire()
                stack.callback(files._turns.release)
            sending = asyncio.create_task(send(http, address, token))
            refusals = site.one.doors._gateways["acme"].gateway._proxy.tally
            while not refusals.refused:
                assert not sending.done()
                await asyncio.sleep(0.01)
        assert await sending == 200
        assert site.uploads == [200]


@pytest.mark.promise("P4")
async def test_a_file_that_is_too_long_is_refused_before_any_of_it_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = await site.one.way("run1", await site.one.hold("run1"))
    async with provider_before(site.one, way) as (http, url, token):
        _, address = await new_prompt(http, url, token)
        monkeypatch.setattr("interlock.gateway.proxy.FILE_BODY_MAX", 100_000)
        assert await send(http, address, token) == 413
        assert site.uploads == []

"""A user of this machine without any secret, and a web page in a browser of it, at every door of a run.

The paths are those that the listeners have, asked of themselves: a new one is tried by itself.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from starlette.routing import Route
from tests.security.strangers import SHUT, Heard, every_request, knock, knock_as_nobody

from interlock.backend.asgi import create_app
from interlock.backend.gate import RunGate
from interlock.backend.loopback import serve_run
from interlock.backend.serving import serving
from interlock.clock import SystemClock
from interlock.coordinator.archive import StateArchive
from interlock.coordinator.local import LocalCoordinator
from interlock.gateway.oauth import Credentials, Secret
from interlock.gateway.route import PATHS, Door
from interlock.gateway.service import Gateway, Terms
from interlock.ids import RandomIds
from interlock.lock import Priority, Requested
from interlock.rights.callers import SingleToken
from interlock.run.gateway_access import RunGateway, find_need
from interlock.run.surroundings import Seat
from interlock.settings.values import Settings
from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import serve
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

CENTRE = """
terraform {
  required_providers {
    genesyscloud = { source = "mypurecloud/genesyscloud" }
  }
}
provider "genesyscloud" {}
"""
ME = "/api/v2/organizations/me"
AS_NOBODY = pytest.param(
    knock_as_nobody, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second Unix user")
)


@dataclass
class Way:
    """An open run gateway before a simulated organisation."""

    simulation: Simulation
    url: str
    current: bool = True

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    async def log_in(self) -> tuple[int, str]:
        basic = base64.b64encode(f"{DEFAULT_CLIENT.id}:{DEFAULT_CLIENT.secret}".encode()).decode()
        status, document = await self._ask("POST", "/oauth/token", f"Basic {basic}")
        return status, str(document.get("access_token", ""))

    async def organisation(self) -> tuple[str, str]:
        _, document = await self._ask("GET", ME, f"Bearer {(await self.log_in())[1]}")
        return str(document["id"]), str(document["name"])

    async def call(self, bearer: str, method: str = "GET", path: str = ME) -> int:
        return (await self._ask(method, path, f"Bearer {bearer}"))[0]

    async def _ask(self, method: str, path: str, authorization: str) -> tuple[int, dict[str, object]]:
        async with (
            aiohttp.ClientSession() as client,
            client.request(
                method,
                self.url + path,
                data={"grant_type": "client_credentials"},
                headers={"Authorization": authorization},
            ) as answer,
        ):
            return answer.status, await answer.json()


@asynccontextmanager
async def run_gateway(folder: Path) -> AsyncIterator[Way]:
    (folder / "main.tf").write_text(CENTRE)
    (folder / "tree").mkdir()
    simulation = Simulation()
    async with serve(simulation) as served:
        environ = {
            "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
            "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
            "GENESYSCLOUD_REGION": "eu-central-1",
            "INTERLOCK_UPSTREAM_API": served.url,
            "INTERLOCK_UPSTREAM_LOGIN": served.url,
        }
        need = find_need(folder, Settings(home=folder / "home"), environ)
        assert not isinstance(need, str), need
        way = Way(simulation, "")

        async def is_current(_token: int) -> bool:
            return way.current

        gateway = RunGateway(need, ids=RandomIds(), store=MemoryRecords(clock=SystemClock()), is_current=is_current)
        try:
            await gateway.open("run1", Priority.APPLY, Seat(ticket="t", token=7), folder / "tree")
            way.url = gateway.url
            yield way
        finally:
            await gateway.close()


def gateway_paths() -> list[str]:
    """Return every door of a gateway, as a client without a name, a named one and a run reach it."""
    beginnings = ("", "/c/tool", "/r/run1/guessed", "/r/run1/", "/r/run1")
    ends = {door: ME if door is Door.API else path for door, path in PATHS.items()}
    return [beginning + end for beginning in beginnings for end in ends.values()]


def left_open(heard: list[Heard], *secrets: str) -> list[Heard]:
    """Return what was answered otherwise than "not you" or "not here", or with anything that is worth knowing."""
    return [
        each for each in heard if each.status not in SHUT or any(secret.encode() in each.answer for secret in secrets)
    ]


def test_every_door_of_the_gateway_is_tried() -> None:
    assert set(PATHS) == set(Door)


@pytest.mark.promise("P4")
@pytest.mark.promise("P10")
@pytest.mark.parametrize("knocks", [knock, AS_NOBODY])
async def test_no_stranger_gets_anything_from_the_gateway_of_a_run(tmp_path: Path, knocks: object) -> None:
    async with run_gateway(tmp_path) as way:
        organisation = await way.organisation()
        before, seen = way.simulation.snapshot(), sum(way.simulation.statuses.values())
        assert callable(knocks)
        heard = await asyncio.to_thread(knocks, way.port, list(every_request(way.port, gateway_paths())))
        assert left_open(heard, *organisation, way.url.rsplit("/", 1)[1], "access_token") == []
        assert (way.simulation.snapshot(), sum(way.simulation.statuses.values())) == (before, seen)


@pytest.mark.promise("P4")
async def test_a_fenced_run_gets_no_token_and_no_call_through_its_own_gateway(tmp_path: Path) -> None:
    async with run_gateway(tmp_path) as way:
        status, bearer = await way.log_in()
        assert (status, await way.call(bearer)) == (200, 200)
        way.current = False
        before = sum(way.simulation.statuses.values())
        assert await way.log_in() == (409, "")
        assert {await way.call(bearer, method) for method in ("GET", "POST", "DELETE")} == {409}
        assert sum(way.simulation.statuses.values()) == before


@pytest.mark.promise("P10")
async def test_a_web_page_cannot_use_the_prefix_of_a_run_even_if_it_knew_it(tmp_path: Path) -> None:
    async with run_gateway(tmp_path) as way:
        path = way.url.split("/", 3)[3]
        head = f"GET /{path}{ME} HTTP/1.1\r\nConnection: close\r\n"
        foreign = [f"{head}Host: rebound.example:{way.port}\r\n\r\n"]
        foreign += [f"{head}Host: 127.0.0.1:{way.port}\r\n{each}\r\n\r\n" for each in BROWSERS]
        heard = await asyncio.to_thread(knock, way.port, [each.encode() for each in foreign])
        assert [each.status for each in heard] == [404] * len(foreign)
        honest = f"{head}Host: 127.0.0.1:{way.port}\r\nSec-Fetch-Site: none\r\n\r\n"
        assert (await asyncio.to_thread(knock, way.port, [honest.encode()]))[0].status == 200


BROWSERS = (
    "Origin: http://rebound.example",
    "Origin: null",
    "Origin: http://127.0.0.1:1",
    "Referer: http://elsewhere.example/",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-origin",
)


@asynccontextmanager
async def run_door(secret: str) -> AsyncIterator[tuple[int, StateArchive]]:
    clock, ids = FakeClock(), CountingIds()
    records = MemoryRecords(clock=clock)
    coordinator = LocalCoordinator(records, clock, ids)
    archive = StateArchive(coordinator, records, MemoryBlobs(), clock)
    gate = RunGate(coordinator, archive, state="s", run="r1", who="a@b")
    request = Requested(ticket="r1", run="r1", who="a@b", lease_s=6.0, patience_s=15.0)
    grant = await coordinator.acquire("s", request, timeout_s=0.0)
    gate.admit(ticket=grant.ticket, token=grant.token)
    async with serve_run(gate, secret) as port:
        yield port, archive


@pytest.mark.promise("P4")
@pytest.mark.promise("P10")
@pytest.mark.parametrize("knocks", [knock, AS_NOBODY])
async def test_no_stranger_gets_anything_from_the_state_address_of_a_run(knocks: object) -> None:
    secret = RandomIds().secret()
    async with run_door(secret) as (port, archive):
        paths = ["/state/s", "/run//state", f"/run/{secret[:-1]}/state", f"/run/{secret}", f"/run/{secret}/state/"]
        assert callable(knocks)
        heard = await asyncio.to_thread(knocks, port, list(every_request(port, paths)))
        assert left_open(heard, secret) == []
        assert await archive.history("s") == ()


@pytest.mark.promise("P10")
async def test_a_web_page_cannot_use_the_state_address_of_a_run_even_if_it_knew_it() -> None:
    async with run_door("s3cret") as (port, _):
        head = "GET /run/s3cret/state HTTP/1.1\r\nConnection: close\r\n"
        foreign = [f"{head}Host: rebound.example\r\n\r\n", f"{head}\r\n"]
        foreign += [f"{head}Host: 127.0.0.1\r\n{each}\r\n\r\n" for each in BROWSERS]
        heard = await asyncio.to_thread(knock, port, [each.encode() for each in foreign])
        assert [each.status for each in heard] == [404] * len(foreign)
        honest = f"{head}Host: 127.0.0.1:{port}\r\n\r\n".encode()
        assert (await asyncio.to_thread(knock, port, [honest]))[0].status == 204


@pytest.mark.promise("P10")
async def test_no_stranger_gets_a_state_or_a_lock_from_interlock_serve() -> None:
    clock, ids = FakeClock(), CountingIds()
    records = MemoryRecords(clock=clock)
    coordinator = LocalCoordinator(records, clock, ids)
    archive = StateArchive(coordinator, records, MemoryBlobs(), clock)
    app = create_app(coordinator, archive, clock=clock, ids=ids, tokens=SingleToken("the-token-of-this-server"))
    routes = [route for route in app.routes if isinstance(route, Route)]
    assert len(routes) == len(app.routes)
    paths = [route.path.replace("{name:path}", "s").replace("{secret}", "guessed") for route in routes]
    async with serving(app, host="127.0.0.1", port=0) as (_, port):
        heard = await asyncio.to_thread(knock, port, list(every_request(port, paths)))
        asked = [each for each in heard if re.search(rb" /(?:healthz|readyz) HTTP", each.request)]
        probes = [each for each in asked if each.status == 200]
        said = {each.answer.rpartition(b"\r\n\r\n")[2] for each in probes}
        assert said <= {b'{"status":"ok"}', b'{"status":"ready"}', b""}
        refused = [each for each in heard if each not in probes and each.status not in {*SHUT, 405}]
        assert refused == []
        assert await archive.history("s") == ()
        assert (await coordinator.view("s")).lock.waiters == ()


@pytest.mark.promise("P10")
async def test_no_stranger_gets_a_token_or_a_call_from_interlock_gateway() -> None:
    simulation = Simulation()
    async with serve(simulation) as served:
        credentials = Credentials(client_id=DEFAULT_CLIENT.id, secret=Secret(DEFAULT_CLIENT.secret))
        gateway = Gateway(Terms(api_url=served.url, login_url=served.url, credentials=credentials))
        try:
            port = (await gateway.start("127.0.0.1", 0)).port
            await gateway.check_login()
            seen = sum(simulation.statuses.values())
            heard = await asyncio.to_thread(knock, port, list(every_request(port, gateway_paths())))
        finally:
            await gateway.aclose()
        assert [each for each in heard if b"access_token" in each.answer] == []
        probes = [each for each in heard if each.status in {200, 503}]
        assert {each.request.split(b" ")[1].rpartition(b"/")[2] for each in probes} <= {b"healthz", b"readyz"}
        assert [each for each in heard if each not in probes and each.status not in {*SHUT, 400, 405}] == []
        assert sum(simulation.statuses.values()) == seen

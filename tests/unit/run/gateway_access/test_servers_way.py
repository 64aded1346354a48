"""A run whose server keeps the OAuth client: which configurations are led there, and how the run gets through."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from interlock.clock import SystemClock
from interlock.errors import LeaseLost, UsageError
from interlock.gateway.oauth import Credentials, Secret, basic_header
from interlock.ids import RandomIds
from interlock.lock import Priority
from interlock.run.gateway_access import (
    Need,
    RunGateway,
    ServerOrganisation,
    ServersWay,
    find_need,
    with_placeholder,
)
from interlock.run.gateway_access.need import PLACEHOLDER_CLIENT
from interlock.run.surroundings import Seat
from interlock.run.workspace import OVERRIDE_NAME
from interlock.server.gateway.organisation import PLACEHOLDER_CLIENT as SERVERS_PLACEHOLDER_CLIENT
from interlock.settings.values import Settings
from interlock.simulator.asgi import serve_app
from interlock.store.memory import MemoryRecords

FAR = ServerOrganisation(name="acme", region="eu-central-1", url="https://interlock.example.com")
ONE = 'terraform {\n  required_providers {\n    genesyscloud = { source = "mypurecloud/genesyscloud" }\n  }\n}\n'


def need_of(tmp_path: Path, text: str, far: ServerOrganisation = FAR, **environ: str) -> Need:
    (tmp_path / "main.tf").write_text(ONE + text)
    need = find_need(tmp_path, Settings(home=tmp_path), with_placeholder(environ, far), far=far)
    assert isinstance(need, Need)
    return need


def test_a_configuration_without_a_client_is_led_to_the_server(tmp_path: Path) -> None:
    need = need_of(tmp_path, 'provider "genesyscloud" {}\n')
    (way,) = need.ways
    assert way.is_servers
    assert way.terms.api_url == "https://interlock.example.com/gateway/acme"
    assert need.is_whole
    assert PLACEHOLDER_CLIENT == SERVERS_PLACEHOLDER_CLIENT


def test_credentials_of_the_environment_are_not_used_beside_the_servers(tmp_path: Path) -> None:
    environ = {"GENESYSCLOUD_OAUTHCLIENT_ID": "own", "GENESYSCLOUD_OAUTHCLIENT_SECRET": "hush"}
    (way,) = need_of(tmp_path, 'provider "genesyscloud" {}\n', FAR, **environ).ways
    assert way.is_servers
    assert "hush" not in str(with_placeholder(environ, FAR))


@pytest.mark.promise("P11")
def test_a_block_that_means_another_place_is_not_led_to_the_server(tmp_path: Path) -> None:
    text = """
provider "genesyscloud" {}
provider "genesyscloud" {
  alias      = "elsewhere"
  aws_region = "us-east-1"
}
provider "genesyscloud" {
  alias              = "own"
  oauthclient_id     = "own"
  oauthclient_secret = "own-secret"
}
provider "genesyscloud" {
  alias = "gated"
  gateway {
    host     = "gateway.example.com"
    protocol = "https"
  }
}
"""
    need = need_of(tmp_path, text)
    by_alias = {login.alias: way for way in need.ways for login in way.logins}
    assert by_alias[""].is_servers
    assert not by_alias["own"].is_servers
    assert by_alias["own"].terms.api_url == "https://api.mypurecloud.de"
    assert {each.label for each in need.left_alone} == {
        "provider genesyscloud.elsewhere",
        "provider genesyscloud.gated",
    }


@pytest.mark.promise("P11")
def test_an_environment_of_another_region_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this state's organisation acme is in eu-central-1"):
        need_of(tmp_path, "", GENESYSCLOUD_REGION="us-east-1")
    assert need_of(tmp_path, 'provider "genesyscloud" {}\n', GENESYSCLOUD_REGION="EU-Central-1").ways


class Server:
    """Stands for the server's gateway: what came under the path that it gave."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.is_busy = False

    async def answer(self, request: Request) -> Response:
        self.seen.append((request.method, request.url.path))
        if request.url.path.endswith("/oauth/token"):
            return JSONResponse({"access_token": "from-the-server", "token_type": "bearer", "expires_in": 3600})
        if self.is_busy:
            return JSONResponse({"message": "later"}, 429, headers={"retry-after": "7"})
        return JSONResponse({"id": "organisation"})


@pytest.fixture
async def url(server: Server) -> AsyncIterator[str]:
    async with serve_app(Starlette(routes=[Route("/{path:path}", server.answer, methods=["GET", "POST"])])) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def server() -> Server:
    return Server()


async def through(run: RunGateway, folder: Path) -> tuple[int, str]:
    """Log in and call as the provider would; return the status, and what a 429 says of when to come back."""
    override = (folder / OVERRIDE_NAME).read_text()
    port = re.search(r'port     = "(\d+)"', override)
    prefix = re.search(r'path_value = "([^"]+)"', override)
    assert port
    assert prefix
    base, placeholder = f"http://127.0.0.1:{port[1]}{prefix[1]}", run.secrets[0]
    shown = Credentials(client_id=PLACEHOLDER_CLIENT, secret=Secret(placeholder))
    async with aiohttp.ClientSession() as http:
        form, headers = {"grant_type": "client_credentials"}, {"Authorization": basic_header(shown)}
        async with http.post(f"{base}/oauth/token", data=form, headers=headers) as answer:
            bearer = (await answer.json())["access_token"]
        async with http.get(f"{base}/api/v2/organizations/me", headers={"Authorization": f"Bearer {bearer}"}) as answer:
            return answer.status, answer.headers.get("retry-after", "")


async def test_a_run_asks_for_its_way_when_it_holds_and_goes_through_it(
    tmp_path: Path, server: Server, url: str
) -> None:
    far = ServerOrganisation(name="acme", region="eu-central-1", url=url)
    need, folder, asked = need_of(tmp_path, 'provider "genesyscloud" {}\n', far), tmp_path / "tree", []
    folder.mkdir()

    async def ask_server(seat: Seat) -> ServersWay:
        asked.append(seat.token)
        return ServersWay(address=f"{url}/gateway/acme/r/way/hush-hush", client_id=PLACEHOLDER_CLIENT, secret="hush-2")

    async def is_current(_token: int) -> bool:
        return True

    store = MemoryRecords(clock=SystemClock())
    run = RunGateway(need, ids=RandomIds(), store=store, is_current=is_current, ask_server=ask_server)
    environ = await run.open("run1", Priority.APPLY, Seat(ticket="run1", token=7), folder)
    try:
        assert await through(run, folder) == (200, "")
        server.is_busy = True
        # What the server held back as long as may be is told to the provider, whose own client waits and asks again.
        assert await through(run, folder) == (429, "7")
    finally:
        await run.close()
    assert asked == [7]
    assert {path for _, path in server.seen} == {
        f"/gateway/acme/r/way/hush-hush/{path}" for path in ("oauth/token", "api/v2/organizations/me")
    }
    assert {"hush-hush", "hush-2"} <= set(run.secrets)
    assert not any("hush" in text for text in ((folder / OVERRIDE_NAME).read_text(), str(environ), str(need)))
    assert await store.list("gateway/") == []  # its budget is the server's


async def test_a_run_whose_server_gives_no_way_is_refused(tmp_path: Path) -> None:
    async def ask_server(_seat: Seat) -> ServersWay:
        raise LeaseLost("it does not hold")

    async def is_current(_token: int) -> bool:
        return True

    need = need_of(tmp_path, 'provider "genesyscloud" {}\n')
    store = MemoryRecords(clock=SystemClock())
    run = RunGateway(need, ids=RandomIds(), store=store, is_current=is_current, ask_server=ask_server)
    with pytest.raises(LeaseLost):
        await run.open("run1", Priority.APPLY, Seat(ticket="run1", token=7), tmp_path)
    await run.close()

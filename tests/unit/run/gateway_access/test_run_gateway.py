"""A run's gateways: one for each client and region, open to that run alone, fenced all together."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable
from interlock.gateway.allotment import Allotment
from interlock.gateway.oauth import Credentials, Secret
from interlock.gateway.service import Terms as GatewayTerms
from interlock.ids import RandomIds
from interlock.lock import Priority
from interlock.run.gateway_access import RunGateway, find_need
from interlock.run.gateway_access.need import Way
from interlock.run.gateway_access.run_gateway import pool_size
from interlock.run.surroundings import Seat
from interlock.run.workspace import OVERRIDE_NAME
from interlock.settings.values import Settings
from interlock.simulator import DEFAULT_CLIENT, Simulation, Terms
from interlock.simulator.asgi import serve
from interlock.simulator.oauth import OAuthClient
from interlock.store.memory import MemoryRecords

OTHER = OAuthClient(id="other", secret="other-secret")
TWO = f"""
terraform {{
  required_providers {{
    genesyscloud = {{ source = "mypurecloud/genesyscloud" }}
  }}
}}
provider "genesyscloud" {{}}
provider "genesyscloud" {{
  alias              = "b"
  aws_region         = "eu-west-2"
  oauthclient_id     = "{OTHER.id}"
  oauthclient_secret = "{OTHER.secret}"
}}
"""
PATH = "/api/v2/organizations/me"


@dataclass
class Scene:
    """An open run gateway before two organisations: ways by the client that may log in there."""

    environ: dict[str, str]
    ways: dict[str, str]
    client: aiohttp.ClientSession
    simulations: tuple[Simulation, Simulation]
    current: bool = True
    gateway: RunGateway = field(init=False)
    given: dict[str, str] = field(default_factory=dict)
    learned: list[str] = field(default_factory=list)

    async def log_in(self, way: str, client_id: str, secret: str) -> tuple[int, str]:
        basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        async with self.client.post(
            f"{way}/oauth/token",
            data={"grant_type": "client_credentials"},
            headers={"Authorization": f"Basic {basic}"},
        ) as answer:
            return answer.status, str((await answer.json()).get("access_token", ""))

    async def call(self, way: str, bearer: str | None = None, method: str = "GET", path: str = PATH) -> int:
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        async with self.client.request(method, way + path, headers=headers) as answer:
            return answer.status


@asynccontextmanager
async def opened(
    tmp_path: Path,
    text: str = TWO,
    *,
    unreachable: str = "",
    allotted: Callable[[], Awaitable[Allotment | None]] | None = None,
) -> AsyncIterator[Scene]:
    (tmp_path / "main.tf").write_text(text)
    tree = tmp_path / "tree"
    tree.mkdir()
    home, other = Simulation(), Simulation(Terms(seed=2, clients=(OTHER,)))
    async with serve(home) as first, serve(other) as second:
        environ = {
            "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
            "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
            "GENESYSCLOUD_REGION": "eu-central-1",
            "INTERLOCK_UPSTREAM_API": first.url,
            "INTERLOCK_UPSTREAM_LOGIN": first.url,
            "INTERLOCK_UPSTREAM_API_EU_WEST_2": second.url,
            "INTERLOCK_UPSTREAM_LOGIN_EU_WEST_2": second.url,
        }
        if unreachable:
            names = [f"INTERLOCK_UPSTREAM_{which}_{unreachable}" for which in ("API", "LOGIN")]
            environ |= dict.fromkeys(names, "http://127.0.0.1:9")
        need = find_need(tmp_path, Settings(home=tmp_path / "home"), environ)
        assert not isinstance(need, str), need
        async with aiohttp.ClientSession() as client:
            scene = Scene(environ, {}, client, (home, other))

            async def is_current(_token: int) -> bool:
                return scene.current

            store = MemoryRecords(clock=SystemClock())
            learn = scene.learned.extend
            asked: dict[str, Any] = {} if allotted is None else {"allotted": allotted, "every_s": 0.01}
            gateway = RunGateway(
                need, ids=RandomIds(), store=store, is_current=is_current, learn=learn, state="prod/a", **asked
            )
            scene.gateway = gateway
            try:
                scene.given = dict(await gateway.open("run1", Priority.APPLY, Seat(ticket="t", token=7), tree))
                override = (tree / OVERRIDE_NAME).read_text()
                scene.gateway = gateway
                scene.ways = dict(zip((DEFAULT_CLIENT.id, OTHER.id), _ways(override), strict=False))
                yield scene
            finally:
                await gateway.close()


def _ways(override: str) -> list[str]:
    found = re.findall(r'port +=+ "(\d+)"\n.*?path_value = "([^"]+)"', override, re.DOTALL)
    return [f"http://127.0.0.1:{port}{prefix}" for port, prefix in found]


@pytest.mark.promise("P11")
async def test_every_client_has_a_way_of_its_own_and_a_token_of_one_is_worth_nothing_on_the_other(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as scene:
        home, other = scene.ways[DEFAULT_CLIENT.id], scene.ways[OTHER.id]
        assert home != other
        status, token = await scene.log_in(home, DEFAULT_CLIENT.id, DEFAULT_CLIENT.secret)
        assert (status, await scene.call(home, token)) == (200, 200)
        assert await scene.call(other, token) == 401
        assert [len(each.journal) > 0 for each in scene.simulations] == [True, True]
        assert [sum(e.path == PATH for e in each.journal) for each in scene.simulations] == [1, 0]


@pytest.mark.promise("P10")
async def test_a_token_that_a_run_is_lent_is_learned_to_be_hidden_and_only_its_own_way_takes_it(tmp_path: Path) -> None:
    async with opened(tmp_path, TWO + 'data "genesyscloud_flow" "f" {}\n') as scene:
        home, other = scene.ways[DEFAULT_CLIENT.id], scene.ways[OTHER.id]
        _, token = await scene.log_in(home, DEFAULT_CLIENT.id, DEFAULT_CLIENT.secret)
        assert scene.learned == [token]
        assert [each.login.knows(token) for each in scene.simulations] == [True, False]
        assert (await scene.call(home, token), await scene.call(other, token)) == (200, 401)
        assert scene.gateway.writes == 0


@pytest.mark.promise("P11")
async def test_a_login_with_another_client_or_secret_is_refused_whatever_the_override_did(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        home = scene.ways[DEFAULT_CLIENT.id]
        for client_id, secret in (
            (OTHER.id, OTHER.secret),
            (DEFAULT_CLIENT.id, "wrong"),
            ("interlock-run", DEFAULT_CLIENT.secret),
            ("", ""),
        ):
            assert await scene.log_in(home, client_id, secret) == (401, "")


@pytest.mark.promise("P11")
async def test_an_access_token_of_the_users_is_never_replaced_silently(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        assert await scene.call(scene.ways[DEFAULT_CLIENT.id], "a-token-of-the-users") == 401
        assert all(entry.path != PATH for each in scene.simulations for entry in each.journal)


@pytest.mark.promise("P10")
async def test_terraform_gets_a_placeholder_for_the_secret_only_where_every_configuration_goes_through_the_gateway(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as scene:
        placeholder = scene.given["GENESYSCLOUD_OAUTHCLIENT_SECRET"]
        assert DEFAULT_CLIENT.secret not in json.dumps(scene.given)
        assert (await scene.log_in(scene.ways[DEFAULT_CLIENT.id], DEFAULT_CLIENT.id, placeholder))[0] == 200
        assert (await scene.log_in(scene.ways[DEFAULT_CLIENT.id], OTHER.id, placeholder))[0] == 401


async def test_a_configuration_that_is_left_alone_keeps_the_real_environment(tmp_path: Path) -> None:
    alone = TWO + 'provider "genesyscloud" {\n  alias = "c"\n  access_token = "t"\n}\n'
    async with opened(tmp_path, alone) as scene:
        assert scene.given == {}
        assert (await scene.log_in(scene.ways[OTHER.id], OTHER.id, OTHER.secret))[0] == 200


@pytest.mark.promise("P8")
async def test_every_call_that_may_change_something_is_counted_also_one_that_was_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        way = scene.ways[OTHER.id]
        token = (await scene.log_in(way, OTHER.id, OTHER.secret))[1]
        await scene.call(way, token)
        assert scene.gateway.writes == 0, "logging in and reading change nothing"
        for count, method in enumerate(("POST", "PUT", "PATCH", "DELETE"), start=1):
            await scene.call(way, token, method, "/api/v2/routing/skills")
            assert scene.gateway.writes == count
        scene.current = False
        await scene.call(way, token, "POST", "/api/v2/routing/skills")
        assert scene.gateway.writes == 5


async def test_writes_are_not_known_where_a_provider_has_a_way_of_its_own(tmp_path: Path) -> None:
    alone = TWO + 'provider "genesyscloud" {\n  alias = "c"\n  access_token = "t"\n}\n'
    async with opened(tmp_path, alone) as scene:
        assert scene.gateway.writes is None


@pytest.mark.promise("P4")
async def test_a_fenced_run_is_refused_on_every_way(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        tokens = {
            OTHER.id: (await scene.log_in(scene.ways[OTHER.id], OTHER.id, OTHER.secret))[1],
            DEFAULT_CLIENT.id: (
                await scene.log_in(scene.ways[DEFAULT_CLIENT.id], DEFAULT_CLIENT.id, DEFAULT_CLIENT.secret)
            )[1],
        }
        scene.current = False
        for name, way in scene.ways.items():
            assert await scene.call(way, tokens[name], "POST", "/api/v2/routing/skills") == 409
        assert all(entry.method != "POST" or "oauth" in entry.path for s in scene.simulations for entry in s.journal)


@pytest.mark.promise("P4")
async def test_a_stranger_without_a_runs_prefix_is_refused_on_every_route(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        for way in scene.ways.values():
            bare = way.partition("/r/")[0]
            guess = way.rpartition("/")[0] + "/7-guess"
            for place in (bare, f"{bare}/c/nightly", guess, f"{bare}/r/run1"):
                for client_id, secret in ((DEFAULT_CLIENT.id, DEFAULT_CLIENT.secret), ("x", "y")):
                    status, token = await scene.log_in(place, client_id, secret)
                    assert (status in {401, 404}, token) == (True, "")
                for path in (PATH, "/healthz", "/readyz", "/metrics", "/", "/oauth/token"):
                    for method in ("GET", "POST", "DELETE"):
                        assert await scene.call(place, "guess", method, path) in {401, 404}, (place, path)
        assert all(entry.path != PATH for each in scene.simulations for entry in each.journal)


LEARNED = TWO.replace(f'"{OTHER.id}"', "var.id") + 'variable "id" {}\n'


@pytest.mark.promise("P11")
async def test_a_client_that_is_learned_is_the_one_that_calls_and_its_token_opens_no_other_way(tmp_path: Path) -> None:
    async with opened(tmp_path, LEARNED) as scene:
        home, other = scene.ways[DEFAULT_CLIENT.id], scene.ways[OTHER.id]
        assert await scene.call(other, "a-token-of-the-users") == 401
        assert await scene.log_in(other, OTHER.id, "wrong") == (401, "")
        status, token = await scene.log_in(other, OTHER.id, OTHER.secret)
        assert (status, await scene.call(other, token), await scene.call(home, token)) == (200, 200, 401)
        assert [sum(e.path == PATH for e in each.journal) for each in scene.simulations] == [0, 1]


@pytest.mark.promise("P11")
async def test_a_client_that_is_learned_is_refused_when_a_plan_was_made_for_another_organisation(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, LEARNED) as scene:
        target = (await scene.gateway.targets())["provider genesyscloud"]
        assert target.organisation
        scene.gateway.expect({"provider genesyscloud.b": target})
        assert await scene.log_in(scene.ways[OTHER.id], OTHER.id, OTHER.secret) == (401, "")


@pytest.mark.promise("P8")
async def test_a_way_whose_login_service_is_never_reached_says_so_in_a_form_that_no_provider_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.gateway.proxy._LOGIN_PATIENCE_S", 1.0)
    async with opened(tmp_path, unreachable="EU_WEST_2") as scene:
        assert (await scene.log_in(scene.ways[OTHER.id], OTHER.id, OTHER.secret))[0] == 400
        assert (await scene.log_in(scene.ways[DEFAULT_CLIENT.id], DEFAULT_CLIENT.id, DEFAULT_CLIENT.secret))[0] == 200


async def test_a_wrong_client_of_one_of_several_ways_is_said_at_its_own_login(tmp_path: Path) -> None:
    text = TWO.replace(OTHER.secret, "wrong")
    async with opened(tmp_path, text) as scene:
        assert (await scene.log_in(scene.ways[OTHER.id], OTHER.id, "wrong"))[0] == 401
        status, _ = await scene.log_in(scene.ways[DEFAULT_CLIENT.id], DEFAULT_CLIENT.id, DEFAULT_CLIENT.secret)
        assert status == 200


@pytest.mark.parametrize("tokens", [1, 10, 30, 50])
def test_the_provider_is_never_given_a_pool_that_some_of_its_versions_refuse(tokens: int) -> None:
    credentials = Credentials(client_id="id", secret=Secret("s"))
    url = "https://api.mypurecloud.de"
    terms = GatewayTerms(api_url=url, login_url=url, credentials=credentials, tokens=tokens)
    assert 1 <= pool_size(Way(terms=terms, logins=())) <= 20


@pytest.mark.promise("P7")
async def test_a_run_sees_a_changed_share_and_keeps_the_last_one_while_nobody_can_be_asked(tmp_path: Path) -> None:
    said: list[Allotment | BackendUnavailable | None] = [Allotment(share=0.3, policy="small")]
    asked, heard = 0, asyncio.Event()

    async def allotted() -> Allotment | None:
        nonlocal asked
        asked += 1
        heard.set()
        if isinstance(said[-1], BackendUnavailable):
            raise said[-1]
        return said[-1]

    async with opened(tmp_path, allotted=allotted) as scene:
        for each in (said[0], Allotment(share=0.1, policy="smaller"), BackendUnavailable("away"), None):
            said.append(each)
            before = asked
            while asked < before + 3:  # so the answer after the change was taken over
                heard.clear()
                await heard.wait()
            wanted = said[-2] if isinstance(each, BackendUnavailable) else each
            assert [gateway._admission.allotments.of("prod/a") for gateway in scene.gateway._open] == [wanted, wanted]

"""The running gateway in front of the simulated organisation, over real sockets, as a provider would use it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import signal
import sys
import wave
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from interlock.errors import AuthenticationFailed, BackendUnavailable
from interlock.gateway import bodies
from interlock.gateway.files import OWN
from interlock.gateway.oauth import Credentials, Secret, basic_header
from interlock.gateway.proxy import Event
from interlock.gateway.rules import Override
from interlock.gateway.service import Address, Gateway, Terms
from interlock.lock import Priority
from interlock.simulator import (
    DEFAULT_CLIENT,
    DEFAULT_LIMITS,
    FaultKind,
    FaultRule,
    Limit,
    LoginLimit,
    OAuthClient,
    Scope,
    Simulation,
    WindowKind,
)
from interlock.simulator import Terms as Organisation
from interlock.simulator.asgi import serve

pytestmark = pytest.mark.e2e

CREDENTIALS = Credentials(client_id=DEFAULT_CLIENT.id, secret=Secret(DEFAULT_CLIENT.secret))


@dataclass(slots=True)
class Site:
    """An organisation, a gateway before it, and a client that opens a connection per request as the provider does."""

    simulation: Simulation
    gateway: Gateway
    address: Address
    client: aiohttp.ClientSession
    events: list[Event]

    def run(self, name: str = "run1", priority: Priority = Priority.APPLY, is_current: Any = lambda _: True) -> str:
        return self.address.url + self.gateway.add_run(name, priority, f"token-of-{name}", is_current)

    async def call(self, method: str, url: str, document: object = None) -> tuple[int, Any]:
        async with self.client.request(method, url, json=document) as answer:
            return answer.status, await answer.json(content_type=None)

    async def patient(self, method: str, url: str, document: object = None) -> tuple[int, Any]:
        """Call as the Go SDK does: wait out every 429 that says for how long, at most 20 times."""
        for _ in range(20):
            async with self.client.request(method, url, json=document) as answer:
                if answer.status != 429:
                    return answer.status, await answer.json(content_type=None)
                wait_s = int(answer.headers["Retry-After"])
                assert 1 <= wait_s <= 180
            await asyncio.sleep(wait_s)
        return 429, None


@contextlib.asynccontextmanager
async def opened(
    organisation: Organisation | None = None,
    *,
    budgets: tuple[Override, ...] = (),
    tokens: int = 2,
    hold_s: float = 8.0,
    credentials: Credentials = CREDENTIALS,
    is_runs_own: bool = False,
    lent: list[str] | None = None,
) -> AsyncIterator[Site]:
    events: list[Event] = []
    simulation = Simulation(organisation or Organisation())
    async with serve(simulation) as served:
        terms = Terms(
            api_url=served.url,
            login_url=served.url,
            credentials=credentials,
            budgets=budgets,
            tokens=tokens,
            hold_s=hold_s,
            runs_only=is_runs_own,
            files=OWN if is_runs_own else None,
            lends_token=lent is not None,
        )
        told: list[str] = [] if lent is None else lent
        gateway = Gateway(terms, report=events.append, lent=told.append)
        address = await gateway.start("127.0.0.1")
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0)) as client:
                yield Site(simulation, gateway, address, client, events)
        finally:
            await gateway.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30.0):
        while not condition():  # noqa: ASYNC110 - what is watched has no event to wait for
            await asyncio.sleep(0.002)


def writes(simulation: Simulation, method: str = "POST", path: str = "/api/v2/routing/skills") -> int:
    return sum(1 for entry in simulation.journal if (entry.method, entry.path) == (method, path))


async def work(site: Site, url: str, workers: int, calls: int) -> Counter[int]:
    """Create, read and delete skills, `calls` times in each of `workers`."""
    statuses: Counter[int] = Counter()

    async def one(worker: int) -> None:
        for number in range(calls):
            status, made = await site.patient(
                "POST", f"{url}/api/v2/routing/skills", {"name": f"{url[-6:]}-{worker}-{number}"}
            )
            statuses[status] += 1
            status, _ = await site.patient("GET", f"{url}/api/v2/routing/skills/{made['id']}")
            statuses[status] += 1

    await asyncio.gather(*(one(worker) for worker in range(workers)))
    return statuses


@pytest.mark.promise("P10")
async def test_a_run_calls_through_its_prefix_and_never_sees_a_real_token() -> None:
    async with opened() as site:
        url = site.run()
        async with site.client.post(
            f"{url}/oauth/token", data={"grant_type": "client_credentials"}, headers={"Authorization": "Basic eDp5"}
        ) as answer:
            login = await answer.json()
        assert login["token_type"] == "bearer"
        assert login["expires_in"] > 7 * 86400
        assert (await site.call("GET", f"{url}/api/v2/organizations/me"))[0] == 200
        assert all(entry.path != "/oauth/token" or entry.status == 200 for entry in site.simulation.journal)
        assert site.simulation.login.granted == 1


@pytest.mark.promise("P10")
async def test_a_run_that_asks_past_the_gateway_is_lent_a_token_that_is_told_first_and_taken_for_its_own() -> None:
    lent: list[str] = []
    async with opened(lent=lent) as site:
        logins = (CREDENTIALS,)
        one, two = (
            site.address.url + site.gateway.add_run(name, Priority.APPLY, name, lambda _: True, logins=logins)
            for name in ("run1", "run2")
        )
        shown = {"Authorization": basic_header(CREDENTIALS)}
        async with site.client.post(
            f"{one}/oauth/token", data={"grant_type": "client_credentials"}, headers=shown
        ) as answer:
            token = (await answer.json())["access_token"]
        assert lent == [token]
        assert site.simulation.login.knows(token)

        async def status(url: str, path: str = "/api/v2/organizations/me") -> int:
            async with site.client.get(url + path, headers={"Authorization": f"Bearer {token}"}) as answer:
                return answer.status

        site.simulation.login.revoke_all()  # the gateway has others by then; what the run shows stays its own
        assert [await status(one), await status(two), await status(f"{site.address.url}/c/other")] == [200, 401, 401]


@pytest.mark.promise("P4")
@pytest.mark.parametrize("is_fenced", [True, False])
async def test_a_lent_token_ends_with_the_run_and_once_the_run_is_fenced(is_fenced: bool) -> None:
    lent: list[str] = []
    current = {"run1": True}
    async with opened(lent=lent) as site:
        url = site.run(is_current=lambda run: current[run])
        shown = {"Authorization": basic_header(CREDENTIALS)}
        form = {"grant_type": "client_credentials"}
        async with site.client.post(f"{url}/oauth/token", data=form, headers=shown) as answer:
            assert [(await answer.json())["access_token"]] == lent
        assert site.simulation.login.knows(lent[0])
        if is_fenced:
            current["run1"] = False
            assert (await site.call("POST", f"{url}/api/v2/routing/skills", {"name": "x"}))[0] == 409
            await until(lambda: not site.simulation.login.knows(lent[0]))
    assert not site.simulation.login.knows(lent[0])
    assert writes(site.simulation, "DELETE", "/api/v2/tokens/me") == 1


async def prompt_resource(site: Site, url: str) -> tuple[str, str]:
    """Make a prompt with one language; return the path of that and where its file goes."""
    prompt = (await site.call("POST", f"{url}/api/v2/architect/prompts", {"name": "Hello"}))[1]["id"]
    path = f"/api/v2/architect/prompts/{prompt}/resources"
    return f"{path}/en-us", (await site.call("POST", url + path, {"language": "en-us"}))[1]["uploadUri"]


async def send_sound(site: Site, address: str, method: str = "POST") -> int:
    """Send a file as the provider does: the token stands alone in its header."""
    with io.BytesIO() as file:
        with wave.open(file, "wb") as written:
            written.setparams((1, 2, 8000, 0, "NONE", ""))
            written.writeframes(b"12" * 400_000)
        form = aiohttp.FormData({"file": io.BytesIO(file.getvalue())})
    async with site.client.request(method, address, data=form, headers={"Authorization": "placeholder"}) as answer:
        return answer.status


@pytest.mark.promise("P10")
async def test_a_runs_file_goes_to_the_address_that_the_api_gave_under_a_token_that_the_run_never_sees() -> None:
    async with opened(is_runs_own=True) as site:
        url = site.run()
        path, address = await prompt_resource(site, url)
        assert address.startswith(f"{url}/files/")
        assert await send_sound(site, address) == 200
        assert (await site.call("GET", url + path))[1]["uploadStatus"] == "transcoded"
        site.simulation.login.revoke_all()
        assert await send_sound(site, address) == 200
        assert [entry.status for entry in site.simulation.journal if "/uploads/" in entry.path] == [200, 401, 200]
        assert {await send_sound(site, address, "PUT"), await send_sound(site, f"{url}/files/other")} == {404}
        assert "/files/" not in (await site.call("GET", url + path))[1]["uploadUri"]  # only who makes one sends a file


@pytest.mark.promise("P4")
async def test_a_fenced_run_sends_no_file() -> None:
    current = {"run1": True}
    async with opened(is_runs_own=True) as site:
        _, address = await prompt_resource(site, site.run(is_current=lambda run: current[run]))
        current["run1"] = False
        assert await send_sound(site, address) == 409
        assert not [entry for entry in site.simulation.journal if "/uploads/" in entry.path]


@pytest.mark.promise("P8")
async def test_more_files_at_once_than_the_gateway_may_hold_are_sent_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bodies, "BODIES_MAX", 4 * 1024 * 1024)  # two of them
    async with opened(is_runs_own=True) as site:
        _, address = await prompt_resource(site, site.run())
        assert await asyncio.gather(*(send_sound(site, address) for _ in range(6))) == [200] * 6
        assert site.gateway._proxy.bodies.held_bytes == 0


async def test_a_named_client_proves_that_it_knows_the_oauth_client() -> None:
    async with opened() as site:
        url = f"{site.address.url}/c/archy"
        form = {"grant_type": "client_credentials"}
        wrong = {"Authorization": aiohttp.encode_basic_auth(DEFAULT_CLIENT.id, "guess")}
        right = {"Authorization": aiohttp.encode_basic_auth(*_pair())}
        async with site.client.post(f"{url}/oauth/token", data=form, headers=wrong) as answer:
            assert answer.status == 401
            assert (await answer.json())["error"] == "invalid_client"
        async with site.client.post(f"{url}/oauth/token", data=form, headers=right) as answer:
            bearer = {"Authorization": f"Bearer {(await answer.json())['access_token']}"}
        async with site.client.get(f"{url}/api/v2/organizations/me", headers=bearer) as answer:
            assert answer.status == 200
        async with site.client.get(f"{site.address.url}/c/other/api/v2/organizations/me", headers=bearer) as answer:
            assert answer.status == 401
        async with site.client.get(f"{site.address.url}/api/v2/organizations/me") as answer:
            assert answer.status == 401


def _pair() -> tuple[str, str]:
    return DEFAULT_CLIENT.id, DEFAULT_CLIENT.secret


@pytest.mark.slow
async def test_the_official_python_sdk_runs_a_session_through_the_gateway() -> None:
    sdk = pytest.importorskip("PureCloudPlatformClientV2")

    def session(port: int) -> list[str]:
        client = sdk.api_client.ApiClient()
        client.set_gateway("127.0.0.1", "http", port, "c/python", "c/python")
        client.get_client_credentials_token(*_pair())
        api = sdk.RoutingApi(client)
        made = api.post_routing_wrapupcodes({"name": "Sale", "division": {"id": "*"}})
        read = api.get_routing_wrapupcode(made.id)
        api.put_routing_wrapupcode(made.id, {"name": "Sold", "division": {"id": "*"}})
        changed = api.get_routing_wrapupcode(made.id)
        api.delete_routing_wrapupcode(made.id)
        try:
            api.get_routing_wrapupcode(made.id)
        except sdk.rest.ApiException as gone:
            return [read.name, changed.name, str(gone.status)]
        return [read.name, changed.name, "still there"]

    async with opened() as site:
        assert await asyncio.to_thread(session, site.address.port) == ["Sale", "Sold", "404"]
        assert {flow.flow for flow in site.gateway.stats().flows} == {"c/python"}


async def test_a_run_outlives_its_tokens() -> None:
    client = OAuthClient(id=DEFAULT_CLIENT.id, secret=DEFAULT_CLIENT.secret, token_life_s=1.0)
    async with opened(Organisation(clients=(client,)), tokens=2) as site:
        url = site.run()
        statuses: Counter[int] = Counter()
        while site.simulation.login.granted < 5:
            statuses[(await site.call("GET", f"{url}/api/v2/organizations/me"))[0]] += 1
            await asyncio.sleep(0.01)
        assert set(statuses) == {200}


async def test_a_run_outlives_its_tokens_though_every_second_login_meets_the_rate_limit() -> None:
    client = OAuthClient(id=DEFAULT_CLIENT.id, secret=DEFAULT_CLIENT.secret, token_life_s=2.0)
    fault = FaultRule(kind=FaultKind.LOGIN_LIMIT, every=2, path="/oauth/token")
    async with opened(Organisation(clients=(client,), faults=(fault,)), tokens=1) as site:
        url = site.run()
        statuses: Counter[int] = Counter()
        while site.simulation.login.granted < 3:
            statuses[(await site.call("GET", f"{url}/api/v2/organizations/me"))[0]] += 1
            await asyncio.sleep(0.02)
        assert set(statuses) == {200}
        assert site.gateway.stats().mint_failures >= 1


async def test_revoked_tokens_are_replaced_and_the_call_is_replayed_once() -> None:
    async with opened() as site:
        url = site.run()
        await site.call("GET", f"{url}/api/v2/organizations/me")
        site.simulation.login.revoke_all()
        status, _ = await site.call("POST", f"{url}/api/v2/routing/skills", {"name": "after"})
        assert status == 200
        assert site.gateway.stats().replayed_401 == 1


async def test_a_refused_oauth_client_is_said_so() -> None:
    wrong = Credentials(client_id=DEFAULT_CLIENT.id, secret=Secret("wrong"))
    async with opened(credentials=wrong, hold_s=0.2) as site:
        with pytest.raises(AuthenticationFailed) as caught:
            await site.gateway.check_login()
        assert "wrong" not in str(caught.value)
        status, document = await site.call("GET", f"{site.run()}/api/v2/organizations/me")
        assert status == 401
        assert "refused" in document["message"]


@pytest.mark.promise("P7")
@pytest.mark.parametrize("kind", list(WindowKind))
async def test_the_organisations_limits_are_never_met_whatever_its_windows(kind: WindowKind) -> None:
    limits = (Limit(key="token", scope=Scope.TOKEN, allowed=60, window_s=20.0, window=kind),)
    budget = Override(name="token", allowed=60, window_s=1.0)
    async with opened(Organisation(limits=limits, speed=20.0), budgets=(budget,), tokens=2) as site:
        statuses = await work(site, site.run(), workers=20, calls=8)
        assert statuses == {200: 320}
        assert site.simulation.statuses[429] == 0


@pytest.mark.promise("P7")
async def test_the_organisation_halves_its_limit_in_the_middle_and_everything_finishes() -> None:
    def limits(allowed: int) -> tuple[Limit, ...]:
        return (Limit(key="org", scope=Scope.ORGANIZATION, allowed=allowed, window_s=20.0), *DEFAULT_LIMITS)

    budgets = (
        Override(name="token", allowed=300, window_s=3.0),
        Override(name="organisation", allowed=200, window_s=1),
    )
    async with opened(Organisation(limits=limits(200), speed=20.0), budgets=budgets, tokens=3) as site:
        task = asyncio.create_task(work(site, site.run(), workers=20, calls=12))
        await until(lambda: site.simulation.statuses[200] >= 150)
        site.simulation.meter.replace(limits(100))
        assert await task == {200: 480}


@pytest.mark.promise("P7")
async def test_a_limit_that_nobody_documented_is_learned_from_refusals() -> None:
    limits = (Limit(key="org", scope=Scope.ORGANIZATION, allowed=40, window_s=20.0),)
    budget = Override(name="token", allowed=300, window_s=1.0)
    async with opened(Organisation(limits=limits, speed=20.0), budgets=(budget,), tokens=1) as site:
        assert await work(site, site.run(), workers=10, calls=8) == {200: 160}
        assert site.simulation.statuses[429] <= 12


@pytest.mark.promise("P7")
async def test_a_storm_of_429s_without_retry_after_fails_nobody() -> None:
    storm = FaultRule(kind=FaultKind.TOO_MANY, times=2, path="/api/v2/")
    async with opened(Organisation(faults=(storm,)), hold_s=0.3) as site:
        status, _ = await site.patient("GET", f"{site.run()}/api/v2/organizations/me")
        assert status == 200


async def test_a_request_that_cannot_go_in_time_is_told_when_to_come_back() -> None:
    budget = Override(name="token", allowed=2, window_s=60.0)
    async with opened(budgets=(budget,), tokens=1, hold_s=0.2) as site:
        url = f"{site.run()}/api/v2/organizations/me"
        assert [(await site.call("GET", url))[0] for _ in range(1)] == [200]
        async with site.client.get(url) as answer:
            document = await answer.json()
            assert answer.status == 429
            assert document["code"] == "too.many.requests.retry.after"
            assert 20 <= int(answer.headers["Retry-After"]) <= 60


@pytest.mark.promise("P4")
async def test_a_fenced_run_changes_nothing_and_the_refusal_is_reported() -> None:
    current = {"run1": True}
    async with opened() as site:
        url = site.run(is_current=lambda run: current[run])
        assert (await site.call("POST", f"{url}/api/v2/routing/skills", {"name": "before"}))[0] == 200
        current["run1"] = False
        status, document = await site.call("POST", f"{url}/api/v2/routing/skills", {"name": "after"})
        assert status == 409
        assert document["code"] == "interlock.fenced"
        assert writes(site.simulation) == 1
        assert site.events == [Event(kind="fenced", run="run1", method="POST", path="/api/v2/routing/skills")]
        assert site.gateway.stats().fenced == 1


@pytest.mark.promise("P4")
async def test_a_run_that_is_fenced_while_its_call_waits_is_refused_when_its_turn_comes() -> None:
    current = {"run1": True}

    async def is_current(run: str) -> bool:
        return current[run]

    budget = Override(name="token", allowed=15, window_s=3.0)
    async with opened(budgets=(budget,), tokens=1) as site:
        url = site.run(is_current=is_current)
        await site.call("GET", f"{url}/api/v2/organizations/me")
        task = asyncio.create_task(site.call("POST", f"{url}/api/v2/routing/skills", {"name": "late"}))
        await until(lambda: site.gateway.stats().waiting["apply"] > 0)
        current["run1"] = False
        assert (await task)[0] == 409
        assert writes(site.simulation) == 0


@pytest.mark.promise("P4")
async def test_a_call_is_not_sent_while_nobody_can_tell_whether_its_run_holds_the_lock() -> None:
    def unknown(_: str) -> bool:
        raise BackendUnavailable("the store is down")

    async with opened() as site:
        status, document = await site.call(
            "POST", f"{site.run(is_current=unknown)}/api/v2/routing/skills", {"name": "x"}
        )
        assert status == 503
        assert "nothing was sent" in document["message"]
        assert writes(site.simulation) == 0


async def test_a_mistake_of_the_gateway_is_json_and_does_not_invite_a_repetition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened() as site:
        url = f"{site.run()}/api/v2/routing/skills"
        await site.gateway.check_login()

        def broken(*_: object) -> None:
            raise RuntimeError("a mistake")

        monkeypatch.setattr(site.gateway._proxy, "_finished", broken)
        status, document = await site.call("POST", url, {"name": "x"})
        assert (status, document["code"]) == (424, "interlock.outcome.unknown")


@pytest.mark.promise("P4")
async def test_late_calls_of_a_run_that_is_over_are_fenced_and_strangers_are_forbidden() -> None:
    async with opened() as site:
        url = site.run()
        site.gateway.remove_run("run1")
        assert (await site.call("GET", f"{url}/api/v2/organizations/me"))[0] == 409
        assert (await site.call("GET", f"{site.address.url}/r/run1/guess/api/v2/organizations/me"))[0] == 401


async def test_a_write_whose_reply_is_lost_is_sent_once_and_said_to_be_unknown() -> None:
    lost = FaultRule(kind=FaultKind.LOST_REPLY, method="POST", times=1, path="/api/v2/")
    async with opened(Organisation(faults=(lost,))) as site:
        status, document = await site.call("POST", f"{site.run()}/api/v2/routing/skills", {"name": "once"})
        assert status == 424
        assert document["code"] == "interlock.outcome.unknown"
        assert writes(site.simulation) == 1


@pytest.mark.parametrize("kind", [FaultKind.LOST_REPLY, FaultKind.RESET, FaultKind.SERVER_ERROR])
async def test_a_read_survives_lost_replies_and_server_errors(kind: FaultKind) -> None:
    fault = FaultRule(kind=kind, method="GET", times=2, path="/api/v2/", status=503)
    async with opened(Organisation(faults=(fault,))) as site:
        assert (await site.call("GET", f"{site.run()}/api/v2/organizations/me"))[0] == 200
        assert site.gateway.stats().retries == 2


async def test_an_answer_that_is_no_json_is_passed_on_as_it_is() -> None:
    fault = FaultRule(kind=FaultKind.NOT_JSON, times=1, path="/api/v2/", status=500)
    async with (
        opened(Organisation(faults=(fault,))) as site,
        site.client.get(f"{site.run()}/api/v2/organizations/me") as answer,
    ):
        assert answer.status == 500
        assert "html" in answer.headers["Content-Type"]


async def test_a_write_whose_client_gave_up_is_not_done_twice_when_it_comes_back() -> None:
    slow = FaultRule(kind=FaultKind.HANG, method="POST", times=1, path="/api/v2/", seconds=0.5)
    async with opened(Organisation(faults=(slow,))) as site:
        url = f"{site.run()}/api/v2/routing/skills"
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(site.call("POST", url, {"name": "slow"}), 0.1)
        status, made = await site.call("POST", url, {"name": "slow"})
        assert (status, made["name"]) == (200, "slow")
        assert writes(site.simulation) == 1
        assert site.gateway.stats().adopted_writes == 1


async def test_identical_reads_at_once_share_one_call() -> None:
    slow = FaultRule(kind=FaultKind.HANG, method="GET", times=1, path="/organizations/me", seconds=0.3)
    async with opened(Organisation(faults=(slow,))) as site:
        url = f"{site.run()}/api/v2/organizations/me"
        answers = await asyncio.gather(*(site.call("GET", url) for _ in range(10)))
        assert {status for status, _ in answers} == {200}
        assert site.simulation.statuses[200] - site.simulation.login.granted < 10
        assert site.gateway.stats().shared_reads >= 1


@pytest.mark.promise("P7")
async def test_an_apply_is_served_before_a_drift_scan_that_was_there_first() -> None:
    # So few that both always wait for the budget, however slow the machine is: drift got 10 of them so, and 61 without
    # weights.
    limits = (Limit(key="token", scope=Scope.TOKEN, allowed=20, window_s=20.0),)
    budget = Override(name="token", allowed=20, window_s=1.0)
    async with opened(Organisation(limits=limits, speed=20.0), budgets=(budget,), tokens=1) as site:
        drift = asyncio.create_task(work(site, site.run("drift", Priority.DRIFT), workers=30, calls=10))
        await until(lambda: site.gateway.stats().sent >= 10)
        before = next(flow.served for flow in site.gateway.stats().flows if flow.flow == "r/drift")
        await work(site, site.run("apply"), workers=10, calls=3)
        done = {flow.flow: flow.served for flow in site.gateway.stats().flows}
        assert done["r/apply"] == 60
        assert done["r/drift"] - before < 40
        drift.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await drift


async def test_closing_lets_calls_under_way_end() -> None:
    slow = FaultRule(kind=FaultKind.HANG, method="GET", times=1, path="/api/v2/", seconds=0.3)
    async with opened(Organisation(faults=(slow,))) as site:
        task = asyncio.create_task(site.call("GET", f"{site.run()}/api/v2/organizations/me"))
        await until(lambda: site.gateway.stats().in_flight > 0)
        await site.gateway.aclose()
        assert (await task)[0] == 200


async def test_probes_tell_of_life_and_of_tokens() -> None:
    async with opened() as site:
        await site.gateway.check_login()
        assert await site.call("GET", f"{site.address.url}/healthz") == (200, {"status": "ok"})
        assert (await site.call("GET", f"{site.address.url}/readyz"))[0] == 200


async def test_the_login_service_is_asked_at_a_pace() -> None:
    limit = LoginLimit(allowed=3, window_s=60.0)
    async with opened(Organisation(login_limit=limit), tokens=10) as site:
        for _ in range(3):
            await site.call("GET", f"{site.run()}/api/v2/organizations/me")
        assert site.simulation.login.granted == 1
        assert urlsplit(site.address.url).hostname == "127.0.0.1"


async def test_the_organisations_own_limits_are_asked_for_once_the_budget_is_what_people_wait_for() -> None:
    limits = (Limit(key="client.credentials.token.rate.per.minute", scope=Scope.TOKEN, allowed=600),)
    async with opened(Organisation(limits=limits), tokens=1) as site:
        url = site.run()
        await site.call("GET", f"{url}/api/v2/organizations/me")
        assert site.gateway.stats().budgets[0].allowed in {300, 600}
        await work(site, url, workers=15, calls=2)
        assert site.gateway.stats().budgets[0].allowed == 600
        assert sum("limits" in entry.path for entry in site.simulation.journal) == 1


async def test_the_gateway_reads_for_the_doctor_within_the_budgets() -> None:
    async with opened() as site:
        await site.gateway.check_login()
        status, body = await site.gateway.read("/api/v2/organizations/me")
        assert status == 200
        assert b"defaultCountryCode" in body


PROVIDER = """
import json, sys, urllib.error, urllib.request
for number in range(10_000):
    body = json.dumps({"name": f"zombie-{number}"}).encode()
    request = urllib.request.Request(sys.argv[1], data=body, headers={"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=16).read()
    except urllib.error.HTTPError as error:
        print(error.code, flush=True)
        break
"""


@pytest.mark.promise("P4")
async def test_a_provider_that_was_stopped_and_wakes_up_after_recovery_changes_nothing() -> None:
    current = {"run1": True}
    async with opened(budgets=(Override(name="token", allowed=100_000, window_s=60.0),)) as site:
        url = f"{site.run(is_current=lambda run: current[run])}/api/v2/routing/skills"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROVIDER, url, stdout=asyncio.subprocess.PIPE
        )
        await until(lambda: writes(site.simulation) >= 5)
        child.send_signal(signal.SIGSTOP)
        await until(lambda: site.gateway.stats().in_flight == 0)
        await asyncio.sleep(0.1)  # whatever it had on its way has arrived
        current["run1"] = False  # recovery broke its lock; a newer token is granted
        before = writes(site.simulation)
        child.send_signal(signal.SIGCONT)
        out, _ = await child.communicate()
        assert out.strip() == b"409"
        assert writes(site.simulation) == before
        assert {event.kind for event in site.events} == {"fenced"}

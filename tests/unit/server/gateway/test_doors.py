"""Runs of several machines go through the gateways of one server: real HTTP, the strict simulated organisation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from msgspec import Struct
from starlette.applications import Starlette

from interlock.api.organisations import NewOrganisation, Placeholder
from interlock.clock import SystemClock
from interlock.compose.gateways import gateway_routes
from interlock.coordinator.local import LocalCoordinator
from interlock.errors import LeaseLost, UsageError
from interlock.gateway.allotment import Allotment
from interlock.gateway.oauth import Credentials, Secret, basic_header
from interlock.ids import RandomIds
from interlock.lock import Broken, Priority, Released, Requested
from interlock.policy import Policy
from interlock.policy.policy_book import PolicyBook
from interlock.rights import Right, Role, may
from interlock.rights.token import Forbidden
from interlock.server.api.judging import signed
from interlock.server.gateway.book import OrganisationBook
from interlock.server.gateway.doors import GatewayDoors
from interlock.server.gateway.organisation import PLACEHOLDER_CLIENT
from interlock.server.gateway.way import WAYS
from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import serve, serve_app
from interlock.store.namespaced import NamespacedRecords
from interlock.store.opening import Store, open_store
from interlock.store.sealing import master_key
from interlock.store.vault import with_encryption

STATE = "prod/routing"
SKILLS = "/api/v2/routing/skills"


class Somebody(Struct, frozen=True):
    key: str

    @property
    def who(self) -> str:
        return f"token ({self.key})"

    def check(self, right: Right, state: str) -> None:
        assert may(Role.RUNNER, "**", right, state)


ANNA, BOB = Somebody("a"), Somebody("b")


class Server:
    """One replica: its doors and where they are."""

    def __init__(
        self, doors: GatewayDoors, coordinator: LocalCoordinator, url: str, http: aiohttp.ClientSession
    ) -> None:
        self.doors = doors
        self.coordinator = coordinator
        self.url = url
        self.http = http

    async def hold(self, ticket: str, *, priority: Priority = Priority.APPLY, state: str = STATE) -> int:
        asked = Requested(ticket=ticket, who=signed("", ANNA), lease_s=60.0, patience_s=40.0, priority=priority)
        await self.coordinator.apply_event(state, asked)
        (holder,) = (await self.coordinator.view(state)).lock.holders
        assert holder.ticket == ticket
        return holder.token

    async def way(
        self,
        ticket: str,
        token: int,
        *,
        caller: Somebody = ANNA,
        state: str = STATE,
        allotment: Allotment | None = None,
    ) -> Placeholder:
        return await self.doors.give(caller, state, beside=False, ticket=ticket, token=token, allotment=allotment)

    async def press(self, way: Placeholder, calls: int) -> None:
        """Call as quickly as the gateway lets."""
        bearer = {"Authorization": f"Bearer {(await self.log_in(way))[1]['access_token']}"}
        left = iter(range(calls))

        async def work() -> None:
            for number in left:
                while True:
                    target = f"{self.url}{way.path}{SKILLS}/{way.secret[:8]}-{number}"
                    async with self.http.get(target, headers=bearer) as answer:
                        if answer.status == 404:
                            break
                        assert answer.status == 429, await answer.text()
                        assert "this state may use 25 % of the API budget (policy quarter)" in await answer.text()
                    await asyncio.sleep(float(answer.headers["Retry-After"]))

        await asyncio.gather(*(work() for _ in range(12)))

    def allotted(self, state: str) -> Allotment | None:
        return self.doors._gateways["acme"].gateway._admission.allotments.of(state)

    async def log_in(self, way: Placeholder, *, client: str = "", secret: str = "") -> tuple[int, dict[str, Any]]:
        shown = Credentials(client_id=client or way.client_id, secret=Secret(secret or way.secret))
        form, headers = {"grant_type": "client_credentials"}, {"Authorization": basic_header(shown)}
        async with self.http.post(f"{self.url}{way.path}/oauth/token", data=form, headers=headers) as answer:
            return answer.status, await answer.json()

    async def call(self, way: Placeholder, method: str, path: str, *, token: str = "", body: object = None) -> int:
        token = token or (await self.log_in(way))[1].get("access_token", "")
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.request(method, f"{self.url}{way.path}{path}", headers=headers, json=body) as answer:
            await answer.read()
            return answer.status


@asynccontextmanager
async def serving(store: Store) -> AsyncIterator[Server]:
    async with AsyncExitStack() as stack:
        coordinator = LocalCoordinator(store.records, SystemClock(), RandomIds())
        doors = GatewayDoors(
            OrganisationBook(store, SystemClock()),
            store,
            policies=PolicyBook(store.records),
            own=coordinator,
            beside=LocalCoordinator(NamespacedRecords(store.records, "beside/"), SystemClock(), RandomIds()),
            clock=SystemClock(),
            ids=RandomIds(),
        )
        await doors.begin()
        stack.push_async_callback(doors.close)
        port = await stack.enter_async_context(serve_app(Starlette(routes=gateway_routes(doors))))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Server(doors, coordinator, f"http://127.0.0.1:{port}", http)


@pytest.fixture
async def simulation() -> AsyncIterator[tuple[Simulation, str]]:
    made = Simulation()
    async with serve(made) as served:
        yield made, served.url


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(str(tmp_path / "interlock.db"), clock=SystemClock())
    yield await with_encryption(opened, [master_key(bytes(range(32)))], clock=SystemClock())
    await opened.close()


@pytest.fixture
async def server(store: Store, simulation: tuple[Simulation, str]) -> AsyncIterator[Server]:
    await keep(store, simulation[1])
    async with serving(store) as found:
        yield found


async def keep(store: Store, url: str, *, secret: str = DEFAULT_CLIENT.secret, budgets: tuple[str, ...] = ()) -> None:
    asked = NewOrganisation(
        name="acme",
        region="us-east-1",
        client_id=DEFAULT_CLIENT.id,
        secret=secret,
        states=["prod/**"],
        budgets=list(budgets),
    )
    await OrganisationBook(store, SystemClock()).add(asked, by="ada", upstream=(url, url))


T = TypeVar("T")


def calls_of(simulation: Simulation) -> int:
    """Return how many calls reached the API; the gateway logs in for itself."""
    return sum(1 for entry in simulation.journal if entry.path.startswith("/api/"))


async def until(ask: Callable[[], Awaitable[T]], good: Callable[[T], bool]) -> None:
    for _ in range(1000):
        if good(await ask()):
            return
        await asyncio.sleep(0.02)  # another task follows the store
    raise AssertionError("it never came so far")


@pytest.mark.promise("P10")
async def test_a_run_calls_the_organisation_with_a_placeholder_and_never_sees_the_secret(
    server: Server, simulation: tuple[Simulation, str]
) -> None:
    way = await server.way("run1", await server.hold("run1"))
    status, answer = await server.log_in(way)
    assert status == 200
    assert await server.call(way, "GET", "/api/v2/organizations/me", token=answer["access_token"]) == 200
    assert await server.call(way, "POST", SKILLS, token=answer["access_token"], body={"name": "a"}) == 200
    assert DEFAULT_CLIENT.secret not in f"{way.path} {way.secret} {way} {answer}"
    assert (way.client_id, way.region, way.reads_only) == (PLACEHOLDER_CLIENT, "us-east-1", False)


@pytest.mark.promise("P4")
async def test_a_fenced_run_is_refused_at_its_next_call(server: Server, simulation: tuple[Simulation, str]) -> None:
    token = await server.hold("run1")
    way = await server.way("run1", token)
    bearer = (await server.log_in(way))[1]["access_token"]
    assert await server.call(way, "GET", SKILLS, token=bearer) == 200
    before = calls_of(simulation[0])
    broken = Broken(ticket="run1", token=token, by="recovery", reason="gone")
    await server.coordinator.apply_event(STATE, broken)
    for method in ("POST", "GET", "DELETE"):
        assert await server.call(way, method, f"{SKILLS}/x", token=bearer) == 409
    told = server.doors.numbers()
    assert (told["interlock_gateway_fenced_total"], told["interlock_gateway_sent_total"]) == (3, 1)
    server.doors._shut("acme")
    assert server.doors.numbers() == told  # a total never falls
    assert (await server.log_in(way))[0] in {401, 409}
    assert calls_of(simulation[0]) == before


@pytest.mark.promise("P4")
async def test_a_placeholder_ends_with_the_release_also_when_its_run_holds_again(server: Server) -> None:
    token = await server.hold("run1")
    way = await server.way("run1", token)
    await server.coordinator.apply_event(STATE, Released(ticket="run1", token=token))
    assert await server.call(way, "GET", SKILLS, token="anything") in {401, 409}
    with pytest.raises(LeaseLost, match="does not hold"):
        await server.way("run1", token)
    newer = await server.way("run2", await server.hold("run2"))
    assert await server.call(newer, "GET", SKILLS) == 200
    assert (await server.log_in(way))[0] in {401, 409}


@pytest.mark.promise("P4")
async def test_a_run_that_holds_to_plan_changes_nothing(server: Server, simulation: tuple[Simulation, str]) -> None:
    way = await server.way("run1", await server.hold("run1", priority=Priority.PLAN))
    assert way.reads_only
    bearer = (await server.log_in(way))[1]["access_token"]
    assert await server.call(way, "GET", SKILLS, token=bearer) == 200
    for method, path in (("POST", SKILLS), ("PUT", f"{SKILLS}/x"), ("PATCH", f"{SKILLS}/x"), ("DELETE", f"{SKILLS}/x")):
        assert await server.call(way, method, path, token=bearer, body={"name": "a"}) == 403
    assert not [entry for entry in simulation[0].journal if entry.method in {"PUT", "PATCH", "DELETE"}]


@pytest.mark.promise("P10")
async def test_a_stranger_and_a_neighbour_get_nothing(server: Server, simulation: tuple[Simulation, str]) -> None:
    token = await server.hold("run1")
    way = await server.way("run1", token)
    before = calls_of(simulation[0])
    run = way.path.split("/")[4]
    for path in (
        f"/gateway/acme/r/{run}/guessed",
        f"/gateway/other/r/{run}/{way.secret}",
        "/gateway/acme/r/nobody/guessed",
        "/gateway/acme",
        "/gateway/acme/c/name",
    ):
        stranger = Placeholder(
            organisation="acme", region="", path=path, client_id="c", secret=way.secret, reads_only=False
        )
        assert await server.call(stranger, "GET", SKILLS, token="guessed") in {401, 404}
        assert (await server.log_in(stranger))[0] in {401, 404}
    assert await server.call(way, "GET", SKILLS, token="guessed") == 401
    assert (await server.log_in(way, client="another"))[0] == 401
    assert (await server.log_in(way, secret="another"))[0] == 401
    with pytest.raises(Forbidden, match="another's"):
        await server.way("run1", token, caller=BOB)
    assert calls_of(simulation[0]) == before


@pytest.mark.promise("P11")
async def test_a_state_of_no_organisation_gets_no_way(server: Server) -> None:
    token = await server.hold("run1", state="dev/app")
    with pytest.raises(UsageError, match="belongs to no organisation"):
        await server.way("run1", token, state="dev/app")
    assert (await server.doors.tell("dev/app")).organisation == ""
    assert (await server.doors.tell(STATE)).organisation == "acme"


class OddIds(RandomIds):
    """Ids whose secrets begin as one in 32 does."""

    def secret(self) -> str:
        return f"-_{super().secret()}"


async def test_a_way_is_one_whatever_its_secret_begins_with(store: Store, simulation: tuple[Simulation, str]) -> None:
    await keep(store, simulation[1])
    async with serving(store) as server:
        server.doors._ids = OddIds()
        way = await server.way("run1", await server.hold("run1"))
        assert await server.call(way, "GET", SKILLS) == 200


async def test_every_replica_knows_a_way_that_another_gave(server: Server, store: Store) -> None:
    way = await server.way("run1", await server.hold("run1"))
    bearer = (await server.log_in(way))[1]["access_token"]
    async with serving(store) as other:
        assert await other.call(way, "GET", SKILLS, token=bearer) == 200


async def test_a_rotated_secret_is_taken_at_once_and_a_removed_organisation_is_shut(
    store: Store, simulation: tuple[Simulation, str]
) -> None:
    await keep(store, simulation[1], secret="wrong")
    book = OrganisationBook(store, SystemClock())
    async with serving(store) as server:
        way = await server.way("run1", await server.hold("run1"))
        assert (await server.log_in(way))[0] == 401
        await book.rotate("acme", secret=DEFAULT_CLIENT.secret)
        await until(lambda: server.log_in(way), lambda found: found[0] == 200)
        assert await server.call(way, "GET", SKILLS) == 200
        bearer = (await server.log_in(way))[1]["access_token"]
        await book.remove("acme")
        await until(lambda: server.call(way, "GET", SKILLS, token=bearer), lambda found: found == 401)


async def test_ways_of_grants_that_ended_are_cleared_away(server: Server, store: Store) -> None:
    token = await server.hold("run1")
    await server.way("run1", token)
    await server.coordinator.apply_event(STATE, Released(ticket="run1", token=token))
    server.doors._swept_s -= 10_000
    await server.way("run2", await server.hold("run2"))
    assert len(await store.records.list(WAYS)) == 1


QUARTER = Policy(name="quarter", states=STATE, api_budget_share=0.25)


def most_in_a_window(simulation: Simulation, way: Placeholder, window_s: float) -> int:
    at = [each.elapsed_s for each in simulation.journal if way.secret[:8] in each.path]
    return max(sum(begin <= each < begin + window_s for each in at) for begin in at)


@pytest.mark.promise("P7")
async def test_a_states_runs_take_no_more_than_their_share_of_the_servers_budget_and_others_get_the_rest(
    store: Store, simulation: tuple[Simulation, str]
) -> None:
    await PolicyBook(store.records).replace((QUARTER,))
    await keep(store, simulation[1], budgets=("organisation=60/3s",))
    async with serving(store) as server:
        capped = await server.way("run1", await server.hold("run1"))
        other = await server.way("run2", await server.hold("run2", state="prod/b"), state="prod/b")
        await asyncio.gather(server.press(capped, 45), server.press(other, 90))
    assert most_in_a_window(simulation[0], capped, 3.0) <= 15
    assert most_in_a_window(simulation[0], other, 3.0) > 15
    assert simulation[0].statuses[429] == 0


@pytest.mark.promise("P7")
async def test_a_gateway_sees_a_changed_share_while_a_run_goes_on(server: Server, store: Store) -> None:
    way = await server.way("run1", await server.hold("run1"))
    assert await server.call(way, "GET", SKILLS) == 200
    book = PolicyBook(store.records)
    assert server.allotted(STATE) is None
    for share in (0.25, 0.5, None):
        await book.replace((Policy(name="quarter", states="prod/*", api_budget_share=share),))
        wanted = None if share is None else Allotment(share=share, policy="quarter")

        async def told() -> Allotment | None:
            return server.allotted(STATE)

        await until(told, lambda found: found == wanted)  # noqa: B023 - it is awaited here


@pytest.mark.promise("P7")
async def test_policies_beside_a_run_tighten_the_servers_share_and_never_loosen_it(
    server: Server, store: Store
) -> None:
    await PolicyBook(store.records).replace((QUARTER,))
    for number, (share, holds) in enumerate(((0.1, 0.1), (0.9, 0.25), (None, 0.25))):
        ticket = f"run{number}"
        token = await server.hold(ticket)
        told = None if share is None else Allotment(share=share, policy="repository")
        way = await server.way(ticket, token, allotment=told)
        assert await server.call(way, "GET", SKILLS) == 200
        found = server.allotted(STATE)
        assert found is not None
        assert found.share == holds
        await server.coordinator.apply_event(STATE, Released(ticket=ticket, token=token))

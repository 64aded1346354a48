"""Runs of several machines share the budget of one organisation through `interlock serve`: one server, or replicas."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from interlock.api.books import ToldPolicies
from interlock.api.organisations import AskedPlaceholder, Placeholder
from interlock.clock import SystemClock
from interlock.gateway.oauth import Credentials, Secret, basic_header
from interlock.home.line import Line
from interlock.home.server_coordinator import ServerCoordinator
from interlock.ids import RandomIds
from interlock.lock import Requested
from interlock.policy import Policy
from interlock.settings.values import Secret as Hidden
from interlock.simulator import DEFAULT_CLIENT, Limit, Scope, Simulation, WindowKind
from interlock.simulator import Terms as Organisation
from interlock.simulator.asgi import serve
from interlock.store.sealing import spell_key
from interlock.testing.postgres import PostgresServer, why_not

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.promise("P7")]

TOKEN = "e2e-server-token-of-the-gateway"
ALLOWED, WINDOW_S, FOR_S, WORKERS = 200, 20.0, 60.0, 10
LIMIT = Limit(key="org", scope=Scope.ORGANIZATION, allowed=ALLOWED, window_s=WINDOW_S, window=WindowKind.SLIDING)


@dataclass
class Servers:
    """Replicas of one store before one simulated organisation."""

    simulation: Simulation
    addresses: list[str] = field(default_factory=list)
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    def used(self, since_s: float, for_s: float) -> float:
        """Return which share of the limit was used in a stretch of time after the first call."""
        at = sorted(entry.elapsed_s for entry in self.simulation.journal if entry.status == 404)
        begin = at[0] + since_s
        return sum(1 for each in at if begin <= each < begin + for_s) / (ALLOWED * for_s / WINDOW_S)


@asynccontextmanager
async def servers(folder: Path, url: str, replicas: int) -> AsyncIterator[Servers]:
    simulation = Simulation(Organisation(limits=(LIMIT,)))
    environ = {
        **os.environ,
        "INTERLOCK_TOKEN": TOKEN,
        "INTERLOCK_ENCRYPTION_KEY": spell_key(bytes(range(32))),
        "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
        "INTERLOCK_HOME": str(folder / "operator"),
    }
    made = Servers(simulation)
    async with serve(simulation) as served:
        limits = ("--budget", f"organisation={ALLOWED}/{WINDOW_S:g}s", "--budget", "token=10000/1s")
        upstream = ("--upstream-api", served.url, "--upstream-login", served.url, "--store", url)
        words = ("organisation", "add", "acme", "--region", "us-east-1", "--client-id", DEFAULT_CLIENT.id)
        adding = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "interlock", *words, "--states", "**", *limits, *upstream), env=environ
        )
        assert await adding.wait() == 0
        for number in range(replicas):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "interlock", "serve", "--listen", "127.0.0.1:0", "--store", url, "--json"),
                env={**environ, "INTERLOCK_HOME": str(folder / f"home{number}")},
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            made.addresses.append(json.loads(await process.stdout.readline())["address"])
            made.processes.append(process)
        try:
            yield made
        finally:
            for process in made.processes:
                if process.returncode is None:
                    process.terminate()
                await process.wait()


async def press(made: Servers, name: str, address: str, for_s: float, *more: str) -> None:
    """Hold a state as one home, and call the organisation through the server as quickly as it lets.

    Its calls go to that address, and in turns to the others that are named.
    """
    clock = SystemClock()
    line = Line(address, Hidden(value=TOKEN), clock)
    queue = ServerCoordinator(line, clock, RandomIds())
    asked = Requested(ticket=name, run=name, who=name, lease_s=600.0, patience_s=60.0)
    await queue.apply_event(f"prod/{name}", asked)
    (holder,) = (await queue.view(f"prod/{name}")).lock.holders
    way: Placeholder = await line.ask_for(
        Placeholder,
        "POST",
        "/gateway/placeholder",
        {"state": f"prod/{name}"},
        sends=AskedPlaceholder(ticket=name, token=holder.token),
    )
    await line.close()
    made.done[name] = 0
    until_s = clock.monotonic() + for_s
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        shown = Credentials(client_id=way.client_id, secret=Secret(way.secret))
        headers = {"Authorization": basic_header(shown)}
        form = {"grant_type": "client_credentials"}
        async with http.post(f"{address}{way.path}/oauth/token", data=form, headers=headers) as answer:
            bearer = {"Authorization": f"Bearer {(await answer.json())['access_token']}"}

        async def worker(number: int) -> None:
            count = 0
            while clock.monotonic() < until_s:
                count += 1
                to = (address, *more)[number % (1 + len(more))]
                path = f"{to}{way.path}/api/v2/routing/skills/{name}-{number}-{count}"
                try:
                    async with http.get(path, headers=bearer) as answer:
                        made.done[name] += answer.status == 404
                        wait_s = float(answer.headers.get("Retry-After", 0))
                except aiohttp.ClientError:
                    return  # its server was killed
                await asyncio.sleep(wait_s)

        await asyncio.gather(*(worker(number) for number in range(WORKERS)))


def check(made: Servers, used: float) -> None:
    assert made.simulation.statuses[429] == 0
    # Seen: 1.0, also on a busy machine (load 14), which carries this rate. That it is 0.98 in each window, wherever the
    # two are, is shown in virtual time (tests/simulation/test_shared_budget.py); divided by homes it would be a half.
    assert used >= 0.9
    assert min(made.done.values()) >= 0.45 * sum(made.done.values())


async def test_two_homes_share_one_budget_exactly_and_neither_is_kept_to_half_of_it(tmp_path: Path) -> None:
    async with servers(tmp_path, str(tmp_path / "server.db"), 1) as made:
        await asyncio.gather(*(press(made, name, made.addresses[0], FOR_S) for name in ("a", "b")))
        check(made, made.used(WINDOW_S, FOR_S - WINDOW_S))


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
async def test_two_replicas_share_one_budget_and_that_of_a_killed_one_comes_back(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with servers(tmp_path, f"{postgres.url}&schema=gateway", 2) as made:
        both = [asyncio.create_task(press(made, n, made.addresses[at], FOR_S)) for at, n in enumerate(("a", "b"))]
        await asyncio.gather(*both)
        check(made, made.used(WINDOW_S, FOR_S - WINDOW_S))
        # What a killed replica had drawn and not used counts until its window is over; it is a sixtieth of one at most.
        made.simulation.journal.clear()
        dying = asyncio.create_task(press(made, "c", made.addresses[0], FOR_S))
        living = asyncio.create_task(press(made, "d", made.addresses[1], FOR_S + WINDOW_S))
        await asyncio.sleep(WINDOW_S)
        made.processes[0].kill()
        await dying
        await living
        assert made.simulation.statuses[429] == 0
        assert made.used(2 * WINDOW_S, 2 * WINDOW_S) >= 0.6


SHARE = 0.3


async def say_policy(address: str) -> None:
    """Leave the runs of `prod/a` their share."""
    line = Line(address, Hidden(value=TOKEN), SystemClock())
    policies = [Policy(name="small", states="prod/a", api_budget_share=SHARE)]
    await line.ask_for(ToldPolicies, "PUT", "/policies", sends=ToldPolicies(policies=tuple(policies)))
    await line.close()


def most_in_a_window(made: Servers, name: str) -> int:
    at = [entry.elapsed_s for entry in made.simulation.journal if f"/{name}-" in entry.path]
    return max(sum(begin <= each < begin + WINDOW_S for each in at) for begin in at)


async def hold_to_a_share(made: Servers) -> None:
    """Let a run with a share call through every replica, first alone and then beside another."""
    await say_policy(made.addresses[0])
    await press(made, "a", made.addresses[0], 2 * WINDOW_S, *made.addresses[1:])
    alone = made.done["a"]
    both = (
        press(made, "a", made.addresses[0], FOR_S, *made.addresses[1:]),
        press(made, "b", made.addresses[-1], FOR_S),
    )
    await asyncio.gather(*both)
    assert made.simulation.statuses[429] == 0
    assert most_in_a_window(made, "a") <= SHARE * ALLOWED
    assert alone >= 0.8 * SHARE * ALLOWED * 2
    assert made.done["a"] >= 0.8 * SHARE * ALLOWED * FOR_S / WINDOW_S
    assert made.done["b"] >= 0.8 * (1 - SHARE) * ALLOWED * FOR_S / WINDOW_S


async def test_a_run_takes_no_more_than_its_states_share_of_a_servers_budget(tmp_path: Path) -> None:
    async with servers(tmp_path, str(tmp_path / "server.db"), 1) as made:
        await hold_to_a_share(made)


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
async def test_replicas_hold_a_states_share_together(tmp_path: Path, postgres: PostgresServer) -> None:
    async with servers(tmp_path, f"{postgres.url}&schema=share", 2) as made:
        await hold_to_a_share(made)

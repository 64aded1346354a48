"""Two processes of one machine, each with a gateway of its own, share one organisation's budget through SQLite."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from interlock.simulator import Limit, Scope, Simulation, WindowKind
from interlock.simulator import Terms as Organisation
from interlock.simulator.asgi import serve

pytestmark = pytest.mark.e2e

CHILD = """
import asyncio, sys
from pathlib import Path
import aiohttp
from interlock.clock import SystemClock
from interlock.gateway.allotment import Allotment
from interlock.gateway.oauth import Credentials, Secret
from interlock.gateway.rules import Override
from interlock.gateway.service import Gateway, Terms
from interlock.lock import Priority
from interlock.simulator import DEFAULT_CLIENT
from interlock.store.sqlite import SqliteStore

async def main(url, database, name, calls, window_s, allowed="100", class_="APPLY", state="", share="1"):
    store = await SqliteStore.open(Path(database), clock=SystemClock())
    credentials = Credentials(client_id=DEFAULT_CLIENT.id, secret=Secret(DEFAULT_CLIENT.secret))
    budgets = (
        Override(name="token", allowed=10_000, window_s=1.0),
        Override(name="organisation", allowed=int(allowed), window_s=float(window_s)),
    )
    terms = Terms(api_url=url, login_url=url, credentials=credentials, budgets=budgets, tokens=1)
    gateway = Gateway(terms, store=store.records)
    gateway.allot(state, Allotment(share=float(share)))
    address = await gateway.start("127.0.0.1")
    prefix = gateway.add_run(name, Priority[class_], "tok", lambda _: True, state=state)
    statuses = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:
        async def worker(number):
            for call in range(int(calls)):
                while True:
                    target = f"{address.url}{prefix}/api/v2/routing/skills/{name}-{number}-{call}"
                    async with client.get(target) as answer:
                        if answer.status != 429:
                            statuses.append(answer.status)
                            break
                    await asyncio.sleep(float(answer.headers["Retry-After"]))
        await asyncio.gather(*(worker(number) for number in range(10)))
    assert statuses == [404] * len(statuses)
    await gateway.aclose()
    await store.close()
    print(len(statuses))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    "kind", [pytest.param(each, marks=[] if each is WindowKind.SLIDING else pytest.mark.slow) for each in WindowKind]
)
async def test_two_processes_stay_within_one_organisations_limit_and_use_it(tmp_path: Path, kind: WindowKind) -> None:
    limit = Limit(key="org", scope=Scope.ORGANIZATION, allowed=100, window_s=1.0, window=kind)
    simulation = Simulation(Organisation(limits=(limit,)))
    database = tmp_path / "interlock.db"
    async with serve(simulation) as served:
        children = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                CHILD,
                served.url,
                str(database),
                name,
                "16",
                "1.0",
                stdout=asyncio.subprocess.PIPE,
            )
            for name in ("a", "b")
        ]
        printed = [await child.communicate() for child in children]
    assert [out.strip() for out, _ in printed] == [b"160", b"160"]
    assert simulation.statuses[404] == 320
    assert simulation.statuses[429] == 0
    at = sorted(entry.elapsed_s for entry in simulation.journal if entry.status == 404)
    assert at[-1] - at[0] < 60  # 320 calls at 100 a second; seen 4 to 24 s on a busy machine (load 16)


@pytest.mark.slow
@pytest.mark.promise("P7")
async def test_an_apply_and_a_drift_scan_in_two_processes_share_by_their_weights(tmp_path: Path) -> None:
    simulation = Simulation(
        Organisation(limits=(Limit(key="org", scope=Scope.ORGANIZATION, allowed=25, window_s=1.0),))
    )
    async with serve(simulation) as served:
        children = {
            class_: await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", CHILD, served.url, str(tmp_path / "interlock.db")),
                *(class_, calls, "1.0", "20", class_),
                stdout=asyncio.subprocess.PIPE,
            )
            for class_, calls in (("DRIFT", "1000"), ("APPLY", "10"))
        }
        out, _ = await children["APPLY"].communicate()
        children["DRIFT"].kill()
        await children["DRIFT"].communicate()
    assert out.strip() == b"100"
    assert simulation.statuses[429] == 0
    paths = [entry.path.rpartition("/")[2] for entry in simulation.journal if entry.status == 404]
    first = next(number for number, path in enumerate(paths) if path.startswith("APPLY"))
    drift = sum(1 for path in paths[first:] if path.startswith("DRIFT"))
    assert drift <= 40  # one in eight, and what went while the apply had nothing to ask


@pytest.mark.promise("P7")
async def test_two_processes_of_one_state_hold_its_share_together_and_a_third_has_the_rest(tmp_path: Path) -> None:
    limit = Limit(key="org", scope=Scope.ORGANIZATION, allowed=60, window_s=3.0, window=WindowKind.SLIDING)
    simulation = Simulation(Organisation(limits=(limit,)))
    async with serve(simulation) as served:
        children = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", CHILD, served.url, str(tmp_path / "interlock.db")),
                *(name, calls, "3.0", "60", class_, state, share),
                stdout=asyncio.subprocess.PIPE,
            )
            for name, calls, class_, state, share in (
                ("ours-a", "3", "APPLY", "prod/a", "0.3"),
                ("ours-b", "2", "PLAN", "prod/a", "0.3"),
                ("other", "12", "DRIFT", "prod/b", "1"),
            )
        ]
        printed = [await child.communicate() for child in children]
    assert [out.strip() for out, _ in printed] == [b"30", b"20", b"120"]
    assert simulation.statuses[429] == 0
    most = {}
    for kind in ("ours", "other"):
        at = [entry.elapsed_s for entry in simulation.journal if f"/{kind}-" in entry.path]
        most[kind] = max(sum(begin <= each < begin + 3.0 for each in at) for begin in at)
    assert most["ours"] <= 18
    assert most["other"] > 18  # the drift scan of another state is not kept to it

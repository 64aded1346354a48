"""Runners on different machines, each with a home of its own, share one limit beside their state on S3."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest
from tests.desk import Desk
from tests.e2e.test_runs_elsewhere import PLACES, root
from tests.s3_desk import LOCKFILE_ONLY, TABLE_ONLY, S3Desk

from interlock.simulator import DEFAULT_CLIENT, Limit, Scope, Simulation, WindowKind
from interlock.simulator import Terms as Organisation
from interlock.simulator.asgi import Served, serve, serve_in_thread
from interlock.simulator.oauth import OAuthClient
from interlock.simulator.provider.install import install
from interlock.testing.aws import LocalAws

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P7")]

OTHER = OAuthClient(id="b2c3d4e5-0000-4000-8000-00000000000b", secret="other", name="Other")
WINDOW_S, ALLOWED, FOR_S = 12.0, 120, 48.0

CHILD = """
import asyncio, sys
from pathlib import Path
import aiohttp
from interlock.clock import SystemClock
from interlock.gateway.oauth import Credentials, Secret
from interlock.gateway.rules import Override
from interlock.gateway.service import Gateway, Terms
from interlock.gateway.sharing import LedgerPlace
from interlock.ids import RandomIds
from interlock.lock import Priority
from interlock.site.s3_queue import SharedClock
from interlock.store.aws import AwsAccess, connect
from interlock.store.s3 import S3Place, S3Records
from interlock.store.sqlite import SqliteStore

async def main(url, home, bucket, endpoint, client, secret, for_s, allowed, window_s, priority):
    clock = SystemClock()
    store = await SqliteStore.open(Path(home) / "own.db", clock=clock)
    client_of_s3 = connect("s3", AwsAccess(region="us-east-1", endpoints={"s3": endpoint}, path_style=True))
    records = S3Records(client_of_s3, place=S3Place(bucket=bucket), clock=clock, ids=RandomIds())
    common = LedgerPlace(records=records, clock=SharedClock(records.server_time_s, clock), is_far=True)
    budgets = (
        Override(name="token", allowed=10_000, window_s=1.0),
        Override(name="organisation", allowed=int(allowed), window_s=float(window_s)),
    )
    credentials = Credentials(client_id=client, secret=Secret(secret))
    terms = Terms(api_url=url, login_url=url, credentials=credentials, budgets=budgets, tokens=1)
    gateway = Gateway(terms, store=store.records, common=common if bucket != "-" else None)
    address = await gateway.start("127.0.0.1")
    prefix = gateway.add_run("r", Priority[priority], "tok", lambda _: True)
    done, until_s = 0, clock.monotonic() + float(for_s)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        async def worker(number):
            nonlocal done
            while clock.monotonic() < until_s:
                async with http.get(f"{address.url}{prefix}/api/v2/routing/skills/{number}") as answer:
                    done += answer.status == 404
                    wait_s = float(answer.headers.get("Retry-After", 0))
                await asyncio.sleep(wait_s)
        await asyncio.gather(*(worker(number) for number in range(10)))
    swaps = gateway.stats().shared_swaps
    await gateway.aclose()
    await store.close()
    print(done, swaps)

asyncio.run(main(*sys.argv[1:]))
"""


async def two_homes(tmp_path: Path, aws: LocalAws, priorities: tuple[str, str]) -> tuple[list[int], list[int], int]:
    """Let two homes call with two clients for `FOR_S`; return calls and swaps of each, and how many were refused."""
    limit = Limit(key="org", scope=Scope.ORGANIZATION, allowed=ALLOWED, window_s=WINDOW_S, window=WindowKind.SLIDING)
    simulation = Simulation(Organisation(limits=(limit,), clients=(DEFAULT_CLIENT, OTHER)))
    bucket = aws.new_bucket()
    async with serve(simulation) as served:
        children = []
        for number, client in enumerate((DEFAULT_CLIENT, OTHER)):
            home = tmp_path / str(number)
            home.mkdir()
            words = (served.url, home, bucket, aws.url, client.id, client.secret, FOR_S, ALLOWED, WINDOW_S)
            children.append(
                await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    CHILD,
                    *map(str, words),
                    priorities[number],
                    stdout=asyncio.subprocess.PIPE,
                    env=dict(aws.environment),
                )
            )
        printed = [(await child.communicate())[0].split() for child in children]
    done, swaps = ([int(words[at]) for words in printed] for at in (0, 1))
    return done, swaps, simulation.statuses[429]


@pytest.mark.slow
async def test_two_homes_with_one_bucket_and_two_clients_stay_within_the_organisations_limit_and_use_most_of_it(
    tmp_path: Path, aws: LocalAws
) -> None:
    done, swaps, refused = await two_homes(tmp_path, aws, ("APPLY", "APPLY"))
    assert refused == 0
    assert sum(done) >= 0.6 * ALLOWED * FOR_S / WINDOW_S
    assert min(done) >= 0.25 * sum(done)
    assert sum(swaps) <= 5 * FOR_S  # some more when the machine is busy and the homes take longer to end


@pytest.mark.slow
async def test_an_apply_and_a_drift_scan_in_two_homes_share_by_their_weights_and_nobody_is_refused(
    tmp_path: Path, aws: LocalAws
) -> None:
    done, _, refused = await two_homes(tmp_path, aws, ("APPLY", "DRIFT"))
    assert refused == 0
    assert sum(done) >= 0.6 * ALLOWED * FOR_S / WINDOW_S
    assert done[0] >= 5 * done[1], done  # 8 to 1, but while one of them starts or ends the other has everything


ONE_SKILL = (
    'terraform {\n  required_providers {\n    genesyscloud = { source = "mypurecloud/genesyscloud" }\n  }\n}\n'
    'resource "genesyscloud_routing_skill" "a" {\n  name = "a"\n}\n'
)
LIMITED = 'version: 1\ngateway:\n  budgets:\n    organisation: "300/60s"\n'


def lead_to(organisation: Served, folder: Path) -> dict[str, str]:
    """Return the environment of a run whose provider is the simulated one, and its API the given one."""
    return {
        "TF_CLI_CONFIG_FILE": str(install(folder / "plugin", speed=1000)),
        "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
        "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
        "GENESYSCLOUD_REGION": "us-east-1",
        "INTERLOCK_UPSTREAM_API": organisation.url,
        "INTERLOCK_UPSTREAM_LOGIN": organisation.url,
    }


@pytest.mark.parametrize("locking", [TABLE_ONLY, pytest.param(LOCKFILE_ONLY, marks=pytest.mark.slow)])
def test_a_run_on_s3_draws_from_the_ledger_beside_its_queue(tmp_path: Path, aws: LocalAws, locking: str) -> None:
    with serve_in_thread(Simulation()) as organisation:
        desk = S3Desk(tmp_path, aws)
        desk.environ |= lead_to(organisation, tmp_path)
        module = desk.root(locking, text=ONE_SKILL)
        (module / "interlock.yaml").write_text(LIMITED)
        applied = desk.run("apply", module, "--auto-approve")
        assert applied.code == 0, applied.err
        counts = desk.journal(kind="gateway")[-1].facts
        assert counts["sent"] > 0
        assert 0 < counts["shared_swaps"] <= 10
        ours = "interlock:budgets:gateway/" if locking == TABLE_ONLY else ".interlock/records/gateway/"
        found = [*desk.items(), *(each["Key"] for each in aws.s3.list_objects_v2(Bucket=desk.bucket)["Contents"])]
        assert sum(name.startswith(ours) for name in found) == 1, found
        desk.close()


def test_a_run_on_s3_draws_its_states_share_from_the_ledger_beside_its_queue(tmp_path: Path, aws: LocalAws) -> None:
    with serve_in_thread(Simulation()) as organisation:
        desk = S3Desk(tmp_path, aws)
        desk.environ |= lead_to(organisation, tmp_path)
        module = desk.root(LOCKFILE_ONLY, text=ONE_SKILL)
        policy = 'policies:\n  - name: small\n    states: "**"\n    api_budget_share: 0.3\n'
        (module / "interlock.yaml").write_text(LIMITED + policy)
        applied = desk.run("apply", module, "--auto-approve")
        assert applied.code == 0, applied.err
        assert "this state may use 30 % of the API budget (policy small)" in applied.err + applied.out
        keys = [each["Key"] for each in aws.s3.list_objects_v2(Bucket=desk.bucket)["Contents"]]
        (ours,) = [key for key in keys if key.startswith(".interlock/records/gateway/")]
        stored = aws.s3.get_object(Bucket=desk.bucket, Key=ours)["Body"].read()
        (part,) = re.findall(rb'"share:([^"]+):organisation":\{"allowed":(\d+)', stored)
        assert part[1] == b"90"
        desk.close()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["azurerm", "consul", "gcs", "kubernetes", "pg"])
def test_a_run_elsewhere_draws_from_the_ledger_beside_its_queue(tmp_path: Path, where: str) -> None:
    with serve_in_thread(Simulation()) as organisation, PLACES[where](tmp_path) as place:
        desk = Desk(tmp_path)
        module = root(desk, place, text=ONE_SKILL)
        desk.environ |= lead_to(organisation, tmp_path)
        (module / "interlock.yaml").write_text(LIMITED)
        applied = desk.run("apply", module, "--auto-approve")
        assert applied.code == 0, applied.err
        counts = desk.journal(kind="gateway")[-1].facts
        assert counts["sent"] > 0
        assert 0 < counts["shared_swaps"] <= 10
        desk.close()

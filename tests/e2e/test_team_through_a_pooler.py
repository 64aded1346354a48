"""A team at two servers whose PostgreSQL is behind PgBouncer: all that a server has, in both of the pooler's modes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from tests.desk import Desk
from tests.replicas import answer, lock_body
from tests.team import STEP_S, TOKEN, TeamServer, a_team

from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.provider.install import install
from interlock.store.sealing import spell_key
from interlock.testing.postgres import PostgresServer, pooler, why_no_pooler

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_no_pooler()), reason=why_no_pooler() or "-"),
]

SKILLS = (
    'terraform {{\n  backend "http" {{}}\n  required_providers {{\n'
    '    genesyscloud = {{ source = "mypurecloud/genesyscloud" }}\n  }}\n}}\n'
    'resource "genesyscloud_routing_skill" "each" {{\n  count = 6\n  name  = "{name}-${{count.index}}"\n}}\n'
)
MODES = {
    "session": ("session", ""),
    "transaction, listening past it": ("transaction", "&prepared=off&listen=127.0.0.1:{port}"),
    "transaction, not listening": ("transaction", "&prepared=off&listen=off"),
}
Team = tuple[list[TeamServer], list[Desk], Served]


@pytest.fixture(params=list(MODES))
def team(
    request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Team]:
    mode, words = MODES[request.param]
    monkeypatch.setenv("INTERLOCK_ENCRYPTION_KEY", spell_key(bytes(range(32))))
    with (
        pooler(postgres, mode=mode, size=3 if mode == "transaction" else 20) as port,
        serve_in_thread(Simulation()) as organisation,
    ):
        through = postgres.url.replace(f":{postgres.port}/", f":{port}/")
        store = f"{through}&schema=s{uuid.uuid4().hex[:12]}{words.format(port=postgres.port)}"
        with a_team(tmp_path, laptops=2, store=store) as (first, desks):
            second = TeamServer(tmp_path / "server2", store)
            second.start()
            desks[1].environ["INTERLOCK_SERVER"] = second.url
            for desk in desks:
                desk.environ["TF_CLI_CONFIG_FILE"] = str(install(desk.folder / "plugin", speed=1000))
            try:
                yield [first, second], desks, organisation
            finally:
                second.end()


def add(server: TeamServer, organisation: Served) -> None:
    upstream = ("--upstream-api", organisation.url, "--upstream-login", organisation.url)
    words = ("--region", "us-east-1", "--client-id", DEFAULT_CLIENT.id, "--states", "team/**", *upstream)
    environ = {"INTERLOCK_HOME": str(server.home), "INTERLOCK_ENCRYPTION_KEY": spell_key(bytes(range(32)))}
    subprocess.run(
        [sys.executable, "-m", "interlock", "organisation", "add", "acme", "--store", str(server.store), *words],
        env={**os.environ, **environ}, input=DEFAULT_CLIENT.secret, text=True, check=True, timeout=STEP_S,
    )  # fmt: skip


def module(desk: Desk, name: str) -> Path:
    return desk.module(name, SKILLS.format(name=name))


@pytest.mark.promise("P7")
@pytest.mark.promise("P8")
def test_everything_of_a_team_works_behind_a_pooler(team: Team) -> None:
    (first, second), (anna, bob), organisation = team
    add(first, organisation)
    made = anna.run("token", "create", "--role", "operator", "--json")
    assert made.code == 0, made.err
    bob.environ["INTERLOCK_TOKEN"] = made.document["token"]
    policies = anna.folder / "policies.yaml"
    policies.write_text('{"policies": [{"name": "production", "states": "team/a", "approvals": 1}]}')
    assert anna.run("policies", "set", policies).code == 0

    # Approvals: asked at one server, given at the other.
    words = ("--auto-approve", "--first-apply", "--state")
    asked = anna.run("apply", module(anna, "a"), *words, "team/a", "--json")
    assert asked.code == 41, asked.err
    request = asked.document["approval"]
    decided = bob.run("approve", request, "--reason", "seen")
    assert decided.code == 0, decided.err

    # Slices of one budget: both apply at once, each at a server of its own, without a credential.
    applying = anna.start("apply", "--run", request)
    beside = bob.start("apply", module(bob, "b"), *words, "team/b", "--json")
    applied = applying.wait()
    assert applied.code == 0, applied.err
    assert beside.wait().code == 0, beside.wait().err
    assert len(organisation.simulation.snapshot()["skill"]) == 12
    assert organisation.simulation.statuses[429] == 0

    # The run book: what a run told one server is read at the other.
    run = beside.wait().document["run"]
    followed = anna.run("runs", "logs", "-f", run)
    assert followed.code == 0, followed.err
    assert "code=success" in followed.out.splitlines()[-1]
    assert {each["run"] for each in bob.run("runs", "ls", "--json").document["runs"]} >= {run, request}

    # The queue: a waiter at one server is granted when the holder unlocks at the other, also after that one was killed.
    assert answer(ask(first, "LOCK", "holder", "?wait=0"))[0] == 200
    waiting = ask(second, "LOCK", "waiter", "?wait=60s")
    first.end(signal.SIGKILL)
    first.start()
    assert answer(ask(first, "UNLOCK", "holder"))[0] == 200
    assert answer(waiting)[0] == 200
    assert anna.run("audit", "verify").code == 0
    for server in (first, second):  # who looks only is told so; in the other modes the database tells
        assert f"interlock_listening {int('listen=off' not in str(server.store))}\n" in metrics(server)


def metrics(server: TeamServer) -> str:
    request = Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urlopen(request, timeout=STEP_S) as told:
        text: str = told.read().decode()
        return text


def ask(server: TeamServer, method: str, lock_id: str, query: str = "") -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=STEP_S)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    connection.request(method, f"/state/other/queue{query}", lock_body(lock_id), headers)
    return connection

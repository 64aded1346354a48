"""`interlock apply` at a server that keeps the organisation's OAuth client: nobody else has it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import Desk
from tests.team import TeamServer, a_team

from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.provider.install import install
from interlock.store.sealing import spell_key

pytestmark = pytest.mark.e2e

SKILL = (
    'terraform {{\n  backend "http" {{}}\n  required_providers {{\n'
    '    genesyscloud = {{ source = "mypurecloud/genesyscloud" }}\n  }}\n}}\n'
    'resource "genesyscloud_routing_skill" "{name}" {{\n  name = "{name}"\n}}\n'
)


@pytest.fixture
def organisation() -> Iterator[Served]:
    with serve_in_thread(Simulation()) as served:
        yield served


@pytest.fixture
def team(
    tmp_path: Path, organisation: Served, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[TeamServer, list[Desk]]]:
    monkeypatch.setenv("INTERLOCK_ENCRYPTION_KEY", spell_key(bytes(range(32))))
    for name in ("ID", "SECRET"):
        monkeypatch.delenv(f"GENESYSCLOUD_OAUTHCLIENT_{name}", raising=False)
    with a_team(tmp_path, laptops=2) as (server, desks):
        monkeypatch.delenv("INTERLOCK_ENCRYPTION_KEY")
        _add(tmp_path / "server", organisation)
        for desk in desks:
            desk.environ.pop("INTERLOCK_ENCRYPTION_KEY", None)
            desk.environ["TF_CLI_CONFIG_FILE"] = str(install(desk.folder / "plugin", speed=1000))
        yield server, desks


def _add(home: Path, organisation: Served) -> None:
    upstream = ("--upstream-api", organisation.url, "--upstream-login", organisation.url)
    words = ("--region", "us-east-1", "--client-id", DEFAULT_CLIENT.id, "--states", "team/**")
    subprocess.run(
        [sys.executable, "-m", "interlock", "organisation", "add", "acme", *words, *upstream],
        env={
            **os.environ,
            "INTERLOCK_HOME": str(home),
            "HOME": str(home),
            "INTERLOCK_ENCRYPTION_KEY": spell_key(bytes(range(32))),
        },
        input=DEFAULT_CLIENT.secret,
        text=True,
        check=True,
        timeout=60,
    )


def module(desk: Desk, name: str) -> Path:
    folder = desk.folder / name
    folder.mkdir()
    (folder / "main.tf").write_text(SKILL.format(name=name))
    return folder


@pytest.mark.promise("P10")
@pytest.mark.promise("P7")
def test_two_laptops_apply_without_any_credential_of_the_organisation(
    team: tuple[TeamServer, list[Desk]], organisation: Served
) -> None:
    _, desks = team
    for desk, name in zip(desks, ("a", "b"), strict=True):
        words = ("--auto-approve", "--first-apply", "--state", f"team/{name}")
        applied = desk.run("apply", module(desk, name), *words)
        assert applied.code == 0, applied.err
        assert "organisation acme" in applied.err + applied.out
    skills = [each for each in organisation.simulation.journal if each.path == "/api/v2/routing/skills"]
    assert [each.status for each in skills if each.method == "POST"] == [200, 200]
    assert organisation.simulation.statuses[429] == 0
    for desk in desks:
        kept = [file for file in desk.folder.rglob("*") if file.is_file() and "plugin" not in file.parts]
        assert not any(DEFAULT_CLIENT.secret.encode() in file.read_bytes() for file in kept)


@pytest.mark.promise("P8")
def test_what_would_ask_past_the_gateways_is_refused_before_anything_is_changed(
    team: tuple[TeamServer, list[Desk]], organisation: Served
) -> None:
    _, (anna, bob) = team
    looking, writing = module(anna, "a"), module(bob, "b")
    with (looking / "main.tf").open("a") as file:
        file.write('data "genesyscloud_flow" "f" {\n  name = "Main"\n  type = "inboundcall"\n}\n')
    planned = anna.run("plan", looking, "--state", "team/a")
    assert planned.code == 3, planned.err
    assert "data.genesyscloud_flow.f cannot work at this server; nothing was planned" in planned.err
    with (writing / "main.tf").open("a") as file:
        file.write('resource "genesyscloud_script" "s" {\n  script_name = "S"\n  filepath    = "s.json"\n}\n')
    applied = bob.run("apply", writing, "--auto-approve", "--first-apply", "--state", "team/b")
    assert applied.code == 3, applied.err
    assert "genesyscloud_script.s cannot work at this server; nothing was changed" in applied.err
    assert [
        each.path for each in organisation.simulation.journal if each.method == "POST" and "/api/" in each.path
    ] == []


@pytest.mark.slow
@pytest.mark.promise("P4")
def test_a_plan_reads_through_the_server_and_changes_nothing(
    team: tuple[TeamServer, list[Desk]], organisation: Served
) -> None:
    _, (anna, _) = team
    planned = anna.run("plan", module(anna, "a"), "--state", "team/a")
    assert planned.code == 0, planned.err
    writes = [each for each in organisation.simulation.journal if each.method != "GET" and each.path[:5] == "/api/"]
    assert writes == []


@pytest.mark.slow
@pytest.mark.promise("P11")
def test_a_state_of_no_organisation_and_an_environment_of_another_region_do_not_get_there(
    team: tuple[TeamServer, list[Desk]], organisation: Served
) -> None:
    _, (anna, bob) = team
    before = len(organisation.simulation.journal)
    words = ("--auto-approve", "--first-apply", "--state")
    assert anna.run("apply", module(anna, "a"), *words, "other/a").code != 0
    wrong = bob.run("apply", module(bob, "b"), *words, "team/b", environ={"GENESYSCLOUD_REGION": "eu-west-1"})
    assert wrong.code == 3, wrong.err
    assert "acme" in wrong.err
    assert len(organisation.simulation.journal) == before


@pytest.mark.slow
@pytest.mark.promise("P11")
def test_organisations_are_those_of_the_server_that_is_named_and_never_of_this_machine(
    team: tuple[TeamServer, list[Desk]],
) -> None:
    anna = team[1][0]
    assert [each["name"] for each in anna.run("organisation", "ls", "--json").document["organisations"]] == ["acme"]
    more = ("--region", "us-east-1", "--client-id", "c", "--states", "x/**", "--no-check")
    added = anna.run("organisation", "add", "more", *more, environ={"GENESYSCLOUD_OAUTHCLIENT_SECRET": "hush"})
    assert added.code == 0, added.err
    assert anna.run("organisation", "remove", "more").code == 0
    assert anna.run("organisation", "remove", "more").code == 3
    assert anna.run("encryption", "status").code == 3
    assert not (anna.home / "interlock.db").exists()

"""Approvals at a server: one token asks, another one decides, a third machine may apply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.desk import Desk
from tests.team import TeamServer, a_team

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

Team = tuple[TeamServer, list[Desk]]
ONE = 'resource "terraform_data" "one" { input = "1" }\n'


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    with a_team(tmp_path, laptops=2) as (server, desks):
        yield server, desks


def person(server: TeamServer, desk: Desk) -> None:
    """Give somebody a token of their own: with the server's own token all are one person."""
    environ = {"INTERLOCK_HOME": str(server.home), "INTERLOCK_SERVER": "", "INTERLOCK_TOKEN": ""}
    made = desk.run("token", "create", "--role", "operator", "--json", environ=environ)
    assert made.code == 0, made.err
    desk.environ["INTERLOCK_TOKEN"] = made.document["token"]


def says(desk: Desk, **said: Any) -> None:
    file = desk.folder / "policies.yaml"
    file.write_text(json.dumps({"policies": [{"name": "production", **said}]}))
    told = desk.run("policies", "set", file)
    assert told.code == 0, told.err


@pytest.mark.promise("P8")
def test_one_asks_and_another_one_approves_at_the_server(team: Team) -> None:
    server, (anna, bob) = team
    says(anna, approvals=1)
    person(server, bob)
    module = anna.module(text=ONE)
    asked = anna.apply_plain(module, "--json")
    assert asked.code == 41, asked.err
    request = asked.document["approval"]
    own = anna.run("approve", request, "--reason", "mine")
    assert (own.code, "may not approve" in own.err) == (41, True), own.err
    assert bob.run("approvals", "ls", "--json").document["approvals"][0]["id"] == request
    decided = bob.run("approve", request, "--reason", "looks fine")
    assert decided.code == 0, decided.err
    applied = anna.run("apply", "--run", request)
    assert applied.code == 0, applied.err
    again = anna.run("apply", "--run", request)
    assert (again.code, "acted on it" in again.err) == (41, True), again.err
    entries = anna.run("audit", "ls", "--json").document["entries"]
    assert [entry["action"] for entry in entries][-3:] == ["approval-asked", "approved", "approval-used"]
    exported = anna.run("audit", "export")
    assert len(exported.out.splitlines()) == len(entries) + 1
    assert anna.run("audit", "verify").code == 0


@pytest.mark.promise("P8")
def test_a_pipeline_whose_token_was_made_at_the_store_needs_one_approval(team: Team) -> None:
    server, (pipeline, bob) = team
    says(pipeline, approvals=1)
    person(server, pipeline)
    person(server, bob)
    request = pipeline.apply_plain(pipeline.module(text=ONE), "--json").document["approval"]
    own = pipeline.run("approve", request, "--reason", "mine")
    assert (own.code, "they asked for it" in own.err) == (41, True), own.err
    decided = bob.run("approve", request, "--reason", "looks fine")
    assert decided.code == 0, decided.err
    assert pipeline.run("apply", "--run", request).code == 0


@pytest.mark.promise("P5")
def test_two_persons_push_a_state_at_the_server(team: Team) -> None:
    server, (anna, bob) = team
    says(anna, two_persons=True)
    person(server, bob)
    file = anna.folder / "pushed.tfstate"
    file.write_text(
        json.dumps(
            {"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}, "resources": []}
        )
    )
    refused = anna.run("state", "push", file, "--state", "s")
    assert (refused.code, "another person must agree" in refused.err) == (41, True), refused.err
    request = refused.err.split("interlock approve ")[1].split()[0]
    assert anna.run("approve", request, "--reason", "mine").code == 41
    assert bob.run("approve", request, "--reason", "seen").code == 0
    assert anna.run("state", "push", file, "--state", "s").code == 0

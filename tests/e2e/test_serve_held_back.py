"""A real plain Terraform at a server whose policies hold changes back."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import STEP_S, Desk
from tests.program import unwrapped
from tests.team import TOKEN, TeamServer, a_team

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STATE = "prod/app"


@pytest.fixture
def team(tmp_path: Path) -> Iterator[tuple[TeamServer, Desk]]:
    with a_team(tmp_path, laptops=1) as (server, desks):
        yield server, desks[0]


def _says(desk: Desk, **said: object) -> None:
    file = desk.folder / "policies.yaml"
    file.write_text(json.dumps({"policies": [{"name": "production", "states": "prod/**", **said}]}))
    told = desk.run("policies", "set", file)
    assert told.code == 0, told.err


class _Root:
    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        address = f"{url}/state/{STATE}"
        ways = "".join(f'    {key} = "{address}"\n' for key in ("address", "lock_address", "unlock_address"))
        block = f'terraform {{\n  backend "http" {{\n{ways}    username = "ann"\n  }}\n}}\n'
        folder.mkdir()
        folder.joinpath("main.tf").write_text(block + 'resource "terraform_data" "one" {\n  input = "1"\n}\n')

    def begin(self, *words: str) -> subprocess.Popen[str]:
        environ = {**os.environ, "TF_HTTP_PASSWORD": TOKEN, "TF_IN_AUTOMATION": "1"}
        command = ["terraform", *words, "-input=false", "-no-color"]
        return subprocess.Popen(
            command, cwd=self._folder, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self, *words: str) -> tuple[int, str]:
        process = self.begin(*words)
        said, _ = process.communicate(timeout=STEP_S)
        return process.returncode, said


@pytest.mark.promise("P2")
def test_a_real_terraform_plans_in_a_freeze_waits_with_its_apply_and_reads_why(
    team: tuple[TeamServer, Desk], tmp_path: Path
) -> None:
    server, desk = team
    root = _Root(tmp_path / "root", server.url)
    _says(desk, freezes=[{"reason": "Black Friday"}])
    code, said = root.run("init")
    assert code == 0, said
    code, said = root.run("plan")
    assert code == 0, said
    code, said = root.run("apply", "-auto-approve")
    assert (code, "policy production: frozen: Black Friday" in unwrapped(said)) == (1, True), said
    waiting = root.begin("apply", "-auto-approve", "-lock-timeout=120s")
    until = time.monotonic() + STEP_S
    while "Black Friday" not in desk.run("queue", "ls", STATE, "--json").out:
        assert time.monotonic() < until
    _says(desk)
    said, _ = waiting.communicate(timeout=STEP_S)
    assert waiting.returncode == 0, said
    _says(desk, approvals=1)
    code, said = root.run("apply", "-auto-approve")
    assert (code, f"interlock apply {STATE}" in unwrapped(said)) == (1, True), said

"""A dependency that Terraform cannot see breaks a real apply; `interlock deps --fix` mends it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.provider.install import install

pytestmark = pytest.mark.e2e

# The queue stands at the end of a chain, so the flow, which Terraform believes free, is always published first.
MAIN = """\
terraform {
  required_providers {
    genesyscloud = {
      source = "mypurecloud/genesyscloud"
    }
  }
}

provider "genesyscloud" {
  gateway {}
}

resource "genesyscloud_auth_division" "support" {
  name = "Support"
}

resource "genesyscloud_routing_wrapupcode" "done" {
  name = "Done ${genesyscloud_auth_division.support.name}"
}

resource "genesyscloud_routing_queue" "support" {
  name         = "Support" # the busy one
  division_id  = genesyscloud_auth_division.support.id
  wrapup_codes = [genesyscloud_routing_wrapupcode.done.id]
}

resource "genesyscloud_flow" "main" {
  filepath          = "${path.module}/main.yaml"
}
"""
FLOW = """\
inboundCall:
  name: Main
  tasks:
    - task:
        actions:
          - transferToAcd:
              targetQueue:
                lit:
                  name: Support
"""


@pytest.fixture
def served() -> Iterator[Served]:
    with serve_in_thread(Simulation()) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "configuration"
    home.mkdir()
    (home / "main.tf").write_text(MAIN)
    (home / "main.yaml").write_text(FLOW)
    return home


@pytest.fixture
def environment(tmp_path: Path, served: Served) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TF_CLI_CONFIG_FILE": str(install(tmp_path / "plugin", speed=1000.0)),
        "CHECKPOINT_DISABLE": "1",
        "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
        "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
        "GENESYSCLOUD_GATEWAY_PROTOCOL": "http",
        "GENESYSCLOUD_GATEWAY_HOST": served.host,
        "GENESYSCLOUD_GATEWAY_PORT": str(served.port),
    }


def run(folder: Path, environment: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def interlock(folder: Path, environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run(folder, environment, sys.executable, "-c", "from interlock.cli.main import main; main()", *arguments)


def apply(folder: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return run(folder, environment, "terraform", "apply", "-auto-approve", "-no-color")


def test_a_hidden_dependency_fails_the_apply_is_explained_found_and_mended(
    folder: Path, environment: dict[str, str]
) -> None:
    broken = apply(folder, environment)
    assert broken.returncode == 1
    log = folder / "apply.log"
    log.write_text(broken.stdout + broken.stderr)
    explained = json.loads(interlock(folder, environment, "explain", "--json", str(log)).stdout)
    assert [cause["category"] for cause in explained["causes"]] == ["api-flow-publish"]

    fixed = interlock(folder, environment, "deps", "--fix", "--json", ".")
    assert fixed.returncode == 0, fixed.stderr
    assert not [edge for edge in json.loads(fixed.stdout)["edges"] if edge["hidden"]]
    assert "depends_on = [genesyscloud_routing_queue.support]" in (folder / "main.tf").read_text()

    assert run(folder, environment, "terraform", "destroy", "-auto-approve").returncode == 0
    mended = apply(folder, environment)
    assert mended.returncode == 0, mended.stderr

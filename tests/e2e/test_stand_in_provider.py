"""The stand-in provider under the real Terraform: every type, and what the real one is known for."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.program import unwrapped

from interlock.simulator import DEFAULT_CLIENT, FaultKind, FaultRule, Moment, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.provider.install import install

pytestmark = pytest.mark.e2e

PROVIDER = """
terraform {
  required_providers {
    genesyscloud = { source = "mypurecloud/genesyscloud" }
  }
}
provider "genesyscloud" {
  token_pool_size      = 2
  custom_retry_timeout = "0s"
  gateway {}
}
"""
ARCHITECT = """
resource "genesyscloud_architect_schedules" "day" {
  name  = "Day"
  start = "2026-01-01T08:00:00.000000"
  end   = "2026-01-01T17:00:00.000000"
  rrule = "FREQ=DAILY"
}
resource "genesyscloud_architect_schedulegroups" "shop" {
  name              = "Shop"
  time_zone         = "Europe/Berlin"
  open_schedules_id = [genesyscloud_architect_schedules.day.id]
}
resource "genesyscloud_routing_queue" "orders" {
  name = "Orders"
}
resource "genesyscloud_flow" "main" {
  filepath          = "${path.module}/flow.yaml"
  substitutions     = { queue = genesyscloud_routing_queue.orders.name }
}
resource "genesyscloud_architect_ivr" "main" {
  name               = "Main"
  dnis               = ["+13175550100"]
  open_hours_flow_id = genesyscloud_flow.main.id
  schedule_group_id  = genesyscloud_architect_schedulegroups.shop.id
}
resource "genesyscloud_architect_datatable" "rates" {
  name = "Rates"
  properties {
    name = "key"
    type = "string"
  }
  properties {
    name    = "rate"
    type    = "number"
    title   = "Rate"
    default = "1.5"
  }
}
resource "genesyscloud_script" "greeting" {
  script_name = "Greeting"
  filepath    = "${path.module}/script.json"
}
data "genesyscloud_routing_queue" "found" {
  name       = "Orders"
  depends_on = [genesyscloud_routing_queue.orders]
}
output "same" {
  value = data.genesyscloud_routing_queue.found.id == genesyscloud_routing_queue.orders.id
}
"""
FLOW = """
inboundCall:
  name: Main line
  tasks:
    - task:
        actions:
          - transferToAcd:
              targetQueue:
                lit:
                  name: "{{queue}}"
"""


@pytest.fixture
def served() -> Iterator[Served]:
    with serve_in_thread(Simulation()) as running:
        yield running


class Terraform:
    def __init__(self, folder: Path, served: Served) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TF_CLI_CONFIG_FILE": str(install(folder / "plugin", speed=1000)),
            "CHECKPOINT_DISABLE": "1",
            "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
            "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
            "GENESYSCLOUD_GATEWAY_PROTOCOL": "http",
            "GENESYSCLOUD_GATEWAY_HOST": served.host,
            "GENESYSCLOUD_GATEWAY_PORT": str(served.port),
        }

    def write(self, **files: str) -> None:
        for name, content in {"provider.tf": PROVIDER, **files}.items():
            (self.folder / name.replace("_tf", ".tf").replace("_yaml", ".yaml").replace("_json", ".json")).write_text(
                content
            )

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = ["terraform", *arguments, "-no-color"]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        command = ["terraform", *arguments, "-no-color"]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


@pytest.fixture
def terraform(tmp_path: Path, served: Served) -> Terraform:
    return Terraform(tmp_path, served)


@pytest.mark.slow
def test_architect_types_are_created_plan_clean_and_are_destroyed_in_order(
    terraform: Terraform, served: Served
) -> None:
    terraform.write(main_tf=ARCHITECT, flow_yaml=FLOW, script_json="{}")
    applied = terraform.run("apply", "-auto-approve")
    assert applied.returncode == 0, applied.stderr
    assert "same = true" in applied.stdout
    planned = terraform.run("plan", "-detailed-exitcode")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    destroyed = terraform.run("destroy", "-auto-approve")
    assert destroyed.returncode == 0, destroyed.stderr
    assert sum(len(items) for items in served.simulation.snapshot().values()) == 1  # the home division


def test_a_flow_that_names_a_missing_queue_fails_with_the_message_of_its_job(terraform: Terraform) -> None:
    resource = 'resource "genesyscloud_flow" "main" {\n  filepath = "flow.yaml"\n}\n'
    terraform.write(main_tf=resource, flow_yaml=FLOW)
    failed = terraform.run("apply", "-auto-approve")
    assert failed.returncode == 1
    assert "The flow names the queue '{{queue}}', which does not exist." in unwrapped(failed.stderr)


@pytest.mark.slow
def test_an_object_deleted_elsewhere_is_planned_for_creation_again(terraform: Terraform, served: Served) -> None:
    terraform.write(main_tf='resource "genesyscloud_routing_skill" "a" {\n  name = "A"\n}\n')
    assert terraform.run("apply", "-auto-approve").returncode == 0
    organisation = served.simulation.org
    organisation.remove(next(organisation.living("skill")), _now())
    planned = terraform.run("plan", "-detailed-exitcode")
    assert planned.returncode == 2
    assert "1 to add, 0 to change, 0 to destroy" in planned.stdout


def test_storms_lost_replies_and_errors_are_waited_out(terraform: Terraform, served: Served) -> None:
    terraform.write(main_tf='resource "genesyscloud_routing_wrapupcode" "a" {\n  name = "A"\n}\n')
    served.simulation.faults.replace(
        [
            FaultRule(kind=FaultKind.LOGIN_LIMIT, every=2, times=3),
            FaultRule(kind=FaultKind.RESET, times=2),
            FaultRule(kind=FaultKind.SERVER_ERROR, times=2, status=502),
            FaultRule(kind=FaultKind.TOO_MANY, times=1, seconds=1),
        ]
    )
    applied = terraform.run("apply", "-auto-approve")
    assert applied.returncode == 0, applied.stderr
    assert sum(served.simulation.faults.hits.values()) == 8


def test_a_failed_creation_step_leaves_a_tainted_resource_and_not_a_lost_one(
    terraform: Terraform, served: Served
) -> None:
    member = 'members {\n    user_id = "00000000-0000-4000-a000-000000000000"\n  }\n'
    terraform.write(main_tf='resource "genesyscloud_routing_queue" "a" {\n  name = "A"\n  ' + member + "}\n")
    failed = terraform.run("apply", "-auto-approve")
    assert "API Error: 404 - Unable to find a user" in unwrapped(failed.stderr)
    state = json.loads((terraform.folder / "terraform.tfstate").read_text())
    instance = state["resources"][0]["instances"][0]
    assert instance["status"] == "tainted"
    assert instance["attributes"]["id"] == served.simulation.snapshot()["queue"][0]["id"]


@pytest.mark.slow
def test_a_signal_to_the_group_loses_what_was_just_created_and_one_to_terraform_alone_does_not(
    terraform: Terraform, served: Served
) -> None:
    terraform.write(main_tf='resource "genesyscloud_routing_skill" "a" {\n  name = "A"\n}\n')
    rule = FaultRule(kind=FaultKind.HANG, method="POST", path="/routing/skills", seconds=1.0)
    for everybody in (True, False):
        served.simulation.faults.replace([rule])
        process = terraform.start("apply", "-auto-approve")
        _await_skill(served)
        if everybody:
            os.killpg(process.pid, signal.SIGINT)
        else:
            os.kill(process.pid, signal.SIGINT)
        process.wait(30)
        state = json.loads((terraform.folder / "terraform.tfstate").read_text())
        held = [resource["type"] for resource in state["resources"]]
        assert held == ([] if everybody else ["genesyscloud_routing_skill"])
        if everybody:
            organisation = served.simulation.org
            organisation.remove(next(organisation.living("skill")), _now())


def test_a_stubborn_provider_finishes_what_is_in_work_before_a_signal_ends_it(
    terraform: Terraform, served: Served
) -> None:
    terraform.write(main_tf='resource "genesyscloud_routing_skill" "a" {\n  name = "A"\n}\n')
    terraform.environment["INTERLOCK_SIMULATOR_STUBBORN"] = "1"
    served.simulation.faults.replace([FaultRule(kind=FaultKind.HANG, method="POST", path="/skills", seconds=1.0)])
    process = terraform.start("apply", "-auto-approve")
    _await_skill(served)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(30)
    state = json.loads((terraform.folder / "terraform.tfstate").read_text())
    assert [resource["type"] for resource in state["resources"]] == ["genesyscloud_routing_skill"]


def _await_skill(served: Served) -> None:
    deadline = time.monotonic() + 20
    while not any(served.simulation.org.living("skill")):
        assert time.monotonic() < deadline, "Terraform never created the skill"
        time.sleep(0.02)


def _now() -> Moment:
    return Moment(at=datetime.now(UTC), elapsed_s=time.monotonic())

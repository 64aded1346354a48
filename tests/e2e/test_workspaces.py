"""Workspaces on Interlock's own backend: one state each, adopted from files, given back, safe when killed."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from tests.desk import SLEEPER, Desk

pytestmark = pytest.mark.e2e

ONE = """
resource "terraform_data" "one" { input = terraform.workspace }
output "workspace" { value = terraform.workspace }
"""


def inputs(desk: Desk, state: str) -> set[str]:
    found = json.loads(desk.run("state", "pull", state).out)["resources"]
    return {instance["attributes"]["input"]["value"] for each in found for instance in each["instances"]}


def left_in_trees(desk: Desk) -> list[str]:
    """Return the states that lie in trees; what links lead to is somebody else's."""
    return [folder for folder, _, names in os.walk(desk.home / "trees") if "terraform.tfstate" in names]


@pytest.mark.promise("P1", "P11")
def test_each_workspace_has_a_state_a_queue_and_the_right_name_in_the_run(desk: Desk) -> None:
    module = desk.module(text=ONE)
    (desk.folder / "interlock.yaml").write_text("version: 1\nstates:\n  app: {directory: module}\n")
    assert desk.run("apply", module, "--auto-approve").code == 0
    for name in ("prod", "eu-1"):
        applied = desk.run("apply", module, "--auto-approve", environ={"TF_WORKSPACE": name})
        assert applied.code == 0, applied.err
        assert f"state app@{name} " in applied.err
        again = desk.run("plan", module, "--detailed-exitcode", environ={"TF_WORKSPACE": name})
        assert again.code == 0, again.err
    assert {state: inputs(desk, state) for state in ("app", "app@prod", "app@eu-1")} == {
        "app": {"default"}, "app@prod": {"prod"}, "app@eu-1": {"eu-1"},
    }  # fmt: skip
    (module / ".terraform").mkdir()
    (module / ".terraform" / "environment").write_text("prod")
    assert "state app@prod " in desk.run("plan", module).err
    assert desk.run("output", "--state", str(module), "--raw", "workspace").out == "prod"
    assert "serial 1" in desk.run("state", "show", "app@eu-1").out
    assert [row["state"] for row in desk.run("queue", "ls", "--json").document["states"]] == [
        "app",
        "app@eu-1",
        "app@prod",
    ]
    assert desk.run("plan", module, "--state", "app@eu-1").code == 3, "another one is chosen"
    names = {path.name for path in module.rglob("*")}
    assert not {name for name in names if "tfstate" in name}
    assert not left_in_trees(desk)


@pytest.mark.promise("P3", "P6", "P11")
def test_local_workspaces_are_adopted_by_one_command_and_given_back_by_one(desk: Desk) -> None:
    module = desk.module(text=ONE)
    terraform = shutil.which("terraform") or "terraform"
    for words in (["init"], ["apply", "-auto-approve"], ["workspace", "new", "prod"], ["apply", "-auto-approve"]):
        subprocess.run([terraform, *words], cwd=module, env=desk.environ, check=True, capture_output=True)
    before = {path: path.read_bytes() for path in module.rglob("terraform.tfstate") if ".terraform/" not in str(path)}
    refused = desk.run("plan", module)
    assert refused.code == 3
    assert f"interlock adopt {module}" in refused.err
    assert desk.run("adopt", module, "--dry-run").code == 0
    assert desk.run("plan", module).code == 3, "nothing was changed"
    adopted = desk.run("adopt", module, "--yes", "--json")
    assert adopted.code == 0, adopted.err
    names = {row["workspace"]: row["state"] for row in adopted.document["states"]}
    assert names["prod"] == f"{names['default']}@prod"
    for space in ("default", "prod"):
        clean = desk.run("plan", module, "--detailed-exitcode", environ={"TF_WORKSPACE": space})
        assert clean.code == 0, clean.err
    assert desk.run("adopt", module, "--yes").code == 3, "there is nothing left"
    left = desk.run("leave", module, "--yes")
    assert left.code == 0, left.err
    after = {path: path.read_bytes() for path in before}
    assert [json.loads(text) for text in after.values()] == [json.loads(text) for text in before.values()]


@pytest.mark.promise("P3", "P5", "P9")
def test_what_a_killed_run_left_in_its_workspace_is_stored(desk: Desk) -> None:
    module = desk.module(text=SLEEPER)
    gate = desk.gate()
    run = desk.start("apply", module, "--state", "s@prod", "--auto-approve", "--", f"-var=gate={gate}", "-var=hold=0")
    summary = desk.until_working()
    os.kill(summary.processes["supervisor"].pid, signal.SIGKILL)
    gate.unlink()
    answer = run.wait()
    assert answer.code in {131, 143}, answer.err
    after = desk.run("plan", module, "--state", "s@prod", "--detailed-exitcode", "--brief", "--", f"-var=gate={gate}")
    assert after.code in {0, 2}, after.err
    found = json.loads(desk.run("state", "pull", "s@prod").out)["resources"]
    assert {each["name"] for each in found} >= {"kept"}
    assert not left_in_trees(desk)

"""Applies that wait for approval without holding the state, on real Terraform."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.desk import Answer, Desk

from interlock.home.embedded import EmbeddedHome
from interlock.run.summary import find_summary

pytestmark = [pytest.mark.e2e, pytest.mark.on("own")]

ONE = 'resource "terraform_data" "one" { input = "1" }\n'
GIVEN = """
variable "what" { default = "nothing" }
resource "terraform_data" "one" { input = var.what }
"""
TWO = ONE + 'resource "terraform_data" "two" { input = "2" }\n'


def set_policies(desk: Desk, **said: Any) -> None:
    file = desk.folder / "policies.yaml"
    file.write_text(json.dumps({"policies": [{"name": "production", **said}] if said else []}))
    assert desk.run("policies", "set", file).code == 0


def ask(desk: Desk, module: Path, *more: object) -> str:
    """Order an apply, which asks for approval; return the request."""
    asked = desk.apply_plain(module, "--json", *more)
    assert asked.code == 41, asked.err
    assert asked.document["error"]["code"] == "policy-gate"
    request = asked.document["approval"]
    assert f"interlock approve {request}" in asked.document["error"]["next"]
    assert isinstance(request, str)
    return request


def approve(desk: Desk, request: str) -> Answer:
    return desk.run("approve", request, "--reason", "looks fine")


def standing(desk: Desk, request: str) -> str:
    return str(desk.run("approvals", "show", request, "--json").document["standing"])


def inputs(desk: Desk) -> dict[str, object]:
    found = json.loads(desk.run("state", "pull", "s").out)["resources"]
    return {each["name"]: each["instances"][0]["attributes"]["input"]["value"] for each in found}


@pytest.fixture
def asking(desk: Desk) -> Path:
    """A root module whose applies need one person's approval; the same one counts, since a test has one account."""
    set_policies(desk, approvals=1, own_approval=True)
    return desk.module(text=ONE)


@pytest.mark.promise("P8")
def test_an_apply_waits_for_approval_without_the_state_and_is_applied_once(desk: Desk, asking: Path) -> None:
    request = ask(desk, asking)
    assert desk.history() == []
    assert desk.lock().holders == ()
    early = desk.run("apply", "--run", request)
    assert (early.code, "waits for approval" in early.err) == (41, True), early.err
    assert approve(desk, request).code == 0
    applied = desk.run("apply", "--run", request)
    assert applied.code == 0, applied.err
    assert inputs(desk) == {"one": "1"}
    again = desk.run("apply", "--run", request)
    assert (again.code, "acted on it" in again.err) == (41, True), again.err
    assert len(desk.history()) == 1
    actions = [entry["action"] for entry in desk.run("audit", "ls", "--json").document["entries"]]
    assert actions == ["policies-set", "approval-asked", "approved", "approval-used"]
    assert desk.run("audit", "verify").code == 0


@pytest.mark.promise("P8")
def test_a_rejected_plan_is_never_applied(desk: Desk, asking: Path) -> None:
    request = ask(desk, asking)
    assert desk.run("reject", request, "--reason", "not today").code == 0
    assert approve(desk, request).code == 3
    refused = desk.run("apply", "--run", request)
    assert (refused.code, "not today" in refused.err) == (41, True), refused.err
    assert desk.history() == []


@pytest.mark.slow
@pytest.mark.promise("P3")
def test_when_the_state_moved_on_an_equal_plan_keeps_the_approval_and_another_asks_again(
    desk: Desk, asking: Path
) -> None:
    set_policies(desk)
    assert desk.apply_plain(asking).code == 0
    (asking / "main.tf").write_text(TWO)
    set_policies(desk, approvals=1, own_approval=True)
    first, second = ask(desk, asking), ask(desk, asking)
    for request in (first, second):
        assert approve(desk, request).code == 0
    pulled = json.loads(desk.run("state", "pull", "s").out)
    file = desk.folder / "moved.tfstate"
    file.write_text(json.dumps({**pulled, "serial": pulled["serial"] + 1}))
    pushed = desk.run("state", "push", file, "--state", "s")
    assert pushed.code == 0, pushed.err
    equal = desk.run("apply", "--run", first)
    assert (equal.code, "planning again" in equal.err) == (0, True), equal.err
    assert inputs(desk) == {"one": "1", "two": "2"}
    # what the second one would do is done: there is nothing left to apply, and its approval is not used for anything
    empty = desk.run("apply", "--run", second)
    assert (empty.code, standing(desk, second)) == (0, "approved"), empty.err
    pulled = json.loads(desk.run("state", "pull", "s").out)
    lost = [each for each in pulled["resources"] if each["name"] != "one"]
    file.write_text(json.dumps({**pulled, "serial": pulled["serial"] + 1, "resources": lost}))
    assert desk.run("state", "push", file, "--state", "s", "--force").code == 0
    other = desk.run("apply", "--run", second, "--json")
    assert other.code == 41, other.err
    assert other.document["approval"] not in {first, second}
    assert standing(desk, second) == "replaced"
    assert set(inputs(desk)) == {"two"}


def move_on(desk: Desk) -> None:
    """Give the state another serial, so that no plan holds any more."""
    pulled = json.loads(desk.run("state", "pull", "s").out)
    file = desk.folder / "moved.tfstate"
    file.write_text(json.dumps({**pulled, "serial": pulled["serial"] + 1}))
    assert desk.run("state", "push", file, "--state", "s").code == 0


@pytest.mark.slow
@pytest.mark.promise("P8")
@pytest.mark.parametrize("given", [("-var", "what=asked"), ("-var=what=asked",), ()])
def test_an_approved_plan_is_not_made_again_without_the_values_that_it_was_made_with(
    desk: Desk, asking: Path, given: tuple[str, ...]
) -> None:
    """Values are not kept. Made without them it did something else, or ended at a flag that nobody typed."""
    (asking / "main.tf").write_text(GIVEN)
    first = ask(desk, asking, "--", "-var=what=first")
    assert approve(desk, first).code == 0
    assert desk.run("apply", "--run", first).code == 0
    if not given:
        desk.environ["TF_VAR_what"] = "asked"
    request = ask(desk, asking, "--", "-parallelism=3", *given)
    desk.environ.pop("TF_VAR_what", None)
    assert approve(desk, request).code == 0
    move_on(desk)
    refused = desk.run("apply", "--run", request, "--json")
    assert refused.code == 21, refused.err
    error = refused.document["error"]
    assert "value of variable what" in error["why"]
    assert f"--run {request} -- -var what=VALUE" in error["next"]
    assert (standing(desk, request), inputs(desk)) == ("approved", {"one": "first"})
    applied = desk.run("apply", "--run", request, "--", "-var", "what=asked")
    assert applied.code == 0, applied.err
    assert inputs(desk) == {"one": "asked"}


@pytest.mark.promise("P8")
def test_a_lost_plan_is_not_made_again_without_the_values_that_were_typed_for_it(desk: Desk, asking: Path) -> None:
    async def lose(home: EmbeddedHome) -> None:
        for one in (await home.approvals.all())[0]:
            assert one.plan is not None
            await home.store.blobs.delete(one.plan.blob)

    (asking / "main.tf").write_text(GIVEN)
    request = ask(desk, asking, "--", "-var", "what=asked")
    assert approve(desk, request).code == 0
    desk.ask(lose)
    refused = desk.run("apply", "--run", request)
    assert (refused.code, "value of variable what" in refused.err) == (21, True), refused.err
    applied = desk.run("apply", "--run", request, "--", "-var", "what=asked")
    assert applied.code == 0, applied.err
    assert inputs(desk) == {"one": "asked"}


@pytest.mark.promise("P8")
def test_an_approval_is_good_for_its_own_state_alone(desk: Desk, asking: Path) -> None:
    """Two new states of one configuration have equal plans; who approves the one may have no say in the other."""
    request = ask(desk, asking)
    assert approve(desk, request).code == 0
    other = desk.run("apply", "--run", request, "--state", "other")
    assert (other.code, "not for state other" in other.err) == (41, True), other.err
    assert desk.history("other") == []
    assert standing(desk, request) == "approved"


@pytest.mark.promise("P11")
def test_what_comes_after_a_rejection_names_the_state_that_was_named(desk: Desk, asking: Path) -> None:
    request = ask(desk, asking)
    assert desk.run("reject", request, "--reason", "not today").code == 0
    refused = desk.run("apply", "--run", request)
    assert f"next   interlock apply {asking} --state s\n" in refused.err


@pytest.mark.promise("P11")
def test_on_another_machine_the_root_is_the_folder_where_the_command_is_typed(desk: Desk, asking: Path) -> None:
    request = ask(desk, asking)
    assert approve(desk, request).code == 0
    checkout = asking.rename(desk.folder / "elsewhere")
    nowhere = desk.run("apply", "--run", request)
    assert (nowhere.code, f"--run {request} FOLDER" in nowhere.err) == (3, True), nowhere.err
    applied = desk.run("apply", "--run", request, cwd=checkout)
    assert applied.code == 0, applied.err
    assert inputs(desk) == {"one": "1"}


@pytest.mark.slow
@pytest.mark.promise("P8")
def test_a_run_that_is_killed_after_it_used_its_approval_applies_nothing_twice(desk: Desk, asking: Path) -> None:
    gate = desk.folder / "gate"
    gate.touch()
    (asking / "main.tf").write_text(
        'resource "terraform_data" "one" {\n  input = "1"\n  provisioner "local-exec" {\n'
        f"    command = \"echo applied >> '{desk.folder}/made'; i=0; "
        f"while [ -e '{gate}' ] && [ $i -lt 600 ]; do i=$((i+1)); sleep 0.05; done\"\n  }}\n}}\n"
    )
    request = ask(desk, asking)
    assert approve(desk, request).code == 0
    started = desk.start("apply", "--run", request)
    desk.until(lambda: (desk.folder / "made").exists() or None, "the apply works")
    run = next(found for found in desk.runs() if found.phase == "applying")
    os.kill(run.processes["supervisor"].pid, signal.SIGKILL)
    gate.unlink()
    started.wait()
    again = desk.run("apply", "--run", request)
    assert (again.code, "acted on it" in again.err) == (41, True), again.err
    assert (desk.folder / "made").read_text() == "applied\n"
    assert find_summary(desk.home / "runs" / run.run) is not None


@pytest.mark.slow
@pytest.mark.promise("P8")
def test_a_kept_plan_that_is_lost_is_made_again_and_another_one_is_not_applied(desk: Desk, asking: Path) -> None:
    """As when the run was killed after it asked and before the plan was stored."""

    async def lose(home: EmbeddedHome) -> None:
        for one in (await home.approvals.all())[0]:
            assert one.plan is not None
            await home.store.blobs.delete(one.plan.blob)

    first, second = ask(desk, asking), ask(desk, asking)
    for request in (first, second):
        assert approve(desk, request).code == 0
    desk.ask(lose)
    (asking / "main.tf").write_text(TWO)
    other = desk.run("apply", "--run", first, "--json")
    assert other.code == 41, other.err
    assert standing(desk, first) == "replaced"
    assert desk.history() == []
    set_policies(desk)
    unasked = desk.run("apply", "--run", second)
    assert unasked.code == 21, "without the policy nobody can be asked, and it is not what was approved"
    assert desk.history() == []
    (asking / "main.tf").write_text(ONE)
    applied = desk.run("apply", "--run", second)
    assert applied.code == 0, applied.err
    assert inputs(desk) == {"one": "1"}


def test_a_policy_refuses_with_its_rule_the_addresses_and_the_next_command(desk: Desk) -> None:
    module = desk.module(text=TWO)
    assert desk.apply_plain(module).code == 0
    set_policies(desk, states="s", protected={"types": ["terraform_*"]})
    (module / "main.tf").write_text(ONE)
    refused = desk.apply_plain(module, "--json", "--max-deletes", 5)
    assert refused.code == 41, refused.err
    error = refused.document["error"]
    assert "terraform_data.two" in error["why"]
    assert "rule protected (server)" in error["why"]
    assert error["next"] == "interlock policies show s"
    assert [each["rule"] for each in refused.document["policies"] if not each["passed"]] == ["protected"]
    assert desk.run("plan", module, "--state", "s", "--gate").code == 41
    assert desk.run("plan", module, "--state", "s").code == 0
    assert desk.run("audit", "ls", "--json").document["entries"][-1]["action"] == "policy-refused"
    assert set(inputs(desk)) == {"one", "two"}

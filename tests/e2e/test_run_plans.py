"""Saved plans, and the gates that hold back what a plan would destroy."""

import json
import zipfile
from pathlib import Path

import pytest
from tests.desk import Desk

pytestmark = [pytest.mark.e2e, pytest.mark.on("own")]

THREE = 'resource "terraform_data" "one" {}\nresource "terraform_data" "two" {}\nresource "terraform_data" "three" {}\n'
ONE = 'resource "terraform_data" "one" {}\n'


def names(desk: Desk, state: str = "s") -> set[str]:
    return {resource["name"] for resource in json.loads(desk.run("state", "pull", state).out)["resources"]}


@pytest.mark.promise("P8")
def test_exactly_the_reviewed_plan_is_applied_once_and_stale_plans_are_refused_with_21(
    desk: Desk, module: Path
) -> None:
    plan, other = desk.folder / "reviewed.tfplan", desk.folder / "other.tfplan"
    assert desk.run("plan", module, "--state", "s", "--out", plan).code == 0
    assert desk.run("plan", module, "--state", "s", "--out", other).code == 0
    assert plan.stat().st_mode & 0o077 == 0
    assert b"127.0.0.1" not in plan.read_bytes()
    later = module / "later.tf"
    later.write_text('resource "terraform_data" "later" {}\n')
    moved = desk.apply_plain(module, "--plan", plan)
    assert (moved.code, "later.tf" in moved.err) == (21, True), moved.err
    later.unlink()
    applied = desk.apply_plain(module, "--plan", plan)
    assert applied.code == 0, applied.err
    assert names(desk) == {"kept", "work"}
    for stale in (plan, other):
        refused = desk.apply_plain(module, "--plan", stale)
        assert (refused.code, "stale" in refused.err) == (21, True), refused.err
    assert len({version.run for version in desk.history()}) == 1


def test_a_plan_of_another_state_and_a_file_that_is_no_plan_are_refused(desk: Desk, module: Path) -> None:
    for state in ("s", "t"):
        assert desk.apply_plain(module, state=state).code == 0
    plan = desk.folder / "of-t.tfplan"
    assert desk.run("plan", module, "--state", "t", "--out", plan, "--", "-var=round=2").code == 0
    foreign = desk.apply_plain(module, "--plan", plan)
    assert (foreign.code, "another state" in foreign.err) == (21, True), foreign.err
    plan.write_text("this is not a plan")
    assert desk.apply_plain(module, "--plan", plan).code == 3
    assert desk.apply_plain(module, "--plan", desk.folder / "missing.tfplan").code == 3


@pytest.mark.promise("P11")
def test_a_plan_of_one_new_state_is_not_applied_to_another_new_state(desk: Desk) -> None:
    module = desk.module(text=ONE)
    plan, plain = desk.folder / "staging.tfplan", desk.folder / "plain.tfplan"
    assert desk.run("plan", module, "--state", "staging/app", "--out", plan).code == 0
    foreign = desk.apply_plain(module, "--plan", plan, state="prod/app")
    assert (foreign.code, "staging/app" in foreign.err) == (21, True), foreign.err
    assert desk.history("prod/app") == []
    unlabelled(plan, plain)
    silent = desk.apply_plain(module, "--plan", plain, state="prod/app")
    assert (silent.code, "does not say" in silent.err) == (21, True), silent.err
    assert desk.history("prod/app") == []
    applied = desk.apply_plain(module, "--plan", plan, state="staging/app")
    assert applied.code == 0, applied.err
    assert names(desk, "staging/app") == {"one"}


def unlabelled(plan: Path, copy: Path) -> None:
    """Copy a plan as plain Terraform would have written it."""
    with zipfile.ZipFile(plan) as archive, zipfile.ZipFile(copy, "w") as target:
        for entry in archive.infolist():
            if entry.filename != "interlock.json":
                target.writestr(entry, archive.read(entry))


@pytest.mark.promise("P8")
def test_deletions_beyond_the_limit_or_from_a_protected_state_stop_with_41_and_change_nothing(desk: Desk) -> None:
    module = desk.module(text=THREE)
    (desk.folder / "interlock.yaml").write_text("states:\n  prod:\n    directory: module\n    protected: true\n")
    for state in ("s", "prod"):
        assert desk.apply_plain(module, state=state).code == 0
    before = desk.history()[0].digest
    desk.module(text=ONE)

    refused = desk.apply_plain(module, "--max-deletes", 1, "--json")
    assert (refused.code, refused.document["error"]["code"]) == (41, "policy-gate")
    assert "terraform_data.three" in refused.document["error"]["why"]
    assert desk.history()[0].digest == before
    assert desk.lock().holders == ()
    protected = desk.run("destroy", module, "--state", "prod", "--auto-approve")
    assert (protected.code, "--allow-destroy" in protected.err) == (41, True), protected.err

    assert desk.apply_plain(module, "--max-deletes", 2).code == 0
    assert names(desk) == {"one"}
    assert desk.apply_plain(module, "--allow-destroy", state="prod").code == 0
    assert names(desk, "prod") == {"one"}


def test_flags_that_would_undo_what_a_run_promises_are_refused_and_others_reach_terraform(
    desk: Desk, module: Path
) -> None:
    for flag in ("-lock=false", "-state=x.tfstate", "-auto-approve", "word"):
        assert desk.run("plan", module, "--state", "s", "--", flag).code == 3
    assert desk.runs() == []
    targeted = desk.apply_plain(module, "--", "-target=terraform_data.kept", "-parallelism=1")
    assert targeted.code == 0, targeted.err
    assert names(desk) == {"kept"}
    unknown = desk.run("plan", module, "--state", "s", "--", "-no-such-flag")
    assert unknown.code in {3, 34}
    assert "no-such-flag" in unknown.err

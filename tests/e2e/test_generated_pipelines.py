"""The shell steps of generated pipelines, executed; see `tests/ci_jobs.py`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.ci_jobs import (
    HEAD,
    KEYS,
    MERGE,
    MODULE,
    SECRETS,
    GitHubJob,
    Runner,
    apply_on_github,
    codes,
    handed_on,
    merge_on_azure,
    merge_on_github,
    merge_on_gitlab,
    plan_on_github,
    run_azure_stage,
    run_gitlab_job,
)

pytestmark = pytest.mark.e2e

SHIPPED = Path(__file__).parents[2] / ".github/workflows"


def test_github_plans_on_the_pull_request_and_applies_exactly_that_on_merge(runner: Runner) -> None:
    runner.generate("github")
    planned = plan_on_github(runner)
    names = ["Plan", "Let the run end", "Wrap the plan", "Write the report"]
    assert codes(planned) == [(name, 0) for name in names], planned
    comments = "/repos/o/r/issues/5/comments"
    runner.api.on("GET", comments, [])
    runner.api.on("POST", comments, {"html_url": "https://github.example/o/r/pull/5#1"})
    commented = GitHubJob(runner, "interlock-plan.yml", "comment-prod-routing", run="50").execute()
    assert codes(commented) == [("Comment", 0)], commented
    body = str(runner.api.sent("POST")[0].json()["body"])
    assert "**1 to add, 0 to change, 0 to remove.**" in body
    assert "genesyscloud_routing_skill.billing" in body
    assert "API calls of the apply: about" in body
    digest = hashlib.sha256((runner.temp / "plan.bin").read_bytes()).hexdigest()
    assert f"plan `{digest[:16]}`" in body
    assert runner.skills() == []

    runner.commit()  # the merge commit: another commit, the same tree
    sealed, applied = apply_on_github(runner)
    assert codes(sealed) == [("Seal the reviewed plan", 0)], sealed
    assert digest[:16] in (runner.temp / "summary.md").read_text()
    assert codes(applied) == [("Take the reviewed plan", 0), ("Apply", 0), ("Let the run end", 0)], applied
    assert runner.skills() == ["Billing"]
    assert codes(apply_on_github(runner)[1])[1] == ("Apply", 21)  # once; now it is stale


@pytest.mark.slow
@pytest.mark.promise("P11")
def test_the_reusable_workflows_plan_seal_and_apply_for_a_repository_that_only_calls_them(runner: Runner) -> None:
    folder = runner.checkout / ".github/workflows"
    folder.mkdir(parents=True)
    for file in SHIPPED.glob("*.yml"):
        (folder / file.name).write_text(file.read_text())  # where GitHub would have it from the tag that is named
    runner.run("git", "init", "--quiet", "--initial-branch=main")
    runner.commit()
    called = YAML(typ="safe", pure=True).load((folder / "interlock-apply.yml").read_text())["on"]["workflow_call"]
    given = {name: str(one.get("default", "")) for name, one in called["inputs"].items()}
    given |= {"state": "prod/routing", "name": "the-root", "directory": "infra", "lockfile": "", "plan_key": KEYS.wrap}
    given |= {"home": str(runner.folder / "home")}
    values = {f"inputs.{name}": value for name, value in given.items()}
    merge_on_github(runner)
    GitHubJob(runner, "interlock-plan.yml", "plan", run="50", values=values).execute()
    runner.commit()
    seal = GitHubJob(runner, "interlock-apply.yml", "seal", values=values)
    assert codes(seal.execute()) == [("Seal the reviewed plan", 0)], seal.outcomes
    applied = GitHubJob(runner, "interlock-apply.yml", "apply", needs=seal.outputs, values=values).execute()
    assert codes(applied) == [("Take the reviewed plan", 0), ("Apply", 0), ("Let the run end", 0)], applied
    assert runner.skills() == ["Billing"]
    assert codes(GitHubJob(runner, "interlock-drift.yml", "drift", values=values).execute())[0] == ("Look for drift", 0)


@pytest.mark.slow
def test_github_applies_nothing_when_the_branch_has_moved_since_the_review(runner: Runner) -> None:
    runner.generate("github")
    plan_on_github(runner)
    (runner.checkout / "infra/main.tf").write_text(MODULE.replace("Billing", "Other"))
    runner.commit()
    runner.api.on("GET", f"/repos/o/r/git/commits/{MERGE}", {"tree": {"sha": runner.tree()}})
    sealed, applied = apply_on_github(runner)
    assert (codes(sealed), applied) == ([("Seal the reviewed plan", 41)], [])
    assert runner.skills() == []


@pytest.mark.slow
@pytest.mark.promise("P11")
def test_a_plan_that_was_put_in_the_place_of_the_approved_one_is_not_applied(runner: Runner) -> None:
    """Whoever may upload artifacts kept one of another plan under the sealed one's name after the approval."""
    runner.generate("github")
    plan_on_github(runner)
    seal = GitHubJob(runner, "interlock-apply.yml", "seal-prod-routing")
    assert codes(seal.execute()) == [("Seal the reviewed plan", 0)]
    approved = dict(seal.outputs)
    GitHubJob(runner, "interlock-plan.yml", "plan-prod-routing", run="51").execute()
    repository = {"full_name": "o/r"}
    other = {"id": 51, "head_sha": HEAD, "event": "pull_request", "head_repository": repository}
    runner.api.on("GET", "/repos/o/r/actions/workflows/interlock-plan.yml/runs", {"workflow_runs": [other]})
    assert codes(GitHubJob(runner, "interlock-apply.yml", "seal-prod-routing").execute()) == [
        ("Seal the reviewed plan", 0)
    ]
    applied = GitHubJob(runner, "interlock-apply.yml", "apply-prod-routing", needs=approved).execute()
    assert codes(applied)[0] == ("Take the reviewed plan", 41)
    assert ("Apply", 0) not in codes(applied)
    assert runner.skills() == []


@pytest.mark.slow
def test_by_hand_github_plans_anew_and_shows_it_on_the_jobs_page(runner: Runner) -> None:
    runner.generate("github")
    planned = GitHubJob(runner, "interlock-apply.yml", "plan-prod-routing").execute()
    assert codes(planned)[-1] == ("Show the plan", 0)
    assert "**1 to add" in (runner.temp / "summary.md").read_text()


@pytest.mark.slow
def test_gitlab_plans_in_the_merge_request_and_applies_exactly_that_on_merge(runner: Runner) -> None:
    runner.generate("gitlab")
    planned, waited = run_gitlab_job(runner, "plan:prod-routing")
    assert (planned.code, waited.code) == (0, 0), planned.err
    notes = "/projects/7/merge_requests/3/notes"
    runner.api.on("GET", notes, [])
    runner.api.on("POST", notes, {"id": 1})
    commented, _ = run_gitlab_job(runner, "comment:prod-routing", CI_MERGE_REQUEST_IID="3")
    assert commented.code == 0, commented.err
    assert "**1 to add" in str(runner.api.sent("POST")[0].json()["body"])
    merge_on_gitlab(runner)
    sealed, _ = run_gitlab_job(runner, "seal:prod-routing")
    assert sealed.code == 0, sealed.err
    handed = dict(line.split("=") for line in (runner.checkout / "interlock.env").read_text().splitlines())
    applied, waited = run_gitlab_job(runner, "apply:prod-routing", **handed)
    assert (applied.code, waited.code) == (0, 0), applied.err
    assert runner.skills() == ["Billing"]


def test_gitlab_applies_nothing_that_was_not_reviewed(runner: Runner) -> None:
    runner.generate("gitlab")
    merge_on_gitlab(runner)
    runner.api.on("GET", "/projects/7/pipelines/50/jobs", [])
    sealed, _ = run_gitlab_job(runner, "seal:prod-routing")
    assert sealed.code == 41
    assert runner.skills() == []


@pytest.mark.slow
def test_azure_plans_for_the_pull_request_and_applies_exactly_that_on_merge(runner: Runner) -> None:
    runner.generate("azure")
    threads = "/org/p/_apis/git/repositories/r/pullRequests/8/threads"
    runner.api.on("GET", threads, {"value": []})
    runner.api.on("POST", threads, {"id": 1})
    planned = run_azure_stage(runner, "plan_prod_routing")
    assert {code for _, code in codes(planned)} == {0}, planned
    commented = run_azure_stage(runner, "plan_prod_routing/comment", SYSTEM_PULLREQUEST_PULLREQUESTID="8")
    assert codes(commented) == [("Comment", 0)], commented
    assert "**1 to add" in json.dumps(runner.api.sent("POST")[0].json())
    merge_on_azure(runner)
    sealed = run_azure_stage(runner, "seal_prod_routing")
    assert codes(sealed) == [("Seal the reviewed plan", 0)], sealed
    handed = handed_on(sealed)
    needed = {"PLAN_DIGEST": handed["digest"], "PLAN_RUN": handed["run"], "SEALED": handed["artifact"]}
    applied = run_azure_stage(runner, "apply_prod_routing", **needed)
    assert codes(applied) == [("Take the reviewed plan", 0), ("Apply", 0), ("Let the run end", 0)], applied
    assert runner.skills() == ["Billing"]


@pytest.mark.slow
@pytest.mark.promise("P11")
def test_the_azure_template_plans_seals_and_applies_for_a_repository_that_only_uses_it(runner: Runner) -> None:
    template = "templates/azure/interlock.yml"
    (runner.checkout / template).parent.mkdir(parents=True)
    (runner.checkout / template).write_text((SHIPPED.parents[1] / template).read_text())
    given = {"state": "prod/routing", "name": "the-root", "directory": "infra", "lockfile": "", "plan_key": KEYS.wrap}
    given |= {"home": str(runner.folder / "home")}
    (runner.checkout / "interlock.azure-pipelines.yml").write_text(
        json.dumps({"stages": [{"template": template, "parameters": given}]})
    )
    runner.run("git", "init", "--quiet", "--initial-branch=main")
    runner.commit()
    assert {code for _, code in codes(run_azure_stage(runner, "plan_the_root"))} == {0}
    merge_on_azure(runner)
    sealed = run_azure_stage(runner, "seal_the_root")
    assert codes(sealed) == [("Seal the reviewed plan", 0)], sealed
    handed = handed_on(sealed)
    needed = {"PLAN_DIGEST": handed["digest"], "PLAN_RUN": handed["run"], "SEALED": handed["artifact"]}
    applied = run_azure_stage(runner, "apply_the_root", **needed)
    assert codes(applied) == [("Take the reviewed plan", 0), ("Apply", 0), ("Let the run end", 0)], applied
    assert runner.skills() == ["Billing"]


@pytest.mark.slow
@pytest.mark.promise("P11")
def test_the_action_plans_seals_and_applies_in_three_jobs(runner: Runner) -> None:
    (runner.checkout / ".github/workflows").mkdir(parents=True)
    runner.run("git", "init", "--quiet", "--initial-branch=main")
    runner.commit()
    action = YAML(typ="safe", pure=True).load((SHIPPED.parents[1] / "action.yml").read_text())
    given = {name: str(one.get("default", "")) for name, one in action["inputs"].items()}
    given |= {"state": "prod/routing", "name": "the-root", "directory": "infra", "plan_key": KEYS.wrap, "token": "t"}
    credentials = {name: SECRETS[name] for name in SECRETS if name.startswith("GENESYSCLOUD")}

    def job(command: str, *, of_run: str = "77", **more: str) -> GitHubJob:
        """Return a job that uses the action: of its steps those that its command runs."""
        steps = [
            step
            for step in action["runs"]["steps"]
            if f"== '{command}'" in step.get("if", "") or (command != "seal" and "!= 'seal'" in step.get("if", ""))
        ]
        file = runner.checkout / ".github/workflows/own.yml"
        file.write_text(json.dumps({"jobs": {command: {"env": credentials, "steps": steps}}}))
        values = {f"inputs.{name}": value for name, value in {**given, "command": command, **more}.items()}
        found = GitHubJob(runner, "own.yml", command, run=of_run, values=values)
        file.unlink()
        return found

    merge_on_github(runner)
    assert codes(job("plan", of_run="50").execute()) == [("Run", 0), ("Let the run end", 0), ("Wrap the plan", 0)]
    seal = job("seal", key=KEYS.seal)
    assert codes(seal.execute()) == [("Seal the reviewed plan", 0)], seal.outcomes
    apply = job("apply", key=KEYS.plan, run="50", plan_digest="0" * 64)
    assert codes(apply.execute())[0] == ("Take the reviewed plan", 41)
    assert runner.skills() == []
    apply = job("apply", key=KEYS.plan, run=seal.outputs["run"], plan_digest=seal.outputs["digest"])
    assert codes(apply.execute()) == [("Take the reviewed plan", 0), ("Run", 0), ("Let the run end", 0)]
    assert runner.skills() == ["Billing"]

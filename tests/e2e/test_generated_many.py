"""Generated workflows for many roots, executed: only the roots that a change touches, in order, in one comment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.ci_jobs import (
    CONFIGURATION,
    MODULE,
    GitHubJob,
    Outcome,
    Runner,
    azure_stages,
    codes,
    handed_on,
    merge_on_azure,
    merge_on_github,
    merge_on_gitlab,
    run_azure_stage,
    run_gitlab_job,
)

pytestmark = pytest.mark.e2e

STATES = """\
  prod/app: {directory: app, environment: production, depends_on: [prod/net]}
  prod/net: {directory: net, environment: production}
  prod/solo: {directory: solo, environment: production}
"""


@pytest.fixture
def many(runner: Runner) -> Runner:
    """net, app behind it, and solo, which calls a module."""
    for name in ("net", "app", "solo"):
        (runner.checkout / name).mkdir()
        (runner.checkout / name / "main.tf").write_text(MODULE.replace("Billing", name.title()))
    module = runner.checkout / "modules" / "text"
    module.mkdir(parents=True)
    (module / "main.tf").write_text("")
    with (runner.checkout / "solo" / "main.tf").open("a") as file:
        file.write('module "text" {\n  source = "../modules/text"\n}\n')
    before = CONFIGURATION.replace("HOME", str(runner.folder / "home"))
    head, _, tail = before.partition("  prod/routing:")
    (runner.checkout / "interlock.yaml").write_text(head + STATES + tail.partition("\n")[2])
    runner.generate("github")
    return runner


def find_roots(runner: Runner, workflow: str, values: Mapping[str, str]) -> dict[str, Any]:
    job = GitHubJob(runner, workflow, "roots", values=values)
    (found,) = job.execute()
    assert found.code == 0, found.err
    return {name: json.loads(text) for name, text in job.outputs.items()}


def of_row(row: Mapping[str, str], context: str) -> dict[str, str]:
    return {f"{context}.{name}": value for name, value in row.items()} | {"github.event.pull_request.number": "5"}


def plan(runner: Runner, row: Mapping[str, str]) -> list[Outcome]:
    return GitHubJob(runner, "interlock-plan.yml", "plan", run="50", values=of_row(row, "matrix")).execute()


def apply(runner: Runner, row: Mapping[str, str]) -> list[Outcome]:
    values = of_row(row, "inputs")
    seal = GitHubJob(runner, "interlock-root.yml", "seal", values=values)
    sealed = seal.execute()
    if any(one.code for one in sealed):
        return sealed
    return GitHubJob(runner, "interlock-root.yml", "apply", values=values, needs=seal.outputs).execute()


def called_jobs(runner: Runner) -> dict[str, Any]:
    path = runner.checkout / ".github/workflows/interlock-apply.yml"
    jobs: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text())["jobs"]
    return {name: job for name, job in jobs.items() if name != "roots"}


@pytest.mark.slow
def test_a_change_is_planned_for_the_roots_that_it_touches_and_told_in_one_comment(many: Runner) -> None:
    base = many.run("git", "rev-parse", "HEAD").strip()
    (many.checkout / "modules/text/main.tf").write_text('output "x" {\n  value = 1\n}\n')
    (many.checkout / "net/more.tf").write_text(
        MODULE.partition("resource")[1] + MODULE.partition("resource")[2].replace("billing", "more")
    )
    many.commit()
    values = {"github.event.pull_request.base.sha": base}
    found = find_roots(many, "interlock-plan.yml", values)
    assert found["states"] == ["prod/app", "prod/net", "prod/solo"], "app comes after net, which is touched"
    (many.checkout / "net/more.tf").unlink()
    many.commit()
    found = find_roots(many, "interlock-plan.yml", values)
    assert found["states"] == ["prod/solo"]
    row = found["matrix"][0]
    assert row == {
        "state": "prod/solo",
        "slug": "prod-solo",
        "directory": "solo",
        "environment": "production",
        "lockfile": "",
        "behind": "",
    }
    merge_on_github(many)
    planned = plan(many, row)
    assert {code for _, code in codes(planned)} == {0}, planned
    body = commented(many, ["prod/solo", "prod/net"])
    assert body.startswith("<!-- interlock plans -->\n")
    assert "| `prod/solo` | 1 to add, 0 to change, 0 to remove |" in body
    before = "; made before `prod/solo` is applied: plan it anew by hand afterwards"
    assert f"| `prod/net` | **no plan**: its job kept no report{before} |" in body
    assert "genesyscloud_routing_skill.billing" in body
    assert "touches no root module" in commented(many, [])


def commented(runner: Runner, states: list[str]) -> str:
    comments = "/repos/o/r/issues/5/comments"
    runner.api.on("GET", comments, [])
    runner.api.on("POST", comments, {"html_url": "https://github.example/o/r/pull/5#1"})
    rows = [{"state": state, "behind": "prod/solo" if state == "prod/net" else ""} for state in states]
    values = {"needs.roots.outputs.matrix": json.dumps(rows)}
    done = GitHubJob(runner, "interlock-plan.yml", "comment", run="50", values=values).execute()
    assert codes(done) == [("Comment", 0)], done
    return str(runner.api.sent("POST")[-1].json()["body"])


@pytest.mark.slow
def test_on_the_branch_each_touched_root_is_sealed_and_applied_behind_what_it_needs(many: Runner) -> None:
    base = many.run("git", "rev-parse", "HEAD").strip()
    (many.checkout / "app/x.auto.tfvars").write_text("")
    many.commit()
    merge_on_github(many)
    rows = {
        row["state"]: row
        for row in find_roots(many, "interlock-plan.yml", {"github.event.pull_request.base.sha": base})["matrix"]
    }
    assert list(rows) == ["prod/app"]
    plan(many, rows["prod/app"])
    many.commit()
    expression = "github.event_name == 'push' && github.event.before || ''"
    pushed = find_roots(many, "interlock-apply.yml", {expression: base, "inputs.roots": ""})
    assert pushed["states"] == ["prod/app"]
    jobs = called_jobs(many)
    assert {name: job["needs"] for name, job in jobs.items()} == {
        "root-prod-app": ["roots", "root-prod-net"],
        "root-prod-net": ["roots"],
        "root-prod-solo": ["roots"],
    }
    assert rows["prod/app"].pop("behind") == "prod/net"
    assert jobs["root-prod-app"]["with"] == {name: text for name, text in rows["prod/app"].items() if text}
    applied = apply(many, rows["prod/app"])
    assert codes(applied) == [("Take the reviewed plan", 0), ("Apply", 0), ("Let the run end", 0)], applied
    assert many.skills() == ["App"]
    assert codes(apply(many, {**rows["prod/app"], "state": "prod/net", "slug": "prod-net"})) == [
        ("Seal the reviewed plan", 41)
    ], "nobody reviewed a plan of it"

    by_hand = find_roots(many, "interlock-apply.yml", {expression: "", "inputs.roots": "prod/net prod/solo"})
    assert by_hand["states"] == ["prod/net", "prod/solo"]
    everything = find_roots(many, "interlock-apply.yml", {expression: "", "inputs.roots": ""})
    assert everything["states"] == ["prod/app", "prod/net", "prod/solo"]


def test_a_push_whose_base_is_not_known_applies_nothing_and_says_so(many: Runner) -> None:
    expression = "github.event_name == 'push' && github.event.before || ''"
    job = GitHubJob(many, "interlock-apply.yml", "roots", values={expression: "0" * 40, "inputs.roots": ""})
    (found,) = job.execute()
    assert found.code == 3
    assert "git does not know the commit" in found.err
    assert job.outputs == {}


@pytest.mark.slow
def test_thirty_roots_make_short_files(many: Runner) -> None:
    states = []
    for number in range(30):
        folder = many.checkout / f"r{number}"
        folder.mkdir()
        (folder / "main.tf").write_text(MODULE)
        states.append(f"  r{number}: {{directory: r{number}, environment: production}}\n")
    text = (many.checkout / "interlock.yaml").read_text()
    head, _, tail = text.partition(STATES)
    (many.checkout / "interlock.yaml").write_text(head + "".join(states) + tail)
    many.run("interlock", "ci", "generate", "github")
    lines = {path.name: path.read_text().count("\n") for path in (many.checkout / ".github/workflows").iterdir()}
    assert lines["interlock-apply.yml"] < 900
    assert max(lines["interlock-plan.yml"], lines["interlock-root.yml"], lines["interlock-drift.yml"]) < 260


# -- GitLab -----------------------------------------------------------------------------------------------------------


def jobs_of_gitlab(runner: Runner) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(
        (runner.checkout / ".gitlab/interlock.gitlab-ci.yml").read_text()
    )
    return found


def is_there(runner: Runner, job: str, base: str) -> bool:
    """Say whether GitLab puts a job into the pipeline of a change: `changes` beside the rule's `if`."""
    changed = runner.run("git", "diff", "--name-only", base).split()
    patterns = [each for rule in jobs_of_gitlab(runner)[job]["rules"] for each in rule.get("changes", [])]
    return any(
        path == each or (each.endswith("/**/*") and path.startswith(each.removesuffix("**/*")))
        for path in changed
        for each in patterns
    )


@pytest.mark.slow
def test_gitlab_has_the_jobs_of_the_roots_that_a_change_touches_as_interlock_itself_says(many: Runner) -> None:
    many.run("interlock", "ci", "generate", "gitlab")
    many.commit()
    base = many.run("git", "rev-parse", "HEAD").strip()
    for file, touched in (
        ("modules/text/main.tf", ["prod-solo"]),
        ("net/queues.tf", ["prod-app", "prod-net"]),
        ("app/a.auto.tfvars", ["prod-app"]),
        ("README.md", []),
        (".github/workflows/x.yml", []),
    ):
        many.run("git", "reset", "--quiet", "--hard", base)
        (many.checkout / file).write_text("# changed\n")
        many.run("git", "add", "--all")
        there = [slug for slug in ("prod-app", "prod-net", "prod-solo") if is_there(many, f"plan:{slug}", base)]
        told = json.loads(many.run("interlock", "ci", "roots", "--changed", base, "--json"))["roots"]
        assert there == [row["slug"] for row in told] == touched, file
        assert [is_there(many, f"apply:{slug}", base) for slug in there] == [True] * len(there)


def test_gitlab_applies_a_root_behind_those_that_it_needs_where_they_are_applied_too(many: Runner) -> None:
    many.run("interlock", "ci", "generate", "gitlab")
    jobs = jobs_of_gitlab(many)
    behind = {"job": "apply:prod-net", "optional": True, "artifacts": False}
    assert jobs["apply:prod-app"]["needs"] == ["seal:prod-app", behind]
    assert jobs["apply:prod-net"]["needs"] == ["seal:prod-net"]
    assert all(jobs[f"plan-anew:{slug}"]["extends"] == f"plan:{slug}" for slug in ("prod-app", "prod-net"))


@pytest.mark.slow
def test_gitlab_plans_comments_once_and_applies_exactly_that_on_merge(many: Runner) -> None:
    many.run("interlock", "ci", "generate", "gitlab")
    many.commit()
    planned, waited = run_gitlab_job(many, "plan:prod-net")
    assert (planned.code, waited.code) == (0, 0), planned.err
    assert (many.checkout / "report-prod-net.json").is_file()
    jobs = [{"id": 1, "name": "plan:prod-net", "status": "success"}, {"id": 2, "name": "plan:prod-app"}]
    many.api.on("GET", "/projects/7/pipelines/90/jobs", jobs)
    notes = "/projects/7/merge_requests/3/notes"
    many.api.on("GET", notes, [])
    many.api.on("POST", notes, {"id": 1})
    told, _ = run_gitlab_job(many, "comment", CI_MERGE_REQUEST_IID="3")
    assert told.code == 0, told.err
    body = str(many.api.sent("POST")[-1].json()["body"])
    assert "| `prod/net` | 1 to add, 0 to change, 0 to remove |" in body
    assert "| `prod/app` | **no plan**: its job kept no report; made before `prod/net` is applied" in body
    assert "prod/solo" not in body
    merge_on_gitlab(many)
    job = {"id": 501, "name": "plan:prod-net", "status": "success", "finished_at": "2026-11-24T11:00:00Z"}
    many.api.on("GET", "/projects/7/pipelines/50/jobs", [job])
    sealed, _ = run_gitlab_job(many, "seal:prod-net")
    assert sealed.code == 0, sealed.err
    handed = dict(line.split("=") for line in (many.checkout / "interlock.env").read_text().splitlines())
    applied, waited = run_gitlab_job(many, "apply:prod-net", **handed)
    assert (applied.code, waited.code) == (0, 0), applied.err
    assert many.skills() == ["Net"]


# -- Azure ------------------------------------------------------------------------------------------------------------


def find_on_azure(runner: Runner, reason: str) -> Outcome:
    (found,) = run_azure_stage(
        runner, "roots", BUILD_REASON=reason, BUILD_SOURCEBRANCH="refs/heads/main", BUILD_REPOSITORY_NAME="r"
    )
    return found


@pytest.mark.slow
def test_azure_finds_the_roots_of_a_change_of_a_push_and_by_hand(many: Runner) -> None:
    many.run("interlock", "ci", "generate", "azure")
    many.commit()
    base = many.run("git", "rev-parse", "HEAD").strip()
    many.run("git", "update-ref", "refs/remotes/origin/main", "HEAD")
    (many.checkout / "net/queues.tf").write_text("")
    many.commit()
    builds = "/org/p/_apis/build/builds"
    many.api.on("GET", builds, {"value": [{"id": 90, "sourceVersion": "x"}, {"id": 88, "sourceVersion": base}]})
    for reason, states in (
        ("PullRequest", ["prod/app", "prod/net"]),
        ("IndividualCI", ["prod/app", "prod/net"]),
        ("Manual", ["prod/app", "prod/net", "prod/solo"]),
    ):
        found = find_on_azure(many, reason)
        assert found.code == 0, found.err
        assert json.loads(handed_on([found])["states"].replace("%5D", "]")) == states
    many.api.on("GET", builds, {"value": []})
    first = find_on_azure(many, "IndividualCI")
    assert first.code == 41
    assert "nobody knows what this push has changed" in first.err


@pytest.mark.slow
def test_azure_applies_a_root_behind_those_that_it_needs_where_the_change_touches_them(many: Runner) -> None:
    many.run("interlock", "ci", "generate", "azure")
    stages = {stage["stage"]: stage for stage in azure_stages(many)}
    assert stages["apply_prod_app"]["dependsOn"] == ["roots", "seal_prod_app", "apply_prod_net"]
    touched = "contains(dependencies.roots.outputs['roots.find.states'], '\"prod/net\"')"
    applied = "in(dependencies.apply_prod_net.result, 'Succeeded', 'SucceededWithIssues')"
    assert f"or(not({touched}), {applied})" in stages["apply_prod_app"]["condition"]
    assert stages["apply_prod_net"]["dependsOn"] == ["roots", "seal_prod_net"]
    assert stages["plan_prod_net"]["condition"].startswith(f"and({touched}, ")
    assert stages["comment"]["dependsOn"] == ["roots", "plan_prod_app", "plan_prod_net", "plan_prod_solo"]


@pytest.mark.slow
def test_azure_plans_comments_once_and_applies_exactly_that_on_merge(many: Runner) -> None:
    many.run("interlock", "ci", "generate", "azure")
    many.commit()
    planned = run_azure_stage(many, "plan_prod_net")
    assert {code for _, code in codes(planned)} == {0}, planned
    threads = "/org/p/_apis/git/repositories/r/pullRequests/8/threads"
    many.api.on("GET", threads, {"value": []})
    many.api.on("POST", threads, {"id": 1})
    rows = json.dumps([{"state": "prod/app", "behind": "prod/net"}, {"state": "prod/net", "behind": ""}])
    told = run_azure_stage(many, "comment", SYSTEM_PULLREQUEST_PULLREQUESTID="8", ROOTS=rows)
    assert codes(told) == [("Comment", 0)], told
    body = json.dumps(many.api.sent("POST")[-1].json())
    assert "| `prod/net` | 1 to add, 0 to change, 0 to remove |" in body
    assert "| `prod/app` | **no plan**: its job kept no report; made before `prod/net` is applied" in body
    merge_on_azure(many)
    sealed = run_azure_stage(many, "seal_prod_net")
    assert codes(sealed) == [("Seal the reviewed plan", 0)], sealed
    handed = handed_on(sealed)
    needed = {"PLAN_DIGEST": handed["digest"], "PLAN_RUN": handed["run"], "SEALED": handed["artifact"]}
    applied = run_azure_stage(many, "apply_prod_net", **needed)
    assert codes(applied) == [("Take the reviewed plan", 0), ("Apply", 0), ("Let the run end", 0)], applied
    assert many.skills() == ["Net"]

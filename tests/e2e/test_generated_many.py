"""Generated workflows for many roots, executed: only the roots that a change touches, in order, in one comment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.ci_jobs import CONFIGURATION, MODULE, GitHubJob, Outcome, Runner, codes, merge_on_github

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
    }
    merge_on_github(many)
    planned = plan(many, row)
    assert {code for _, code in codes(planned)} == {0}, planned
    body = commented(many, ["prod/solo", "prod/net"])
    assert body.startswith("<!-- interlock plans -->\n")
    assert "| `prod/solo` | 1 to add, 0 to change, 0 to remove |" in body
    assert "| `prod/net` | **no plan**: its job kept no report |" in body
    assert "genesyscloud_routing_skill.billing" in body
    assert "touches no root module" in commented(many, [])


def commented(runner: Runner, states: list[str]) -> str:
    comments = "/repos/o/r/issues/5/comments"
    runner.api.on("GET", comments, [])
    runner.api.on("POST", comments, {"html_url": "https://github.example/o/r/pull/5#1"})
    values = {"needs.roots.outputs.states": json.dumps(states)}
    done = GitHubJob(runner, "interlock-plan.yml", "comment", run="50", values=values).execute()
    assert codes(done) == [("Comment", 0)], done
    return str(runner.api.sent("POST")[-1].json()["body"])


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

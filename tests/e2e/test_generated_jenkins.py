"""The Jenkinsfiles that `ci generate jenkins` writes, executed; see `tests/jenkins_jobs.py`."""

from __future__ import annotations

import signal

import pytest
from tests.cancelled_jobs import WHOLE, kill, prepare, saved, start
from tests.ci_jobs import KEYS, Runner
from tests.jenkins_jobs import Build, summary
from tests.pipeline_cells import check_cells

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

APPLY, PLAN = "Jenkinsfile.interlock-apply", "Jenkinsfile.interlock-plan"
PLANNED = [("plan", 0), ("ci wrap", 0), ("wait", 0), ("ci comment", 0)]
APPLIED = [("ci seal", 0), ("ci reviewed", 0), ("apply", 0), ("wait", 0)]


def test_jenkins_shows_the_plan_of_a_change_and_applies_exactly_the_approved_one(runner: Runner) -> None:
    runner.generate("jenkins")
    change = Build(runner=runner, file=PLAN, variables={"CHANGE_TARGET": "main", "BRANCH_NAME": "PR-5"})
    assert summary(change.run()) == [("plan", 0), ("wait", 0), ("ci comment", 0)], change.outcomes
    assert "**1 to add, 0 to change, 0 to remove.**" in (runner.checkout / "plan.md").read_text()
    assert runner.skills() == []
    build = Build(runner=runner, file=APPLY, variables={"BRANCH_NAME": "main"})
    assert summary(build.run()) == PLANNED + APPLIED, build.outcomes
    assert build.asked == [f'message "Apply plan {build._env["PLAN_DIGEST_prod_routing"]}?"']
    assert runner.skills() == ["Billing"]
    assert not any(
        secret in outcome.err + outcome.out for outcome in build.outcomes for secret in (KEYS.seal, KEYS.plan)
    )


def test_nobody_approves_and_jenkins_applies_nothing(runner: Runner) -> None:
    runner.generate("jenkins")
    build = Build(runner=runner, file=APPLY, variables={"BRANCH_NAME": "main"}, approved=False)
    assert summary(build.run()) == [*PLANNED, ("ci seal", 0)]
    assert runner.skills() == []


def test_a_forks_change_and_another_branch_start_nothing_on_jenkins(runner: Runner) -> None:
    runner.generate("jenkins")
    fork = {"CHANGE_TARGET": "main", "CHANGE_FORK": "stranger"}
    assert Build(runner=runner, file=PLAN, variables=fork).run() == []
    assert Build(runner=runner, file=PLAN, variables={"CHANGE_TARGET": "other"}).run() == []
    other = Build(runner=runner, file=APPLY, variables={"BRANCH_NAME": "feature"})
    assert summary(other.run())[-1] == ("ci seal", 41)


@pytest.mark.promise("P9")
def test_an_aborted_build_of_jenkins_saves_its_state(runner: Runner) -> None:
    """Jenkins sends SIGTERM to every process that carries the build's cookie, and then runs `post`."""
    prepare(runner, "jenkins")
    build = Build(runner=runner, file=APPLY, variables={"BRANCH_NAME": "main"})
    plan, seal, apply = build.stages()
    build.run_stage(plan)
    build.run_stage(seal)
    reviewed, applied = apply.one("steps").blocks("withCredentials")
    environ = {**runner.environ, **build.environ(apply)}
    opened = runner.shell("open", build.script(reviewed.statements()[0]), {**environ, **build.bound(reviewed.head)})
    assert opened.code == 0, opened.err
    step = start(
        runner,
        build.script(applied.statements()[0]),
        {**environ, **build.bound(applied.head)},
        build.script(apply.one("post").one("always").statements()[0]),
        by=("sh", "-xe"),
    )
    step.environ = environ  # the credentials are bound to that block alone
    kill(step.tracked("JENKINS_NODE_COOKIE"), signal.SIGTERM)
    code, run = step.end()
    assert (code, run["exit"]) == (143, 143), run
    assert runner.skills() == ["Billing"]
    assert saved(runner) == WHOLE
    check_cells("jenkins", "own", {"cancelled": f"wait {code}, state saved"})

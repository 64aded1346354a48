"""The Jenkinsfiles that `ci generate jenkins` writes, executed; see `tests/jenkins_jobs.py`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from tests.ci_jobs import KEYS, MODULE, STEP_S, Runner
from tests.jenkins_jobs import Build, summary
from tests.pipeline_cells import check_cells

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

APPLY, PLAN = "Jenkinsfile.interlock-apply", "Jenkinsfile.interlock-plan"
PLANNED = [("plan", 0), ("ci wrap", 0), ("wait", 0), ("ci comment", 0)]
APPLIED = [("ci seal", 0), ("ci reviewed", 0), ("apply", 0), ("wait", 0)]
WORKING = """
resource "terraform_data" "working" {
  depends_on = [genesyscloud_routing_skill.billing]

  provisioner "local-exec" {
    command = "touch $MARK; while [ -e $GATE ]; do sleep 0.1; done"
  }
}
"""


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
    (runner.checkout / "infra/main.tf").write_text(MODULE + WORKING)
    mark, gate = runner.folder / "began", runner.folder / "gate"
    runner.environ |= {"MARK": str(mark), "GATE": str(gate)}
    gate.touch()
    runner.generate("jenkins")
    build = Build(runner=runner, file=APPLY, variables={"BRANCH_NAME": "main"})
    plan, seal, apply = build.stages()
    build.run_stage(plan)
    build.run_stage(seal)
    reviewed, applied = apply.one("steps").blocks("withCredentials")
    environ = {**runner.environ, **build.environ(apply)}
    opened = runner.shell("open", build.script(reviewed.statements()[0]), {**environ, **build.bound(reviewed.head)})
    assert opened.code == 0, opened.err
    file = runner.temp / "apply.sh"
    file.write_text(build.script(applied.statements()[0]))
    step = subprocess.Popen(
        ["sh", "-xe", str(file)],
        cwd=runner.checkout,
        env={**environ, **build.bound(applied.head)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + STEP_S
    while not mark.exists():
        assert step.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for pid in _with_cookie(runner):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    wait = build.script(apply.one("post").one("always").statements()[0])
    with ThreadPoolExecutor(1) as side:
        waiting = side.submit(runner.shell, "wait", wait, environ)
        while not any("Interrupt received" in path.read_text() for path in _events(runner)):
            assert not waiting.done(), waiting.result()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        gate.unlink()
        code = waiting.result().code
        assert code == 143, waiting.result().err
    step.wait(timeout=STEP_S)
    assert runner.skills() == ["Billing"]
    assert "genesyscloud_routing_skill" in runner.run("interlock", "state", "pull", "prod/routing")
    check_cells("jenkins", "own", {"cancelled": f"wait {code}, state saved"})


def _events(runner: Runner) -> list[Path]:
    return list((runner.folder / "home" / "runs").glob("*/apply.jsonl"))


def _with_cookie(runner: Runner) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            environ = entry.read_bytes()
            if b"JENKINS_NODE_COOKIE=" in environ and str(runner.folder).encode() in environ:
                found.append(int(entry.parent.name))
    return found

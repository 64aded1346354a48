"""A cancelled apply of a generated pipeline, with the signals that each platform sends to the processes of a job.

GitHub: SIGINT to the step's entry process, SIGTERM after 7.5 s, after 2.5 s more the process tree is killed, and at the
end of the job everything that carries its tracking id. GitLab (docker, kubernetes): SIGTERM to every process of the
container but the first, highest number first. Azure: the step's process tree is killed. See docs/facts/ci-systems.md.
"""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress

import pytest
from tests.cancelled_jobs import WHOLE, Step, kill, prepare, saved, start
from tests.ci_jobs import (
    GitHubJob,
    Runner,
    azure_apply_steps,
    handed_on,
    installs,
    merge_on_azure,
    merge_on_gitlab,
    plan_on_github,
    prepare_gitlab_job,
    run_azure_stage,
    run_gitlab_job,
)
from tests.desk import tree
from tests.pipeline_cells import check_cells

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

INTERRUPT_S, TERMINATE_S = 7.5, 2.5  # how long GitHub's runner waits after each signal
TRACKING, TRACKING_AZURE = "RUNNER_TRACKING_ID", "VSTS_PROCESS_LOOKUP_ID"


def start_on_github(runner: Runner) -> Step:
    prepare(runner, "github")
    plan_on_github(runner)
    seal = GitHubJob(runner, "interlock-apply.yml", "seal-prod-routing")
    assert [outcome.code for outcome in seal.execute()] == [0]
    job = GitHubJob(runner, "interlock-apply.yml", "apply-prod-routing", needs=seal.outputs)
    take, apply, wait = (step for step in job.job["steps"] if "run" in step and not installs(step["run"]))
    assert wait["if"] == "always()"
    assert runner.shell(take["name"], take["run"], job.environ(take)).code == 0
    return start(runner, apply["run"], {**job.environ(apply), TRACKING: "github_1"}, wait["run"])


def start_on_gitlab(runner: Runner) -> Step:
    prepare(runner, "gitlab")
    assert run_gitlab_job(runner, "plan:prod-routing")[0].code == 0
    merge_on_gitlab(runner)
    assert run_gitlab_job(runner, "seal:prod-routing")[0].code == 0
    handed = dict(line.split("=") for line in (runner.checkout / "interlock.env").read_text().splitlines())
    environ, script, after = prepare_gitlab_job(runner, "apply:prod-routing", **handed)
    return start(runner, script, environ, after.replace(' || echo "interlock wait ended with $?"', ""))


def start_on_azure(runner: Runner) -> Step:
    prepare(runner, "azure")
    run_azure_stage(runner, "plan_prod_routing")
    merge_on_azure(runner)
    out = handed_on(run_azure_stage(runner, "seal_prod_routing"))
    names = {"PLAN_DIGEST": out["digest"], "PLAN_RUN": out["run"], "SEALED": out["artifact"]}
    (take, apply, stop, wait), environ = azure_apply_steps(runner, **names)
    assert (stop["condition"], wait["condition"]) == ("canceled()", "always()")
    assert runner.shell("take", take["bash"], environ(take)).code == 0
    return start(runner, apply["bash"], {**environ(apply), TRACKING_AZURE: "vsts_1"}, stop["bash"], wait["bash"])


@pytest.mark.promise("P9")
def test_githubs_three_signals_end_an_apply_with_its_state_saved(runner: Runner) -> None:
    step = start_on_github(runner)
    step.process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        step.process.wait(timeout=INTERRUPT_S)
    step.process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        step.process.wait(timeout=TERMINATE_S)
    kill(tree(step.process.pid), signal.SIGKILL)
    kill(step.tracked(TRACKING), signal.SIGKILL)
    code, run = step.end()
    assert (code, run["exit"]) == (130, 130), run
    assert saved(runner) == WHOLE
    assert runner.skills() == ["Billing"]
    check_cells("github", "own", {"cancelled": f"wait {code}, state saved"})


@pytest.mark.promise("P9")
def test_gitlabs_sigterm_to_every_process_ends_an_apply_with_its_state_saved(runner: Runner) -> None:
    step = start_on_gitlab(runner)
    everybody = sorted((pid for pid, _ in step.processes()), reverse=True)
    assert len(everybody) > 4  # the step, the supervisor, Terraform, its provider and what it runs
    kill(everybody, signal.SIGTERM)
    code, run = step.end()
    assert (code, run["exit"]) == (143, 143), run
    assert saved(runner) == WHOLE
    assert runner.skills() == ["Billing"]
    check_cells("gitlab", "own", {"cancelled": f"wait {code}, state saved"})


@pytest.mark.promise("P9")
def test_azures_kill_of_the_step_leaves_the_apply_to_be_stopped_by_the_next_one(runner: Runner) -> None:
    step = start_on_azure(runner)
    kill(tree(step.process.pid), signal.SIGKILL)
    kill(step.tracked(TRACKING_AZURE), signal.SIGKILL)
    code, run = step.end()
    assert (code, run["exit"]) == (143, 143), run
    assert saved(runner) == WHOLE
    assert runner.skills() == ["Billing"]
    check_cells("azure", "own", {"cancelled": f"wait {code}, state saved"})

"""A cancelled apply of a generated pipeline, with the signals that each platform sends to the processes of a job.

GitHub: SIGINT to the step's entry process, SIGTERM after 7.5 s, after 2.5 s more the process tree is killed, and at the
end of the job everything that carries its tracking id. GitLab (docker, kubernetes): SIGTERM to every process of the
container but the first, highest number first. Azure: the step's process tree is killed. See docs/facts/ci-systems.md.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.ci_jobs import (
    MODULE,
    STEP_S,
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
WORKING = """
resource "terraform_data" "working" {
  depends_on = [genesyscloud_routing_skill.billing]

  provisioner "local-exec" {
    command = "touch $MARK; while [ -e $GATE ]; do sleep 0.1; done"
  }
}
"""


@dataclass(kw_only=True)
class Step:
    """A step that runs, and the one that waits for its run."""

    runner: Runner
    process: subprocess.Popen[bytes]
    waits: list[str]
    environ: dict[str, str]

    def until_working(self) -> None:
        mark = self.runner.folder / "began"
        deadline = time.monotonic() + STEP_S
        while not mark.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def end(self) -> tuple[int, dict[str, object]]:
        """Let the work go on when Terraform stops, and wait as the job's last steps do; return status and report."""
        with ThreadPoolExecutor(1) as side:
            waiting = side.submit(self._wait)
            deadline = time.monotonic() + STEP_S
            while not self._is_stopping():
                assert not waiting.done(), waiting.result()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            (self.runner.folder / "gate").unlink()
            codes = waiting.result()
        self.process.wait(timeout=STEP_S)
        run = json.loads(self.runner.run("interlock", "runs", "ls", "--json"))["runs"][0]
        return codes[-1], run

    def _wait(self) -> list[int]:
        return [self.runner.shell("wait", script, self.environ).code for script in self.waits]

    def _is_stopping(self) -> bool:
        events = (self.runner.folder / "home" / "runs").glob("*/apply.jsonl")
        return any("Interrupt received" in path.read_text() for path in events)

    def tracked(self, mark: str) -> list[int]:
        """Return what the platform's clean-up at the end of a job kills."""
        return [pid for pid, environ in self.processes() if f"{mark}=".encode() in environ]

    def processes(self) -> Iterator[tuple[int, bytes]]:
        """Yield every process of the job's container, and its environment: those that know this runner's folder."""
        for entry in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                environ = entry.read_bytes()
                if str(self.runner.folder).encode() in environ:
                    yield int(entry.parent.name), environ


def start(runner: Runner, script: str, environ: dict[str, str], *waits: str) -> Step:
    (runner.folder / "gate").touch()
    file = runner.temp / "apply.sh"
    file.write_text(script)
    process = subprocess.Popen(
        ["bash", "-e", str(file)],
        cwd=runner.checkout,
        env={**runner.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    step = Step(runner=runner, process=process, waits=list(waits), environ=environ)
    step.until_working()
    return step


def prepare(runner: Runner, platform: str) -> None:
    (runner.checkout / "infra/main.tf").write_text(MODULE + WORKING)
    runner.environ |= {"MARK": str(runner.folder / "began"), "GATE": str(runner.folder / "gate")}
    runner.generate(platform)


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


def kill(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def saved(runner: Runner) -> list[str]:
    state = json.loads(runner.run("interlock", "state", "pull", "prod/routing"))
    holders = json.loads(runner.run("interlock", "queue", "ls", "--json"))["states"][0]["holders"]
    assert holders == []
    return sorted(resource["type"] for resource in state["resources"])


WHOLE = ["genesyscloud_routing_skill", "terraform_data"]


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

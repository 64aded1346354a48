"""Kills at each phase and Ctrl-C under the real provider: what was made is in the state, or named."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.desk import children, sees_whole_machine
from tests.real_provider.test_pressure import MANY
from tests.real_provider.trial import Trial

from interlock.run.summary import Summary
from interlock.simulator import FaultKind, FaultRule, Terms

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.real_provider]

COUNT = 40
SLOW = FaultRule(kind=FaultKind.HANG, rate=1.0, method="POST", seconds=0.3, path="/routing/")


@pytest.fixture
def slow(trial_with: Callable[[Terms], Trial]) -> Trial:
    """A trial in which every creation takes a while."""
    return trial_with(Terms(limits=(), faults=(SLOW,)))


def provider_of(summary: Summary) -> int:
    """Return the provider's process below the run's Terraform."""
    below = children(summary.processes["terraform"].pid)
    return next(pid for pid in below if b"provider-genesyscloud" in Path(f"/proc/{pid}/cmdline").read_bytes())


def in_the_middle(trial: Trial, module: Path) -> tuple[object, Summary]:
    """Start an apply and wait until it has made some objects."""
    run = trial.desk.start("apply", module, "--state", "s", "--auto-approve")
    trial.desk.until(lambda: len(trial.names("wrapupcode")) > COUNT // 4 or None, "a run that has begun")
    return run, trial.desk.until_working()


def settled(trial: Trial, module: Path) -> None:
    """Apply again until nothing is left to do, taking over what is in the organisation and in no state."""
    answer = trial.run("plan", module)
    assert answer.code == 0, answer.err[-4000:]
    in_state = {each["attributes"]["id"] for each in trial.resources()}
    in_organisation = {item["id"] for item in trial.simulation.snapshot()["wrapupcode"]}
    assert in_state <= in_organisation
    lost = in_organisation - in_state
    said = answer.err + answer.out + "".join(trial.desk.run("runs", "show", run.run).out for run in trial.desk.runs())
    assert all(identifier in said for identifier in lost), (lost, said[-4000:])


@pytest.mark.promise("P3")
@pytest.mark.parametrize("victim", ["provider", "terraform", "supervisor"])
def test_a_process_killed_in_the_middle_of_an_apply_loses_nothing_unsaid(slow: Trial, victim: str) -> None:
    if not sees_whole_machine():
        pytest.skip("the processes of other users are hidden here, so the provider cannot be found")
    module = slow.write(MANY.format(count=COUNT))
    run, summary = in_the_middle(slow, module)
    pid = provider_of(summary) if victim == "provider" else summary.processes[victim].pid
    os.kill(pid, signal.SIGKILL)
    answer = run.wait()  # type: ignore[attr-defined]
    assert answer.code != 0
    settled(slow, module)


@pytest.mark.promise("P9")
def test_one_ctrl_c_stops_and_saves(slow: Trial) -> None:
    module = slow.write(MANY.format(count=COUNT))
    run, _ = in_the_middle(slow, module)
    run.signal(signal.SIGINT)  # type: ignore[attr-defined]
    answer = run.wait()  # type: ignore[attr-defined]
    assert answer.code == 130, answer.err[-4000:]
    assert slow.desk.lock().holders == ()
    settled(slow, module)


@pytest.mark.promise("P3")
def test_a_run_killed_while_it_plans_leaves_nothing_behind(slow: Trial) -> None:
    module = slow.write(MANY.format(count=COUNT))
    slow.applied(module)
    run = slow.desk.start("plan", module, "--state", "s")
    summary = slow.desk.until_phase("planning")
    os.kill(summary.processes["supervisor"].pid, signal.SIGKILL)
    assert run.wait().code != 0
    slow.unchanged(module)

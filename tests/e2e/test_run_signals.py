"""Signals that come twice, together, or to every process of a run: nothing is lost, or what is lost is named."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from tests import slow_provider
from tests.desk import Desk, Started

from interlock.run.summary import Summary

pytestmark = pytest.mark.e2e

THINGS = {f"thing-{number}" for number in range(5)}
UNPROTECTED = {"INTERLOCK_PROTECT_TERRAFORM": "off"}


@pytest.fixture
def slow(desk: Desk) -> Path:
    """A folder with a provider whose objects are not ready before its gate is opened."""
    folder = desk.folder / "slow"
    folder.mkdir()
    desk.environ.update({**slow_provider.install(folder), **UNPROTECTED})
    (folder / "gate").touch()
    return folder


def open_gate(slow: Path) -> None:
    (slow / "gate").unlink()


def start(desk: Desk, slow: Path, *words: object) -> tuple[Started, Summary]:
    """Start an apply and wait until all five objects are being made."""
    module = desk.module(text=slow_provider.MODULE)
    run = desk.start("apply", module, "--state", "s", "--auto-approve", *words)
    desk.until(lambda: slow_provider.begun(slow) == THINGS, "five objects under way")
    return run, desk.until_working()


def saved(desk: Desk) -> set[str]:
    resources = json.loads(desk.run("state", "pull", "s").out)["resources"]
    return {instance["attributes"]["name"] for resource in resources for instance in resource["instances"]}


def output(desk: Desk) -> str:
    return (desk.run_folder() / "apply.jsonl").read_text()


def until_stopping(desk: Desk, slow: Path) -> None:
    desk.until(lambda: slow_provider.is_stopping(slow) or None, "a Terraform that is stopping")


@pytest.mark.promise("P9")
def test_a_run_that_was_stopped_and_then_killed_is_recovered_without_a_second_signal(desk: Desk, slow: Path) -> None:
    run, summary = start(desk, slow)
    run.signal(signal.SIGINT)
    until_stopping(desk, slow)
    os.kill(summary.processes["supervisor"].pid, signal.SIGKILL)
    run.signal(signal.SIGKILL)
    next_run = desk.start("plan", desk.folder / "module", "--state", "s")
    waiter = desk.until_waiting()[0]
    desk.until(lambda: desk.journal(waiter, "recovery") or None, "a recovery that looks at the dead run")
    open_gate(slow)
    assert next_run.wait().code == 0, next_run.wait().err
    assert "Two interrupts" not in (desk.run_folder(summary.run) / "apply.jsonl").read_text()
    assert slow_provider.made(slow) == saved(desk) == THINGS
    assert desk.summary(summary.run).exit == 143


@pytest.mark.promise("P9")
@pytest.mark.parametrize("first", ["supervisor", "terraform"])
def test_a_signal_to_supervisor_and_terraform_together_stops_terraform_once(desk: Desk, slow: Path, first: str) -> None:
    run, summary = start(desk, slow)
    second = {"supervisor": "terraform", "terraform": "supervisor"}[first]
    for role in (first, second):
        os.kill(summary.processes[role].pid, signal.SIGTERM)
    until_stopping(desk, slow)
    desk.until(lambda: desk.journal(kind="asked") or None, "a supervisor that has looked whether it must ask")
    open_gate(slow)
    ended = run.wait()
    assert ended.code == 143, ended.err
    assert [entry.facts["outcome"] for entry in desk.journal(kind="asked")] == ["elsewhere"]
    assert "Two interrupts" not in output(desk)
    assert slow_provider.made(slow) == saved(desk) == THINGS
    assert desk.lock().holders == ()


@pytest.mark.promise("P9")
def test_a_burst_of_signals_is_one_wish(desk: Desk, slow: Path) -> None:
    run, summary = start(desk, slow)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        run.signal(number)
        os.kill(summary.processes["supervisor"].pid, number)
    until_stopping(desk, slow)
    open_gate(slow)
    ended = run.wait()
    assert ended.code in (130, 143), ended.err
    assert [entry.facts["action"] for entry in desk.journal(kind="interrupt")].count("stop") == 1
    assert {str(entry.facts["action"]) for entry in desk.journal(kind="interrupt")} == {"stop", "ignore"}
    assert slow_provider.made(slow) == saved(desk) == THINGS


@pytest.mark.promise("P8")
def test_a_terraform_that_others_signalled_twice_is_told_as_not_saved_with_its_operations(
    desk: Desk, slow: Path
) -> None:
    run, summary = start(desk, slow)
    terraform = summary.processes["terraform"].pid
    os.kill(terraform, signal.SIGTERM)
    until_stopping(desk, slow)
    os.kill(terraform, signal.SIGTERM)
    ended = run.wait()
    assert ended.code == 131, ended.err
    for number in range(5):
        assert f"slow_thing.made[{number}] (create)" in ended.err
    shown = desk.run("runs", "show", summary.run).out
    assert "slow_thing.made[3] (create)" in shown
    assert len(desk.summary().in_flight) == 5
    assert desk.lock().holders == ()


@pytest.mark.promise("P8")
def test_a_provider_that_is_killed_while_its_run_is_stopped_is_told_as_not_saved(desk: Desk, slow: Path) -> None:
    run, summary = start(desk, slow)
    (provider,) = children(summary.processes["terraform"].pid)
    run.signal(signal.SIGTERM)
    until_stopping(desk, slow)
    os.kill(provider, signal.SIGKILL)
    ended = run.wait()
    assert ended.code == 131, ended.err
    assert "slow_thing.made[0] (create)" in ended.err
    assert "stack trace" not in ended.err


def children(pid: int) -> list[int]:
    """Return the processes whose parent `pid` is."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if entry.read_text().rpartition(")")[2].split()[1] == str(pid):
                found.append(int(entry.parent.name))
    return found

"""Signals that come twice, together, or to every process of a run: nothing is lost, or what is lost is named."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests import slow_provider
from tests.desk import STEP_S, Desk, Started, children, tree

from interlock.lock import Requested
from interlock.run.summary import Summary

pytestmark = pytest.mark.e2e

THINGS = {f"thing-{number}" for number in range(5)}
HOLDER = Requested(ticket="holder", who="somebody", lease_s=600.0, patience_s=600.0)
UNPROTECTED = {"INTERLOCK_PROTECT_TERRAFORM": "never"}


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


@pytest.mark.slow
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
@pytest.mark.parametrize("first", ["supervisor", pytest.param("terraform", marks=pytest.mark.slow)])
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


@pytest.mark.promise("P9")
@pytest.mark.parametrize("phase", ["queued", pytest.param("awaiting", marks=pytest.mark.slow), "applying"])
def test_a_terminal_that_is_closed_stops_its_run_and_loses_nothing(desk: Desk, slow: Path, phase: str) -> None:
    module = desk.module(text=slow_provider.MODULE)
    holder = (
        desk.ask(lambda embedded: embedded.coordinator.acquire("s", HOLDER, timeout_s=0.0))
        if phase == "queued"
        else None
    )
    approve = () if phase == "awaiting" else ("--auto-approve", "--first-apply")
    process, terminal = desk.start_at_terminal("apply", module, "--state", "s", *approve)
    if phase == "applying":
        desk.until(lambda: slow_provider.begun(slow) == THINGS, "five objects under way")
        desk.until_working()
    else:
        desk.until_phase(phase)
        desk.until(lambda: desk.journal(kind="standing" if holder else "approval") or None, "a run that has said so")
    os.close(terminal)  # the kernel sends SIGHUP to everybody in its session
    if phase == "applying":
        until_stopping(desk, slow)
        open_gate(slow)
    assert process.wait(STEP_S) == 143
    summary = desk.summary()
    assert (summary.exit, desk.run("wait", summary.run).code) == (143, 143)
    assert slow_provider.made(slow) == (saved(desk) if phase == "applying" else set())
    lock = desk.lock()
    assert ([each.ticket for each in lock.holders], lock.waiters) == (["holder"] if holder else [], ())


@pytest.mark.slow
@pytest.mark.promise("P9")
def test_a_run_that_nohup_started_outlives_its_terminal(desk: Desk, slow: Path) -> None:
    module = desk.module(text=slow_provider.MODULE)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; what is started now inherits it
    try:
        process, terminal = desk.start_at_terminal("apply", module, "--state", "s", "--auto-approve", "--first-apply")
    finally:
        signal.signal(signal.SIGHUP, before)
    desk.until(lambda: slow_provider.begun(slow) == THINGS, "five objects under way")
    os.close(terminal)
    process.send_signal(signal.SIGHUP)
    open_gate(slow)
    process.wait(STEP_S)
    assert desk.until_ended(desk.summary().run).exit == 0
    assert desk.journal(kind="interrupt") == []
    assert slow_provider.made(slow) == saved(desk) == THINGS


@pytest.mark.promise("P8")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_server_that_is_signalled_again_and_again_ends_once_and_well(desk: Desk, number: signal.Signals) -> None:
    server = desk.start("serve", "--listen", "127.0.0.1:0")
    assert server.process.stderr is not None
    server.process.stderr.readline()
    for _ in range(20):
        if server.process.poll() is None:
            server.signal(number)
    assert server.wait().code == 0, server.wait().err


@pytest.mark.slow
@pytest.mark.promise("P9")
def test_a_run_that_is_cancelled_twice_is_one_wish_and_the_canceller_is_told(desk: Desk, slow: Path) -> None:
    run, summary = start(desk, slow)
    first = desk.run("runs", "cancel", summary.run)
    second = desk.run("runs", "cancel", summary.run)
    until_stopping(desk, slow)
    open_gate(slow)
    ended = run.wait()
    assert ended.code == 143, ended.err
    assert "stopping: waiting until Terraform" in first.err
    assert "stopping" in second.err or "still waiting" in second.err  # it began within a burst's time, or after
    assert slow_provider.made(slow) == saved(desk) == THINGS


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.promise("P3")
def test_what_a_terraform_still_writes_after_it_was_cut_off_is_in_the_state(desk: Desk, slow: Path) -> None:
    run, summary = start(desk, slow)
    terraform = summary.processes["terraform"].pid
    os.kill(terraform, signal.SIGTERM)
    until_stopping(desk, slow)
    os.kill(terraform, signal.SIGTERM)
    open_gate(slow)  # what its provider completes before it ends, it writes after it gave its lock back
    ended = run.wait()
    assert ended.code in (130, 131, 143), ended.err  # it may have been quicker than its second signal
    completed = {
        str(entry.facts["address"]) for entry in desk.journal(kind="resource") if entry.facts["stage"] == "complete"
    }
    unsaved = {address for address in completed if f"{address} (id " in ended.err}
    known = desk.run("state", "pull", "s").out
    names = {f"slow_thing.made[{number}]": f"thing-{number}" for number in range(5)}
    assert {each for each in completed if names[each] not in known} == unsaved
    assert desk.quarantined() == []


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


FURTHER = [shutil.which("tofu") or "", *os.environ.get("INTERLOCK_TEST_TERRAFORMS", "").split(os.pathsep)]
OTHERS = [tool for tool in FURTHER if tool] or [""]


@pytest.mark.promise("P8")
@pytest.mark.parametrize("tool", OTHERS)
def test_other_tools_stop_once_and_are_cut_off_by_two_signals_in_the_same_words(
    desk: Desk, slow: Path, tool: str
) -> None:
    if not tool:
        pytest.skip("no tofu on PATH, and INTERLOCK_TEST_TERRAFORMS names no further Terraform")
    run, summary = start(desk, slow, "--terraform", tool)
    for role in ("terraform", "supervisor"):
        os.kill(summary.processes[role].pid, signal.SIGTERM)
    until_stopping(desk, slow)
    desk.until(lambda: desk.journal(kind="asked") or None, "a supervisor that has looked whether it must ask")
    assert [entry.facts["outcome"] for entry in desk.journal(kind="asked")] == ["elsewhere"]
    os.kill(summary.processes["terraform"].pid, signal.SIGTERM)
    ended = run.wait()
    assert ended.code == 131, ended.err
    assert len(desk.summary().in_flight) == 5


@pytest.mark.promise("P9")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the filter is Linux's")
def test_a_runner_that_signals_every_process_highest_first_loses_nothing(desk: Desk, slow: Path) -> None:
    desk.environ["INTERLOCK_PROTECT_TERRAFORM"] = "always"
    run, summary = start(desk, slow)
    terraform = summary.processes["terraform"].pid
    victims = {run.process.pid, summary.processes["supervisor"].pid, *tree(terraform)}
    assert len(victims) > 3, "front end, supervisor, Terraform, provider"
    for pid in sorted(victims, reverse=True):
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGHUP)
    until_stopping(desk, slow)
    assert set(tree(terraform)) <= victims, "Terraform and its provider live"
    open_gate(slow)
    ended = run.wait()
    assert ended.code == 143, ended.err
    assert slow_provider.made(slow) == saved(desk) == THINGS
    assert [entry.facts["outcome"] for entry in desk.journal(kind="asked")] == ["sent"]
    assert desk.lock().holders == ()


@pytest.mark.promise("P9")
@pytest.mark.parametrize("moment", ["its folder", "its record"])
def test_signals_to_a_run_that_is_just_starting_end_it_before_it_begins(desk: Desk, module: Path, moment: str) -> None:
    run = desk.apply(module, hold=0, afresh=True)
    if moment == "its folder":
        desk.until(lambda: list((desk.home / "runs").glob("*")), "an order that was handed over")
        run.signal(signal.SIGTERM)
    else:
        summary = desk.until(lambda: next(iter(desk.runs()), None), "a supervisor that has begun")
        os.kill(summary.processes["supervisor"].pid, signal.SIGTERM)
        run.signal(signal.SIGTERM)
    ended = run.wait()
    assert ended.code == 143, ended.err
    assert "Traceback" not in ended.err
    assert desk.until_ended(desk.summary().run).exit == 143
    assert desk.history() == []
    lock = desk.lock()
    assert (lock.holders, lock.waiters) == ((), ())


CONTAINER = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
slow, command, wait = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
run = subprocess.Popen(command)
until = time.monotonic() + 60
while not (slow / "begun").exists() or len((slow / "begun").read_text().split()) < 5:
    assert time.monotonic() < until and run.poll() is None, "five objects are not being made"
    time.sleep(0.02)
pids = sorted((int(name) for name in os.listdir("/proc") if name.isdigit()), reverse=True)
for pid in pids:
    if pid != 1:
        os.kill(pid, signal.SIGTERM)
while not (slow / "stopping").exists():
    assert time.monotonic() < until and run.poll() is None, "Terraform is not asked to stop"
    time.sleep(0.02)
(slow / "gate").unlink()
print(run.wait(), subprocess.call(wait), flush=True)
"""
"""Process 1 of a container: starts a job's script, cancels it as the helper of a GitLab runner does, then cleans up."""


def can_make_containers() -> bool:
    words = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return os.geteuid() == 0 and bool(shutil.which("unshare")) and subprocess.run(words, check=False).returncode == 0


@pytest.mark.promise("P9")
@pytest.mark.skipif(not can_make_containers(), reason="only root can make a pid namespace here")
def test_in_a_container_that_a_runner_cancels_nothing_is_lost_without_any_setting(desk: Desk, slow: Path) -> None:
    del desk.environ["INTERLOCK_PROTECT_TERRAFORM"]
    script = desk.folder / "container.py"
    script.write_text(CONTAINER)
    interlock = [sys.executable, "-m", "interlock"]
    apply = [*interlock, "apply", str(desk.module(text=slow_provider.MODULE)), "--state", "s", "--auto-approve"]
    apply += ["--first-apply"]  # nobody watches in a container
    wait = [*interlock, "wait", "latest"]
    words = [sys.executable, str(script), str(slow), json.dumps(apply), json.dumps(wait)]
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *words],
        env=desk.environ,
        cwd=desk.folder,
        capture_output=True,
        text=True,
        timeout=STEP_S,
        check=False,
    )
    # The plan stands before it where it was drawn up before the signal.
    assert done.stdout.split()[-2:] == ["143", "143"], done.stderr
    assert slow_provider.made(slow) == saved(desk) == THINGS
    (told,) = desk.journal(kind="protection")
    assert told.facts == {"level": "full", "why": "this is a container"}

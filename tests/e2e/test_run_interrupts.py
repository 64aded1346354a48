"""Interrupts in every phase: Terraform finishes and saves, the lock is released, the exit status tells how it ended."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.desk import CUT, Desk, Started

from interlock.run.interrupts import BURST_S
from interlock.run.summary import Summary

pytestmark = [pytest.mark.e2e, pytest.mark.on("own")]

SLOW_PLAN = """#!/bin/sh
case "$*" in *" plan "*) touch "$INTERLOCK_HOME/planning"; exec sleep 20 ;; esac
exec terraform "$@"
"""


def actions(desk: Desk, run: str = "") -> list[str]:
    return [str(entry.facts["action"]) for entry in desk.journal(run, "interrupt")]


def saved(desk: Desk) -> set[str]:
    """Return the names of the resources in the stored state."""
    return {resource["name"] for resource in json.loads(desk.run("state", "pull", "s").out)["resources"]}


def terraform_of(summary: Summary) -> int:
    return summary.processes["terraform"].pid


def living_terraform(desk: Desk) -> int | None:
    """Return the process that the record names, unless it has ended: each command is written down after its start."""
    process = desk.summary().processes.get("terraform")
    if process is None:
        return None
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return None
    return process.pid


@pytest.mark.promise("P9")
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), pytest.param(signal.SIGHUP, 143, marks=pytest.mark.slow)],
)
def test_a_signal_during_an_apply_lets_terraform_save_and_releases(
    desk: Desk, module: Path, number: int, code: int
) -> None:
    run = desk.apply(module, hold=CUT)
    summary = desk.until_working()
    run.signal(number)
    stopped = run.wait()
    assert stopped.code == code, stopped.err
    assert actions(desk) == ["stop"]
    assert "stopping: waiting until Terraform" in stopped.err
    assert saved(desk) == {"kept", "work"}  # the interrupted one is tainted, not forgotten
    assert desk.lock().holders == ()
    assert desk.summary(summary.run).serial == desk.history()[0].serial


NODE = """#!{python}
# As the wrapper of GitHub's setup action is: it starts Terraform as a child, and a signal ends it at once.
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.exit(subprocess.Popen(["{terraform}", *sys.argv[1:]]).wait())
"""
SHELL = """#!/bin/sh
# A team's own: it waits for Terraform before it ends of a signal.
"{terraform}" "$@"
"""


@pytest.mark.promise("P3", "P9")
@pytest.mark.parametrize("script", [NODE, SHELL])
def test_a_signal_reaches_the_terraform_that_a_script_starts_and_nothing_is_lost(
    desk: Desk, module: Path, script: str
) -> None:
    wrapper = desk.folder / "bin" / "terraform"
    wrapper.parent.mkdir()
    wrapper.write_text(script.format(python=sys.executable, terraform=shutil.which("terraform")))
    wrapper.chmod(0o755)
    run = desk.apply(module, "--terraform", wrapper, hold=CUT)
    desk.until_working()
    run.signal(signal.SIGINT)
    stopped = run.wait()
    assert stopped.code == 130, stopped.err
    assert saved(desk) == {"kept", "work"}
    assert desk.lock().holders == ()


@pytest.mark.promise("P3")
def test_a_terraform_whose_script_was_killed_saves_its_state_before_the_run_ends(desk: Desk, module: Path) -> None:
    wrapper = desk.folder / "terraform"
    wrapper.write_text(SHELL.format(terraform=shutil.which("terraform")))
    wrapper.chmod(0o755)
    run = desk.apply(module, "--terraform", wrapper, hold=2)
    os.kill(terraform_of(desk.until_working()), signal.SIGKILL)
    ended = run.wait()
    assert ended.code == 131, ended.err
    assert saved(desk) == {"kept", "work"}
    assert desk.lock().holders == ()


@pytest.mark.promise("P9")
def test_a_signal_in_the_queue_leaves_it_and_one_during_the_plan_changes_nothing(desk: Desk, module: Path) -> None:
    script = desk.folder / "slow-plan"
    script.write_text(SLOW_PLAN)
    script.chmod(0o755)
    planning = desk.apply(module, "--terraform", script)
    desk.until(lambda: (desk.home / "planning").exists() or None, "a plan under way")
    waiting = desk.apply(module)
    waiter = desk.until_waiting()[-1]
    waiting.signal(signal.SIGTERM)
    left = waiting.wait()
    assert (left.code, actions(desk, waiter)) == (143, ["leave"])
    assert desk.lock().waiters == ()

    planning.signal(signal.SIGINT)
    stopped = planning.wait()
    assert stopped.code == 130, stopped.err
    assert "nothing was changed" in stopped.err
    assert desk.history() == []
    assert desk.lock().holders == ()


@pytest.mark.promise("P8")
def test_a_terraform_that_is_killed_while_it_plans_is_told_as_killed_and_nothing_was_changed(
    desk: Desk, module: Path
) -> None:
    script = desk.folder / "slow-plan"
    script.write_text(SLOW_PLAN)
    script.chmod(0o755)
    planning = desk.apply(module, "--terraform", script)
    desk.until(lambda: (desk.home / "planning").exists() or None, "a plan under way")
    os.kill(desk.until(lambda: living_terraform(desk), "a record of the plan's process"), signal.SIGKILL)
    killed = planning.wait()
    assert killed.code == 34, killed.err
    assert "SIGKILL" in killed.err
    assert "nothing was changed" in killed.err
    assert desk.history() == []


@pytest.mark.promise("P9")
def test_a_later_signal_warns_and_only_one_after_the_warning_has_stood_kills_with_131(desk: Desk, module: Path) -> None:
    run = desk.apply(module, hold=CUT)
    summary = desk.until_working()
    os.kill(terraform_of(summary), signal.SIGSTOP)  # so that it cannot follow the first one
    heard_s, pressed = 0.0, 0

    def press() -> bool:
        """Press Ctrl-C as a person does who waits a little longer each time than a burst lasts."""
        nonlocal heard_s, pressed
        if time.monotonic() - heard_s > BURST_S * 1.1 and run.process.poll() is None:
            heard_s, pressed = time.monotonic(), pressed + 1
            run.signal(signal.SIGINT)
        return "kill" in actions(desk)

    desk.until(press, "the end of a Terraform that cannot stop")
    killed = run.wait()
    assert killed.code == 131, killed.err
    assert [action for action in actions(desk) if action != "ignore"] == ["stop", "warn", "kill"]
    assert pressed > 3
    assert "terraform_data.kept" in killed.err  # what had completed and is not in the state
    assert "terraform_data.work (create)" in killed.err
    assert desk.lock().holders == ()


class Terminal:
    """A run at a terminal of its own."""

    def __init__(self, desk: Desk, *words: object) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "interlock", *map(str, words)],
            env={**desk.environ, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.shown = ""

    def until(self, text: str) -> None:
        while text not in self.shown:
            self.shown += os.read(self.master, 4096).decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait(self) -> int:
        code = self.process.wait(60)
        os.close(self.master)
        return code


@pytest.mark.parametrize(("answer", "code"), [("yes\n", 0), ("no\n", 41)])
def test_a_person_at_a_terminal_sees_the_plan_and_decides(desk: Desk, module: Path, answer: str, code: int) -> None:
    terminal = Terminal(desk, "apply", module, "--state", "s")
    terminal.until("Apply exactly this plan?")
    assert "terraform_data.work will be created" in terminal.shown
    assert desk.summary().phase == "awaiting"
    terminal.type(answer)
    assert terminal.wait() == code
    assert bool(desk.history()) == (code == 0)
    assert desk.lock().holders == ()


@pytest.mark.promise("P9")
def test_a_signal_at_the_question_means_no(desk: Desk, module: Path) -> None:
    terminal = Terminal(desk, "apply", module, "--state", "s")
    terminal.until("Apply exactly this plan?")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.wait() == 130
    assert actions(desk) == ["decline"]
    assert desk.history() == []


@pytest.mark.promise("P8")
def test_nobody_to_ask_is_refused_before_anything_starts(desk: Desk, module: Path) -> None:
    refused = desk.run("apply", module, "--state", "s")
    assert refused.code == 3
    assert "--auto-approve" in refused.err
    assert desk.runs() == []


def kill(started: Started) -> None:
    started.signal(signal.SIGKILL)
    started.wait()


@pytest.mark.promise("P9")
def test_a_killed_front_end_stops_a_working_run_gracefully_and_wait_says_how_it_ended(desk: Desk, module: Path) -> None:
    working = desk.apply(module, hold=CUT)
    run = desk.until_working().run
    waiting = desk.apply(module, round_=2)
    waiter = desk.until_waiting()[0]
    kill(waiting)
    kill(working)
    assert desk.run("wait", run).code == 143
    assert desk.run("wait", waiter).code == 143
    assert saved(desk) == {"kept", "work"}
    lock = desk.lock()
    assert (lock.holders, lock.waiters) == ((), ())
    assert actions(desk, waiter) == ["leave"]


@pytest.mark.promise("P9")
def test_a_closed_terminal_applies_nothing_and_is_no_answer(desk: Desk, module: Path) -> None:
    terminal = Terminal(desk, "apply", module, "--state", "s")
    terminal.until("Apply exactly this plan?")
    os.close(terminal.master)
    assert terminal.process.wait(60) == 143
    assert desk.history() == []

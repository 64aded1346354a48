"""Runs that die, stall or are fenced: what they made is kept, the next run proceeds, nobody alive is broken."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.desk import STEP_S, Desk

from interlock.home.embedded import EmbeddedHome
from interlock.lock import Broken
from interlock.run.summary import Summary

pytestmark = [pytest.mark.e2e, pytest.mark.on("own")]


def kill(summary: Summary, role: str = "supervisor", number: int = signal.SIGKILL) -> None:
    os.kill(summary.processes[role].pid, number)


def saved(desk: Desk) -> set[str]:
    return {resource["name"] for resource in json.loads(desk.run("state", "pull", "s").out)["resources"]}


def verdicts(desk: Desk, run: str) -> list[str]:
    return [str(entry.facts.get("verdict")) for entry in desk.journal(run, "recovery")]


def broken_by_itself(desk: Desk, summary: Summary) -> list[tuple[str, str]]:
    """Return what the audit log says of a run's grant that was broken: of which state, and on what verdict."""
    entries = desk.run("audit", "ls", "--json").document["entries"]
    facts = [(e["subject"], e["facts"]) for e in entries if e["action"] == "force-unlock"]
    assert all(said["reasons"] and said["done"] for _, said in facts)
    return [(subject, said["verdict"]) for subject, said in facts if said["token"] == summary.token]


def clean(desk: Desk, module: Path, round_: int) -> bool:
    words = ("plan", module, "--state", "s", "--detailed-exitcode", "--", f"-var=round={round_}")
    return desk.run(*words).code == 0


@pytest.mark.promise("P3", "P9")
def test_a_killed_supervisor_costs_nothing_its_front_end_saves_what_terraform_left(desk: Desk, module: Path) -> None:
    run = desk.apply(module, hold=20)
    summary = desk.until_working()
    kill(summary)
    ended = run.wait()
    assert ended.code == 143, ended.err
    assert "the run's supervisor was killed" in ended.err
    assert saved(desk) == {"kept", "work"}
    assert desk.lock().holders == ()
    assert desk.summary().exit == 143
    assert not list(desk.home.rglob("errored.tfstate"))


@pytest.mark.promise("P5")
def test_a_run_killed_with_its_front_end_is_recovered_by_the_next_in_line(desk: Desk, module: Path) -> None:
    dead = desk.apply(module, hold=20)
    summary = desk.until_working()
    waiting = desk.apply(module, round_=2)
    waiter = desk.until_waiting()[0]
    dead.signal(signal.SIGKILL)
    kill(summary)
    assert waiting.wait().code == 0
    assert verdicts(desk, waiter)[-2:] == ["gone", "broken"]
    assert desk.run("wait", summary.run).code == 143
    versions = desk.history()
    assert [version.serial for version in versions] == sorted({v.serial for v in versions}, reverse=True)
    assert summary.run in {version.run for version in versions}
    assert clean(desk, module, 2)
    assert dead.wait().code == -signal.SIGKILL
    assert broken_by_itself(desk, summary) == [("interlock:s", "gone")]


@pytest.mark.promise("P2")
def test_a_supervisor_killed_in_the_queue_leaves_no_place_behind(desk: Desk, module: Path) -> None:
    working = desk.apply(module, hold=20)
    run = desk.until_working().run
    waiting = desk.apply(module, round_=2)
    kill(desk.summary(desk.until_waiting()[0]))
    ended = waiting.wait()
    assert ended.code == 143, ended.err
    assert "nothing was started" in ended.err
    assert desk.lock().waiters == ()
    desk.run("runs", "cancel", run)
    assert working.wait().code == 143


@pytest.mark.promise("P8")
def test_a_killed_terraform_is_told_as_131_with_what_it_had_made(desk: Desk, module: Path) -> None:
    run = desk.apply(module, hold=20)
    kill(desk.until_working(), "terraform")
    ended = run.wait()
    assert ended.code == 131, ended.err
    assert "terraform_data.kept" in ended.err
    assert desk.lock().holders == ()
    again = desk.applied(module, round_=2)
    assert again.code == 0, again.err


@pytest.mark.promise("P5")
def test_a_stopped_supervisor_is_never_broken_and_finishes_when_it_is_continued(desk: Desk, module: Path) -> None:
    stalled = desk.apply(module, hold=0.5)
    summary = desk.until_working()
    kill(summary, number=signal.SIGSTOP)
    waiting = desk.apply(module, round_=2)
    waiter = desk.until_waiting()[0]
    desk.until(lambda: verdicts(desk, waiter) or None, "a verdict after a whole lease of silence")
    time.sleep(0.5)
    assert verdicts(desk, waiter) == ["alive"]
    assert [holder.run for holder in desk.lock().holders] == [summary.run]
    kill(summary, number=signal.SIGCONT)
    assert [stalled.wait().code, waiting.wait().code] == [0, 0]
    assert clean(desk, module, 2)


def break_grant(desk: Desk, summary: Summary) -> None:
    """Take a grant away although its holder lives, as nobody ever should."""
    assert summary.token is not None
    broken = Broken(ticket=summary.run, token=summary.token, by="a test", reason="to see what a fenced run does")

    async def act(home: EmbeddedHome) -> Any:
        await home.coordinator.break_("s", broken)

    desk.ask(act)


@pytest.mark.promise("P4", "P8")
def test_a_fenced_run_stops_with_12_and_its_write_is_in_quarantine_not_in_the_state(desk: Desk, module: Path) -> None:
    assert desk.applied(module).code == 0
    before = desk.history()
    run = desk.apply(module, hold=20, round_=2)
    break_grant(desk, desk.until_working())
    fenced = run.wait()
    assert fenced.code == 12, fenced.err
    assert "a test" in fenced.err
    assert desk.history()[0].digest == before[0].digest
    entries = desk.quarantined()
    assert entries
    assert {entry.run for entry in entries} == {desk.summary().run}
    listed = desk.run("state", "quarantine", "ls", "s", "--json").document["quarantine"]
    assert len(listed) == len(entries)
    assert desk.run("state", "quarantine", "diff", "s", listed[0]["id"]).code == 0
    assert desk.applied(module, round_=3).code == 0


def test_a_reader_that_goes_away_does_not_end_the_run(desk: Desk, module: Path) -> None:
    run = desk.apply(module, hold=0.5)
    assert run.process.stderr is not None
    run.process.stderr.readline()
    run.process.stderr.close()
    assert run.process.wait(60) == 0
    assert desk.summary().exit == 0


@pytest.mark.promise("P8")
@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_front_end_that_leaves_while_it_buries_its_run_does_not_say_that_the_state_is_saved(
    desk: Desk, module: Path, number: int
) -> None:
    run = desk.apply(module, hold=8)
    summary = desk.until_working()
    kill(summary, "terraform", signal.SIGSTOP)  # so that it cannot end meanwhile
    kill(summary)
    said = run.process.stderr
    assert said is not None
    desk.until(lambda: "waiting for its Terraform" in said.readline() or None, "a front end that buries its run")
    run.signal(number)
    assert run.process.wait(STEP_S) == 131
    kill(summary, "terraform")
    assert desk.run("wait", summary.run).code == 131


@pytest.mark.promise("P3", "P5", "P9")
def test_recover_takes_over_a_run_whose_supervisor_was_killed_while_its_terraform_works(
    desk: Desk, module: Path
) -> None:
    dead = desk.apply(module, hold=60)
    summary = desk.until_working()
    dead.signal(signal.SIGKILL)
    kill(summary)
    dead.wait()
    refused = desk.run("force-unlock", "s", "--yes")
    assert (refused.code, "its supervisor was killed" in refused.out) == (13, True), refused.out
    assert f"next   interlock wait {summary.run}" in refused.err
    shown = desk.run("recover", "s", "--dry-run")
    assert "would be stopped" in shown.err, shown.err
    assert [holder.run for holder in desk.lock().holders] == [summary.run]
    recovered = desk.run("recover", "s", "--yes", "--no-plan")
    assert recovered.code == 0, recovered.err
    assert saved(desk) == {"kept", "work"}
    assert desk.lock().holders == ()
    assert desk.summary().exit == 143
    assert broken_by_itself(desk, summary) == [("interlock:s", "gone")]


@pytest.mark.promise("P8", "P9")
def test_recover_says_what_the_run_that_it_took_over_did_not_save(desk: Desk, module: Path) -> None:
    dead = desk.apply(module, hold=60)
    summary = desk.until_working()
    kill(summary, "terraform", signal.SIGSTOP)  # so that it cannot end meanwhile
    dead.signal(signal.SIGKILL)
    kill(summary)
    dead.wait()
    recovering = desk.start("recover", "s", "--yes", "--no-plan", "--json")
    said = recovering.process.stderr
    assert said is not None
    desk.until(lambda: "recovery:" in said.readline() or None, "a run that is taken over")
    kill(summary, "terraform")
    recovered = recovering.wait()
    assert recovered.code == 0, recovered.err
    (end,) = [step for step in recovered.document["steps"] if step["step"] == "run"]
    assert (end["result"], "is not in the state" in end["text"]) == ("undecided", True)
    assert "terraform_data.work" in end["text"]
    assert desk.summary().exit == 131
    assert "next: interlock plan --state s" in end["text"]


def test_wait_waits_no_longer_than_it_was_told_for_a_terraform_whose_supervisor_was_killed(
    desk: Desk, module: Path
) -> None:
    dead = desk.apply(module, hold=60)
    summary = desk.until_working()
    kill(summary, "terraform", signal.SIGSTOP)  # so that it does not end
    dead.signal(signal.SIGKILL)
    kill(summary)
    dead.wait()
    waited = desk.run("wait", summary.run, "--timeout", "1s")
    assert (waited.code, f"next   interlock wait {summary.run}" in waited.err) == (10, True), waited.err
    assert [holder.run for holder in desk.lock().holders] == [summary.run]
    kill(summary, "terraform", signal.SIGCONT)
    assert desk.run("wait", summary.run).code == 143

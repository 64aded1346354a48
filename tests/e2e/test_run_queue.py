"""Runs of one state take turns, in order of arrival, and may be bounded, refused, cancelled, bumped and paused."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from tests.desk import CUT, Desk, Started

from interlock.run.summary import Summary

pytestmark = [pytest.mark.e2e, pytest.mark.on("own")]


@contextmanager
def held(desk: Desk, state: str = "s") -> Iterator[None]:
    """Let somebody hold the state by hand."""
    assert desk.run("lock", "acquire", state, "--reason", "a test").code == 0
    try:
        yield
    finally:
        assert desk.run("lock", "release", state).code == 0


def queue_up(desk: Desk, module: Path, count: int, *words: str) -> list[Started]:
    """Start runs, each when the one before has joined the queue."""
    started = []
    for number in range(count):
        started.append(desk.apply(module, *words, hold=0.2, round_=number))
        desk.until_waiting(number + 1)
    return started


def served(desk: Desk) -> list[str]:
    """Return the runs that held, in order of their grants."""
    holding = [summary for summary in desk.runs() if summary.token is not None]
    return [summary.run for summary in sorted(holding, key=lambda summary: summary.token or 0)]


def overlaps(first: Summary, second: Summary) -> bool:
    assert first.released_at is not None
    assert second.held_at is not None
    return second.held_at < first.released_at


@pytest.mark.promise("P1", "P2")
def test_four_runs_are_served_in_order_of_arrival_one_at_a_time(desk: Desk, module: Path) -> None:
    with held(desk):
        started = queue_up(desk, module, 4)
        arrived = [waiter.ticket for waiter in desk.lock().waiters]
    answers = [run.wait() for run in started]
    assert [answer.code for answer in answers] == [0] * 4, answers
    assert served(desk) == arrived
    by_token = sorted(desk.runs(), key=lambda summary: summary.token or 0)
    assert not any(overlaps(first, second) for first, second in pairwise(by_token))
    assert "queued, position 4" in answers[3].err
    assert desk.lock().waiters == ()


@pytest.mark.promise("P1")
def test_two_processes_that_race_both_succeed_one_after_the_other(desk: Desk, module: Path) -> None:
    racing = [desk.apply(module, hold=0.3, round_=number) for number in range(2)]
    assert [run.wait().code for run in racing] == [0, 0]
    first, second = sorted(desk.runs(), key=lambda summary: summary.token or 0)
    assert not overlaps(first, second)
    assert len({version.run for version in desk.history()}) == 2


@pytest.mark.promise("P8")
def test_a_bounded_wait_ends_with_10_and_names_the_holder(desk: Desk, module: Path) -> None:
    with held(desk):
        refused = desk.run("plan", module, "--state", "s", "--no-wait", "--json")
        gave_up = desk.run("plan", module, "--state", "s", "--wait", "0.3s")
        left = desk.lock().waiters
    assert (refused.code, refused.document["error"]["code"]) == (10, "wait-timeout")
    assert "held by" in refused.document["error"]["why"]
    assert gave_up.code == 10
    assert "gave up waiting" in gave_up.err
    assert "held by" in gave_up.err
    assert left == ()


def test_a_waiting_run_is_cancelled_bumped_and_held_up_by_a_pause(desk: Desk, module: Path) -> None:
    with held(desk):
        first, second, third = queue_up(desk, module, 3)
        runs = [waiter.ticket for waiter in desk.lock().waiters]
        assert desk.run("queue", "cancel", "s", runs[0]).code == 0
        cancelled = first.wait()
        assert desk.run("queue", "pause", "s", "--reason", "maintenance").code == 0
        assert desk.run("queue", "bump", "s", runs[2]).code == 0
        listed = desk.run("queue", "ls", "--json").document["states"][0]
    assert (cancelled.code, "cancelled in the queue" in cancelled.err) == (11, True)
    assert [row["run"] for row in listed["waiters"]] == [runs[2], runs[1]]
    assert listed["paused"]["reason"] == "maintenance"
    assert desk.lock().holders == ()  # released, and nobody is granted while the queue is paused
    assert [run.process.poll() for run in (second, third)] == [None, None]
    assert desk.run("queue", "resume", "s").code == 0
    assert [second.wait().code, third.wait().code] == [0, 0]
    assert served(desk) == [runs[2], runs[1]]
    assert "the queue is paused: maintenance" in second.wait().err


def waiting_plans(folder: Path) -> list[str]:
    """Return the processes that make, or wait to make, the plan of a run."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and f"-out={folder}/".encode() in (entry / "cmdline").read_bytes():
                found.append(entry.name)
    return found


@pytest.mark.promise("P4")
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes in /proc")
def test_the_plan_of_the_next_in_line_is_started_and_waits_and_ends_by_itself_when_its_supervisor_dies(
    desk: Desk, module: Path
) -> None:
    with held(desk):
        run = desk.apply(module)
        dead = desk.until_waiting()[0]
        folder = desk.home / "runs" / dead
        desk.until(lambda: waiting_plans(folder), "a plan that waits")
        assert (folder / "plan.jsonl").read_bytes() == b""
        desk.stop_supervisor(desk.summary(dead))
        run.signal(signal.SIGKILL)
        run.wait()
        desk.until(lambda: not waiting_plans(folder), "the end of a plan that nobody waits for")
        assert desk.history() == []
        assert not (folder / "plan.tfplan").exists()
    after = desk.applied(module)
    assert after.code == 0, after.err
    assert [version.run == dead for version in desk.history()] == [False]


def test_cancelling_somebody_who_does_not_wait_is_refused(desk: Desk) -> None:
    for word in ("cancel", "bump"):
        refused = desk.run("queue", word, "s", "nobody")
        assert refused.code == 3
        assert "does not wait" in refused.err


@pytest.mark.promise("P8", "P9")
def test_a_waiting_run_that_is_cancelled_leaves_with_11_and_a_working_one_saves_and_leaves_with_143(
    desk: Desk, module: Path
) -> None:
    working = desk.apply(module, hold=CUT)
    running = desk.until_working()
    waiting = desk.apply(module, round_=2)
    waiter = desk.until_waiting()[0]
    assert desk.run("runs", "cancel", waiter).code == 0
    assert waiting.wait().code == 11
    assert desk.run("runs", "cancel", running.run).code == 0
    stopped = working.wait()
    assert stopped.code == 143, stopped.err
    assert desk.summary(running.run).serial == desk.history()[0].serial
    assert desk.run("runs", "cancel", running.run).code == 3


def test_wait_and_explain_look_at_a_run_that_works_and_wait_ends_with_its_status(desk: Desk, module: Path) -> None:
    nothing = desk.run("wait", "--json", cwd=module)
    assert (nothing.code, nothing.document) == (0, {"run": None})
    working = desk.apply(module, hold=CUT)
    run = desk.until_working().run
    assert desk.run("wait", run, "--timeout", "0.1s").code == 10
    refused = desk.run("lock", "release", "s")
    assert (refused.code, run in refused.err) == (13, True)
    shown = desk.run("lock", "show", "s", "--json").document
    assert [holder["run"] for holder in shown["holders"]] == [run]
    explained = desk.run("lock", "explain", "s", "--json").document
    assert (explained["verdict"], explained["lock"]["run"]) == ("alive", run)
    assert desk.run("runs", "cancel", run).code == 0
    waited = desk.run("wait", "--json", cwd=module)
    assert (waited.code, waited.document["run"], waited.document["error"]["exit"]) == (143, run, 143)
    assert working.wait().code == 143


@pytest.mark.parametrize(
    "words", [("state", "push", "-"), ("lock", "acquire", "s", "--reason", "me too")], ids=["push", "acquire"]
)
def test_a_persons_command_that_waits_says_for_whom(desk: Desk, words: tuple[str, ...]) -> None:
    """It said nothing, however long it took: it looked as if it hung."""
    file = desk.folder / "pushed.tfstate"
    file.write_text(
        json.dumps(
            {"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}, "resources": []}
        )
    )
    asked = [file if word == "-" else word for word in words] + (["--state", "s"] if "push" in words else [])
    with held(desk):
        started = desk.start(*asked)
        desk.until(lambda: desk.lock().waiters, "it waits")
    ended = started.wait()
    assert ended.code == 0, ended.err
    assert re.search("waiting for state s: held by .*interlock lock explain s", ended.err), ended.err

"""Asking a process to stop: real processes, a clock that the test moves."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from interlock.host import ProcessName, name_process
from interlock.run.stop_marker import has_marker, leave_marker
from interlock.run.stopping import LOOK_S, Asked, Listener, ask_once
from interlock.testing.clock import FakeClock

COUNTER = """
import signal, sys
def count(number, _frame):
    print(signal.Signals(number).name, flush=True)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, count)
print("ready", flush=True)
while True:
    signal.pause()
"""


class Counter:
    """A process that writes down the signals it gets."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", COUNTER], stdout=subprocess.PIPE, text=True)
        assert self.line() == "ready"
        self.name: ProcessName = name_process(self.process.pid)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def stop(self) -> None:
        """Stop it for certain: else it might take a signal first that is sent after."""
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)


@pytest.fixture
def counter() -> Iterator[Counter]:
    made = Counter()
    yield made
    made.process.kill()
    made.process.communicate()


async def ask(counter: Counter, folder: Path, *, stopping: bool = False, needs_marker: bool = True) -> Asked:
    clock = FakeClock()
    asking = asyncio.create_task(
        ask_once(
            counter.name,
            folder=folder,
            is_stopping=lambda: stopping,
            by="a test",
            clock=clock,
            needs_marker=needs_marker,
        )
    )
    await clock.advance(LOOK_S * 2)
    return await asking


@pytest.mark.promise("P9")
async def test_it_is_asked_once_and_the_marker_is_there_first(counter: Counter, tmp_path: Path) -> None:
    assert await ask(counter, tmp_path) is Asked.SENT
    assert counter.line() == "SIGINT"
    assert has_marker(tmp_path, counter.name)
    assert await ask(counter, tmp_path) is Asked.BEFORE


@pytest.mark.promise("P9")
async def test_it_is_left_alone_when_it_says_that_it_is_stopping(counter: Counter, tmp_path: Path) -> None:
    assert await ask(counter, tmp_path, stopping=True) is Asked.ELSEWHERE
    assert not has_marker(tmp_path, counter.name)


@pytest.mark.promise("P9")
async def test_the_look_lasts_for_a_moment_so_that_a_signal_to_all_is_seen(counter: Counter, tmp_path: Path) -> None:
    clock, heard = FakeClock(), list[bool]()
    asking = asyncio.create_task(
        ask_once(counter.name, folder=tmp_path, is_stopping=lambda: bool(heard), by="a test", clock=clock)
    )
    await clock.advance(LOOK_S / 2)
    heard.append(True)
    await clock.advance(LOOK_S)
    assert await asking is Asked.ELSEWHERE


@pytest.mark.promise("P9")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="pending signals are seen in /proc only")
async def test_a_stopped_process_that_has_a_signal_waiting_is_left_alone(counter: Counter, tmp_path: Path) -> None:
    counter.stop()
    os.kill(counter.process.pid, signal.SIGTERM)
    assert await ask(counter, tmp_path) is Asked.ELSEWHERE
    os.kill(counter.process.pid, signal.SIGCONT)
    assert counter.line() == "SIGTERM"


@pytest.mark.promise("P9")
async def test_without_a_marker_only_the_living_supervisor_signals(counter: Counter, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert await ask(counter, nowhere) is Asked.UNMARKED
    assert await ask(counter, nowhere, needs_marker=False) is Asked.SENT
    assert counter.line() == "SIGINT"


async def test_a_process_that_has_ended_is_gone_and_a_later_one_of_its_pid_is_not_signalled(
    counter: Counter, tmp_path: Path
) -> None:
    counter.name = replace(counter.name, started="1")
    assert await ask(counter, tmp_path) is Asked.GONE


async def test_two_at_once_send_one_signal(counter: Counter, tmp_path: Path) -> None:
    clock = FakeClock()
    asking = [
        asyncio.create_task(ask_once(counter.name, folder=tmp_path, is_stopping=lambda: False, by=by, clock=clock))
        for by in ("one", "two")
    ]
    await clock.advance(LOOK_S * 2)
    answers = await asyncio.gather(*asking)
    assert answers.count(Asked.SENT) == 1
    assert set(answers) <= {Asked.SENT, Asked.BEFORE, Asked.ELSEWHERE}


def test_a_listener_reads_what_the_runs_terraform_says_on_disk(tmp_path: Path) -> None:
    output = tmp_path / "apply.jsonl"
    output.write_text(json.dumps({"@message": "Apply", "type": "log"}) + "\n")
    listener = Listener(tmp_path)
    assert not listener.is_stopping()
    with output.open("a") as file:
        file.write(json.dumps({"@message": "Stopping operation...", "type": "log"}) + "\n")
    assert listener.is_stopping()
    assert not Listener(tmp_path / "nowhere").is_stopping()


def test_a_marker_of_the_supervisor_holds_for_recovery(tmp_path: Path) -> None:
    us = name_process(os.getpid())
    leave_marker(tmp_path, us, by="the supervisor", now=FakeClock().now())
    asked = asyncio.run(ask_once(us, folder=tmp_path, is_stopping=lambda: False, by="recovery", clock=FakeClock()))
    assert asked is Asked.BEFORE


@pytest.mark.promise("P9")
async def test_nobody_waits_for_a_process_that_has_ended(counter: Counter, tmp_path: Path) -> None:
    counter.process.kill()
    counter.process.wait()
    clock = FakeClock()  # it never moves: who sleeps, sleeps for ever
    asked = ask_once(counter.name, folder=tmp_path, is_stopping=lambda: False, by="a test", clock=clock)
    assert await asyncio.wait_for(asked, 20) is Asked.GONE

"""Signals that come while a supervisor starts wait for it."""

import signal
import subprocess
import sys
import threading

import pytest

from interlock.run.held_back import HEARD, hear, held_back


@pytest.fixture
def heard() -> list[int]:
    return []


@pytest.mark.promise("P9")
def test_a_signal_waits_until_it_is_heard(heard: list[int]) -> None:
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: heard.append(number))
    try:
        with held_back():
            # To this thread: a supervisor has no other yet, and a worker's leftover threads hear what the process gets.
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            assert signal.SIGUSR1 in signal.sigpending()
            assert heard == []
            hear()
            assert heard == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.promise("P9")
def test_a_child_begins_with_them_waiting_and_we_are_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    program = "import signal; print(*sorted(int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    with held_back():
        shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert {int(number) for number in HEARD} <= {int(number) for number in shown.split()}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before

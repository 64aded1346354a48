"""The front end's half: follows the journal, passes signals and answers on, notices a supervisor that is gone."""

import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.errors import InterlockError
from interlock.run.entries import ApprovalEntry, EndEntry, PhaseEntry
from interlock.run.front_end import FrontEnd, leaving_at_a_signal
from interlock.run.spare import _unmarked
from interlock.run.summary import Summary
from interlock.run.transcript import END, LOG, Entry, Journal
from interlock.testing.clock import START, FakeClock

INTERRUPTED = """
import os, signal, sys
from interlock.run.front_end import leaving_at_a_signal

try:
    with leaving_at_a_signal():
        exec("os.kill(os.getpid(), signal.SIGTERM)")
except KeyboardInterrupt:
    sys.exit(131)
"""


class Scene:
    """A run of which only the journal and the socket are there."""

    def __init__(self, folder: Path, *, began: bool = True) -> None:
        self.folder = folder
        self.theirs, ours = socket.socketpair()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        summary = Summary(
            run="r1", state="prod", operation="apply", who="ann", directory="", phase="queued", started_at=START
        )
        self.journal = Journal(folder, summary, FakeClock(), lambda: None)
        if began:
            self.journal.change()
        self.front_end = FrontEnd(folder, ours, self.log)
        self.shown: list[str] = []

    def follow(self, answers: io.TextIOWrapper | None = None) -> Entry | None:
        return self.front_end.follow(lambda entry: self.shown.append(entry.kind), answers=answers)

    def heard(self) -> bytes:
        self.theirs.setblocking(False)
        try:
            return self.theirs.recv(999)
        except BlockingIOError:
            return b""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    found = Scene(tmp_path)
    yield found
    found.theirs.close()
    found.front_end._control.close()
    found.log.close()


def test_every_entry_is_shown_until_the_end(scene: Scene) -> None:
    scene.journal.tell(PhaseEntry(phase="planning"))
    scene.journal.tell(EndEntry(exit=0, code="success"))
    scene.theirs.sendall(b"..")
    end = scene.follow()
    assert end is not None
    assert end.facts["exit"] == 0
    assert scene.shown == ["phase", "end"]


@pytest.mark.promise("P8")
def test_a_supervisor_that_died_without_an_end_is_no_success(scene: Scene) -> None:
    scene.journal.tell(PhaseEntry(phase="applying"))
    scene.theirs.close()
    assert scene.follow() is None
    assert scene.shown == ["phase"]


@pytest.mark.promise("P8")
def test_an_end_that_a_full_disk_kept_from_the_journal_is_told_on_the_socket(scene: Scene) -> None:
    scene.theirs.sendall(b"..." + END + b'{"exit":30,"code":"backend-unavailable"}\n')
    scene.theirs.close()
    end = scene.follow()
    assert end is not None
    assert end.told == EndEntry(exit=30, code="backend-unavailable")


def test_half_an_end_is_none(scene: Scene) -> None:
    scene.theirs.sendall(END + b'{"exit":0')
    scene.theirs.close()
    assert scene.follow() is None


def test_a_supervisor_that_never_began_says_why(tmp_path: Path) -> None:
    scene = Scene(tmp_path, began=False)
    (tmp_path / LOG).write_text("Traceback\nImportError: no module\n")
    scene.theirs.close()
    with pytest.raises(InterlockError) as failure:
        scene.follow()
    assert failure.value.why == "ImportError: no module"
    scene.front_end._control.close()
    scene.log.close()


@pytest.mark.parametrize(
    ("typed", "word"),
    [("y\n", b"approve\n"), ("YES\n", b"approve\n"), ("n\n", b"reject\n"), ("\n", b"reject\n"), ("", b"sighup\n")],
)
def test_only_a_yes_is_a_yes(scene: Scene, typed: str, word: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, typed.encode())
    os.close(writing)
    scene.journal.tell(ApprovalEntry())
    scene.theirs.sendall(b".")
    answered = scene.front_end.say

    def say(told: str) -> None:
        answered(told)
        scene.journal.tell(EndEntry(exit=0, code="success"))

    scene.front_end.say = say  # type: ignore[method-assign,assignment]
    with os.fdopen(reading) as answers:
        scene.follow(answers)
    assert scene.heard() == word


@pytest.mark.promise("P9")
@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, b"sigint\n"), (signal.SIGTERM, b"sigterm\n"), (signal.SIGHUP, b"sighup\n")]
)
def test_a_signal_is_passed_on_and_means_what_it_did_afterwards(
    tmp_path: Path, number: signal.Signals, word: bytes
) -> None:
    before = signal.getsignal(number)
    scene = Scene(tmp_path)
    os.kill(os.getpid(), number)
    assert scene.heard() == word
    scene.journal.tell(EndEntry(exit=0, code="success"))
    scene.theirs.sendall(b".")
    scene.follow()
    assert signal.getsignal(number) == before
    scene.theirs.close()
    scene.front_end._control.close()
    scene.log.close()


def test_nohup_is_a_wish_to_outlive_the_terminal(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        scene = Scene(tmp_path)
        os.kill(os.getpid(), signal.SIGHUP)
        assert scene.heard() == b""
        scene.front_end._signals.give_back()
        scene.theirs.close()
        scene.front_end._control.close()
        scene.log.close()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.promise("P9")
def test_the_supervisor_carries_no_mark_of_the_ci_job() -> None:
    assert _unmarked(
        {"RUNNER_TRACKING_ID": "1", "BUILD_ID_COOKIE": "2", "VSTS_PROCESS_LOOKUP_ID": "3", "PATH": "/bin"}
    ) == {"PATH": "/bin"}


@pytest.mark.promise("P8")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_dead_run_is_waited_for_ends_us_with_a_word(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), leaving_at_a_signal():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


class _Removed:
    """Meets a signal while it is done away with; Python drops what is raised then."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(10))


@pytest.mark.promise("P8")
def test_a_signal_that_python_drops_is_known_to_whoever_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: dropped.append(told.exc_value))
    with leaving_at_a_signal() as is_leaving:
        assert not is_leaving()
        removed = _Removed()
        del removed
        assert is_leaving()
    assert [type(each).__mro__[1] for each in dropped] == [KeyboardInterrupt]


@pytest.mark.promise("P8")
def test_who_leaves_at_a_signal_ends_with_its_own_status_wherever_the_signal_finds_it(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    done = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, check=False, timeout=60)
    assert done.returncode == 131

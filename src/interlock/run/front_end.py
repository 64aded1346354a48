"""The front end's half of a run: starts the detached supervisor, follows its journal, passes signals on.

The two share one socket. The supervisor rings it after each journal entry; the front end writes words on it
(`sigint`, `sigterm`, `sighup`, `approve`, `reject`). When the front end dies, however it dies, the kernel closes its
end, and the supervisor stops gracefully.
"""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any, Self, TextIO

from interlock.bounded import decode_json
from interlock.clock import SystemClock
from interlock.errors import FULL, InterlockError, disk_full
from interlock.run.control import END
from interlock.run.entries import ApprovalEntry, EndEntry
from interlock.run.held_back import held_back
from interlock.run.order import Order, encode, without_secrets
from interlock.run.process import open_private
from interlock.run.summary import find_summary
from interlock.run.transcript import LOG, ORDER, Entry, Reader

# A CI runner kills what carries its job's mark when the job ends (docs/facts/ci-systems.md#ci-4).
_JOB_MARKS = ("RUNNER_TRACKING_ID", "JENKINS_NODE_COOKIE", "JENKINS_SERVER_COOKIE", "BUILD_ID_COOKIE")
_YES = frozenset({"y", "yes"})
_HEARD_BYTES = 1 << 16  # more than the end of a run ever says
_IDLE_S = 1.0  # a lost ring costs at most this much delay in what a person sees


class Spare:
    """A supervisor that is started before its order is known: it loads its code while the order is being checked.

    It is detached: own session, no parent of ours, no CI job's mark. Used as a context, at whose end it is sent home
    if no run was begun with it.

    Args:
        environ: The environment of the run.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the run is followed
        self._control, theirs = socket.socketpair()
        with theirs, held_back():
            # -P: without it Python looks for modules in the current folder first, and a secrets.py there is not ours.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "interlock.cli.supervise", str(theirs.fileno())],
                env=_unmarked(environ),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._begun = False

    def __enter__(self) -> Self:
        """Nothing further."""
        return self

    def begin(self, order: Order, files: Sequence[int] = ()) -> FrontEnd:
        """Make the run's folder and hand the order over.

        Args:
            order: The order.
            files: Open files for a command that only reads: its stdin, stdout and, if given, stderr.

        Raises:
            BackendUnavailable: There is no room for it.
            UnicodeEncodeError: A name or value in it is not UTF-8; nothing was made.
        """
        sent = encode(order) + b"\n"
        with held_back():  # a signal before the order ends us alone; one after it is a word to the supervisor
            folder = Path(order.home) / "runs" / order.run
            _make_folder(folder, order)
            with suppress(OSError):  # it is dead already: `FrontEnd.follow` says so
                _send(self._control, sent, files)
            self._begun = True
            return FrontEnd(folder, self._control, self._log)

    def __exit__(self, *_: object) -> None:
        if not self._begun:
            self._control.close()
            self._log.close()
        self._process.wait()  # it forks at once, so the supervisor is nobody's child


def _send(control: socket.socket, sent: bytes, files: Sequence[int]) -> None:
    if files:
        socket.send_fds(control, [sent[:1]], list(files))
        sent = sent[1:]
    control.sendall(sent)


def _make_folder(folder: Path, order: Order) -> None:
    try:
        folder.mkdir(parents=True, mode=0o700)
        with open_private(folder / ORDER) as file:
            file.write(encode(without_secrets(order)))
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(error, order.home) from error
        raise


class FrontEnd:
    """One supervised run, seen from the command that ordered it.

    Args:
        folder: The run's folder.
        control: Our end of the socket.
        log: What the supervisor said before it had its order.
    """

    def __init__(self, folder: Path, control: socket.socket, log: IO[bytes]) -> None:
        self.folder = folder
        self._control = control
        self._log = log
        self._reader = Reader(folder)
        self._asked = False
        self._heard = b""
        self._signals = _Signals(self.say)

    def follow(
        self, show: Callable[[Entry], None], *, answers: TextIO | None = None, tick: Callable[[], None] = lambda: None
    ) -> Entry | None:
        """Show every journal entry as it comes; return the last one, of kind `end`. To be called once.

        SIGINT, SIGTERM and SIGHUP that arrive since the order was given are passed on; what they mean is the
        supervisor's decision. That holds while a question waits for its answer too, so the answer is never waited for
        alone.

        Args:
            show: Shows an entry; for one of kind `approval`, the question.
            answers: Where a person's answer comes from; None when nobody is asked.
            tick: Called every second or so.

        Returns:
            None when the supervisor died without ending its run.

        Raises:
            InterlockError: It died before it had begun; its log says why.
        """
        self._control.setblocking(False)
        try:
            while True:
                alive = self._wait(answers if self._asked else None)
                for entry in self._reader.new():
                    show(entry)
                    self._asked = self._asked or entry.kind == ApprovalEntry.KIND
                    if entry.kind == EndEntry.KIND:
                        return entry
                tick()
                if not alive:
                    if (end := self._told_end()) is not None:
                        show(end)
                        return end
                    self._check_it_began()
                    return None
        finally:
            self._signals.give_back()
            self._control.close()
            self._log.close()

    def _told_end(self) -> Entry | None:
        """Return the last entry as the supervisor sent it, for a journal that could not take it: the disk is full."""
        _, is_told, rest = self._heard.partition(END)
        line, is_whole, _ = rest.partition(b"\n")
        if not is_told or not is_whole:
            return None
        return Entry(at=SystemClock().now(), kind=EndEntry.KIND, facts=decode_json(line, type=dict[str, Any]))

    def _check_it_began(self) -> None:
        if find_summary(self.folder) is None:
            raise _never_began(self.folder, self._log)

    def say(self, word: str) -> None:
        """Tell the supervisor one word. When it has ended already, nobody listens, which is fine."""
        with suppress(OSError):
            self._control.sendall(word.encode() + b"\n")

    def _wait(self, answers: TextIO | None) -> bool:
        """Wait for the bell or an answer; False when the supervisor has closed its end."""
        awaited: list[socket.socket | TextIO] = [self._control] if answers is None else [self._control, answers]
        ready, _, _ = select.select(awaited, [], [], _IDLE_S)
        if answers is not None and answers in ready:
            self._asked = False
            self.say(_answer(answers))
        try:
            if self._control not in ready:
                return True
            heard = self._control.recv(_HEARD_BYTES)
            self._heard = (self._heard + heard.lstrip(b"."))[-_HEARD_BYTES:]
            return bool(heard)
        except OSError:
            return False


def _answer(answers: TextIO) -> str:
    """Return the word for what a person typed; a terminal that was closed is not an answer of no."""
    try:
        line = answers.readline()
    except OSError:  # EIO
        line = ""
    if not line:
        return "sighup"
    return "approve" if line.strip().lower() in _YES else "reject"


class _Signals:
    """From its making until they are given back, SIGINT, SIGTERM and SIGHUP become words to the supervisor."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._before = {
            number: signal.signal(number, self._handler(word))
            for number, word in ((signal.SIGINT, "sigint"), (signal.SIGTERM, "sigterm"), (signal.SIGHUP, "sighup"))
            if not _is_nohup(number)
        }

    def _handler(self, word: str) -> Callable[[int, FrameType | None], None]:
        return lambda _number, _frame: self._say(word)

    def give_back(self) -> None:
        """Let them mean what they meant before."""
        for number, before in self._before.items():
            signal.signal(number, before)


def _is_nohup(number: signal.Signals) -> bool:
    """Say whether a person wants us to outlive the terminal: `nohup` has SIGHUP ignored before we start."""
    return number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


class _Leave(KeyboardInterrupt):
    """A KeyboardInterrupt of another type.

    Python remembers one of the type itself that left `exec` of a text, as it makes dataclasses with: caught or not,
    `python -m interlock` then ends by SIGINT, 130 in a shell, which says that the state is saved.
    """


@contextmanager
def leaving_at_a_signal() -> Iterator[None]:
    """While entered, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt.

    Else the last two would end the process as 143 and 129 in a shell, of which the first says that the state is saved.
    """

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise _Leave

    numbers = [each for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if not _is_nohup(each)]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unmarked(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _JOB_MARKS}


def _never_began(folder: Path, early: IO[bytes]) -> InterlockError:
    early.seek(0)
    log = folder / LOG
    said = early.read() + (log.read_bytes() if log.exists() else b"")
    tail = said.decode(errors="replace").strip().splitlines()[-1:]
    return InterlockError(
        "the run's supervisor did not start",
        why=" ".join(tail) or "it was killed at once",
        fix="interlock doctor, then start a new run",
    )

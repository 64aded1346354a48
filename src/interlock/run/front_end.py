"""The front end's half of a run: follows the journal of the detached supervisor, passes signals on.

The two share one socket. The supervisor rings it after each journal entry; the front end writes words on it
(`sigint`, `sigterm`, `sighup`, `approve`, `reject`). When the front end dies, however it dies, the kernel closes its
end, and the supervisor stops gracefully.
"""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any, TextIO

from interlock.bounded import decode_json
from interlock.clock import SystemClock
from interlock.errors import InterlockError
from interlock.run.entries import ApprovalEntry, EndEntry
from interlock.run.summary import find_summary
from interlock.run.transcript import END, LOG, Entry, Reader

_YES = frozenset({"y", "yes"})
_HEARD_BYTES = 1 << 16  # more than the end of a run ever says
_IDLE_S = 1.0  # a lost ring costs at most this much delay in what a person sees


class FrontEnd:
    """One supervised run, seen from the command that ordered it.

    Args:
        folder: The run's folder.
        control: Our end of the socket.
        log: What the supervisor said before it had its order.
        signals: Those of a command that follows several runs; None for signals of this run's own.
    """

    def __init__(self, folder: Path, control: socket.socket, log: IO[bytes], signals: Signals | None = None) -> None:
        self.folder = folder
        self._control = control
        self._log = log
        self._reader = Reader(folder)
        self._asked = False
        self._heard = b""
        self._owns_signals = signals is None
        self._signals = signals or Signals()
        self._signals.add(self)

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
        self.watch()
        try:
            while True:
                alive = self._wait(answers if self.is_asking else None)
                if (end := self.news(show)) is not None:
                    return end
                tick()
                if not alive:
                    return self.end_without_word(show)
        finally:
            self.close()

    # -- the parts of it, for a command that follows several runs at once --------------------------------------------

    @property
    def is_asking(self) -> bool:
        """Whether a question was shown that nobody has answered."""
        return self._asked

    def fileno(self) -> int:
        """Return what is readable when there is news, for `select`."""
        return self._control.fileno()

    def watch(self) -> None:
        """Begin to follow: from now on nothing here waits."""
        self._control.setblocking(False)

    def hear(self) -> bool:
        """Take in what the supervisor sent; False when it has closed its end."""
        try:
            heard = self._control.recv(_HEARD_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._heard = (self._heard + heard.lstrip(b"."))[-_HEARD_BYTES:]
        return bool(heard)

    def news(self, show: Callable[[Entry], None]) -> Entry | None:
        """Show the journal entries that came; return the last one of the run when it is among them."""
        for entry in self._reader.new():
            show(entry)
            self._asked = self._asked or entry.kind == ApprovalEntry.KIND
            if entry.kind == EndEntry.KIND:
                return entry
        return None

    def end_without_word(self, show: Callable[[Entry], None]) -> Entry | None:
        """Return how a run ended whose journal does not say it; None when the supervisor died without ending it.

        Raises:
            InterlockError: It died before it had begun; its log says why.
        """
        if (end := self._told_end()) is not None:
            show(end)
            return end
        self._check_it_began()
        return None

    def answer(self, answers: TextIO) -> None:
        """Pass on what a person typed."""
        self._asked = False
        self.say(_answer(answers))

    def close(self) -> None:
        """Follow no further."""
        self._signals.remove(self)
        if self._owns_signals:
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
            self.answer(answers)
        return self.hear() if self._control in ready else True


def _answer(answers: TextIO) -> str:
    """Return the word for what a person typed; Ctrl-D is no, and a terminal that was closed is no answer at all."""
    try:
        line = answers.readline()
    except OSError:  # EIO
        line = ""
    if not line and not is_open_terminal(answers):
        return "sighup"
    return "approve" if line.strip().lower() in _YES else "reject"


def is_open_terminal(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that is still there: at one that was closed the input ends, too."""
    import termios

    try:
        termios.tcgetattr(stream.fileno())
    except (termios.error, OSError, ValueError):
        return False
    return True


class Signals:
    """From its making until they are given back, SIGINT, SIGTERM and SIGHUP become words to the supervisors.

    Attributes:
        heard: The words so far, in order.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._listeners: list[FrontEnd] = []
        self._before = {
            number: signal.signal(number, self._handler(word))
            for number, word in ((signal.SIGINT, "sigint"), (signal.SIGTERM, "sigterm"), (signal.SIGHUP, "sighup"))
            if not _is_nohup(number)
        }

    def add(self, listener: FrontEnd) -> None:
        """Pass words on to one more supervisor."""
        self._listeners.append(listener)

    def remove(self, listener: FrontEnd) -> None:
        """Pass no more words on to it: its run has ended."""
        self._listeners.remove(listener)

    def _handler(self, word: str) -> Callable[[int, FrameType | None], None]:
        return lambda _number, _frame: self._pass_on(word)

    def _pass_on(self, word: str) -> None:
        self.heard.append(word)
        for listener in tuple(self._listeners):
            listener.say(word)

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
def leaving_at_a_signal() -> Iterator[Callable[[], bool]]:
    """While entered, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt.

    Else the last two would end the process as 143 and 129 in a shell, of which the first says that the state is saved.

    Yields:
        What says whether one of them came. Whoever waits for long asks it too: Python drops what is raised while it
        does away with an object, such as the lock of a module that it has just imported, and the signal would be lost.
    """
    came: list[int] = []

    def leave(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise _Leave

    numbers = [each for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if not _is_nohup(each)]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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

"""The front end's half of a run: starts the detached supervisor, follows its journal, passes signals on.

The two share one socket. The supervisor rings it after each journal entry; the front end writes words on it
(`sigint`, `sigterm`, `approve`, `reject`). When the front end dies, however it dies, the kernel closes its end, and the
supervisor stops gracefully.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType

from interlock.errors import InterlockError
from interlock.run.order import Order, encode
from interlock.run.summary import find_summary
from interlock.run.transcript import ORDER, Entry, Reader

# A CI runner kills what carries its job's mark when the job ends (facts/ci-systems.md; actions/runner issue 598).
_JOB_MARKS = ("RUNNER_TRACKING_ID", "JENKINS_NODE_COOKIE", "JENKINS_SERVER_COOKIE", "BUILD_ID_COOKIE")
_IDLE_S = 1.0  # a lost ring costs at most this much delay in what a person sees
_LOG = "supervisor.log"


class FrontEnd:
    """One supervised run, seen from the command that ordered it."""

    def __init__(self, folder: Path, control: socket.socket) -> None:
        self.folder = folder
        self._control = control
        self._reader = Reader(folder)

    @classmethod
    def start(cls, order: Order, environ: Mapping[str, str]) -> FrontEnd:
        """Start the supervisor of `order`, detached: own session, no parent of ours, no CI job's mark."""
        folder = Path(order.home) / "runs" / order.run
        folder.mkdir(parents=True, mode=0o700)
        (folder / ORDER).write_bytes(encode(order))
        ours, theirs = socket.socketpair()
        with theirs, (folder / _LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "interlock.cli.supervise", str(folder), str(theirs.fileno())],
                env=_unmarked(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        process.wait()  # it forks at once, so the supervisor is nobody's child
        return cls(folder, ours)

    def follow(self, show: Callable[[Entry], None]) -> Entry | None:
        """Show every journal entry as it comes; return the last one, of kind `end`.

        SIGINT and SIGTERM that arrive meanwhile are passed on; what they mean is the supervisor's decision.

        Returns:
            None when the supervisor died without ending its run.

        Raises:
            InterlockError: It died before it had begun; its log says why.
        """
        self._control.settimeout(_IDLE_S)
        with _Signals(self.say):
            while True:
                alive = self._ring()
                for entry in self._reader.new():
                    show(entry)
                    if entry.kind == "end":
                        return entry
                if not alive:
                    self._check_it_began()
                    return None

    def _check_it_began(self) -> None:
        if find_summary(self.folder) is None:
            raise _never_began(self.folder)

    def say(self, word: str) -> None:
        """Tell the supervisor one word. When it has ended already, nobody listens, which is fine."""
        with suppress(OSError):
            self._control.sendall(word.encode() + b"\n")

    def _ring(self) -> bool:
        """Wait for the bell; False when the supervisor has closed its end."""
        try:
            return bool(self._control.recv(4096))
        except TimeoutError:
            return True
        except OSError:
            return False


class _Signals:
    """While entered, SIGINT and SIGTERM become words to the supervisor."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        for number, word in ((signal.SIGINT, "sigint"), (signal.SIGTERM, "sigterm"), (signal.SIGHUP, "sigterm")):
            self._before[number] = signal.signal(number, self._handler(word))

    def _handler(self, word: str) -> Callable[[int, FrameType | None], None]:
        return lambda _number, _frame: self._say(word)

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what signal.signal gave back


def _unmarked(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _JOB_MARKS}


def _never_began(folder: Path) -> InterlockError:
    log = folder / _LOG
    tail = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
    return InterlockError(
        "the run's supervisor did not start",
        why=" ".join(tail) or "it was killed at once",
        fix=f"read {log}, then start a new run",
    )

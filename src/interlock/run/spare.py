"""A supervisor that is started before its order is known. It is the first thing that a command does.

So this module imports next to nothing: all of its time stands before the supervisor's start, while what is imported
after it costs nothing that anybody waits for. `tests/unit/run/test_spare.py` holds it to that.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from interlock.run.held_back import held_back

TYPE_CHECKING = False  # without `typing`, whose import takes longer than most others here
if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO, Self

    from interlock.run.front_end import FrontEnd, Signals
    from interlock.run.order import Order

# A CI runner kills what carries its job's mark when the job ends (docs/facts/ci-systems.md#ci-4).
_JOB_MARKS = (
    "RUNNER_TRACKING_ID",  # GitHub
    "VSTS_PROCESS_LOOKUP_ID",  # Azure: the same clean-up of the same runner's code
    *("JENKINS_NODE_COOKIE", "JENKINS_SERVER_COOKIE", "BUILD_ID_COOKIE", "HUDSON_COOKIE", "HUDSON_SERVER_COOKIE"),
)


class Spare:
    """A supervisor that is started before its order is known: it loads its code while the order is being checked.

    It is detached: own session, no parent of ours, no CI job's mark. Used as a context, at whose end it is sent home
    if no run was begun with it.

    Args:
        environ: The environment of the run.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._log = _open_log()
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

    def begin(self, order: Order, files: Sequence[int] = (), signals: Signals | None = None) -> FrontEnd:
        """Make the run's folder and hand the order over.

        Args:
            order: The order.
            files: Open files for a command that only reads: its stdin, stdout and, if given, stderr.
            signals: Those of a command that follows several runs; None for signals of this run's own.

        Raises:
            BackendUnavailable: There is no room for it.
            UnicodeEncodeError: A name or value in it is not UTF-8; nothing was made.
        """
        from pathlib import Path

        from interlock.run.order import encode

        sent = encode(order) + b"\n"
        with held_back():  # a signal before the order ends us alone; one after it is a word to the supervisor
            folder = Path(order.home) / "runs" / order.run
            _make_folder(folder, order)
            with suppress(OSError):  # it is dead already: `FrontEnd.follow` says so
                _send(self._control, sent, files)
            self._begun = True
            from interlock.run.front_end import FrontEnd  # the run goes on while it loads

            return FrontEnd(folder, self._control, self._log, signals)

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
    from interlock.errors import FULL, disk_full
    from interlock.run.order import ORDER_FILE, encode, without_secrets
    from interlock.run.private_file import open_private

    try:
        folder.mkdir(parents=True, mode=0o700)
        with open_private(folder / ORDER_FILE) as file:
            file.write(encode(without_secrets(order)))
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(error, order.home) from error
        raise


def _open_log() -> IO[bytes]:
    """Return a file without a name, open as long as the run is followed."""
    with suppress(AttributeError, OSError):  # macOS, and sandboxes that do not know it
        return open(os.memfd_create("supervisor.log"), "w+b")  # noqa: PTH123 - a number
    import tempfile

    return tempfile.TemporaryFile()


def _unmarked(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _JOB_MARKS}

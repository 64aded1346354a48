"""Asks one Terraform to stop: once, whoever wants it, and not at all when somebody else did.

Terraform exits at once on its second signal and loses what is in flight. A signal to a whole process tree (`systemctl
stop`, a reboot, a spot termination, a CI runner) reaches the supervisor and Terraform together, so before its own
signal everybody here looks for a moment whether Terraform says that it is stopping already.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from interlock.clock import Clock
from interlock.host import Life, ProcessName, awaits_signal, life_of, send_signal
from interlock.run.stage import EventFile
from interlock.run.stop_marker import has_marker, leave_marker
from interlock.terraform.interruption import Interruption

LOOK_S: Final = 1.0
"""How long is looked for a stop that somebody else began. Terraform says so within milliseconds; a busy machine and
our own reading of its output need some more. A stop that is ours begins that much later."""
_STEP_S: Final = 0.05
_STOPS = (signal.SIGINT, signal.SIGTERM)  # what Terraform counts
OUTPUTS: Final = ("apply.jsonl", "plan.jsonl")


class Asked(Enum):
    """What came of asking."""

    SENT = "sent"
    """It was sent SIGINT by us."""
    BEFORE = "before"
    """Somebody of us asked this process before: there is a marker."""
    ELSEWHERE = "elsewhere"
    """Somebody else signalled it: it says that it is stopping, or is about to notice."""
    GONE = "gone"
    """It has ended."""
    UNMARKED = "unmarked"
    """The marker could not be kept, so others would not know of our signal; it was not sent."""


class Ask(Protocol):
    """Asks a Terraform to stop; `ask_once` is the real way."""

    async def __call__(
        self,
        process: ProcessName,
        *,
        folder: Path,
        is_stopping: Callable[[], bool],
        by: str,
        clock: Clock,
        needs_marker: bool = True,
    ) -> Asked:
        """See `ask_once`."""
        ...


async def ask_once(
    process: ProcessName,
    *,
    folder: Path,
    is_stopping: Callable[[], bool],
    by: str,
    clock: Clock,
    needs_marker: bool = True,
) -> Asked:
    """Send Terraform the one SIGINT of its life, if it is still to be sent.

    Args:
        process: The Terraform, or a script that started it; that one hears nothing of it.
        folder: The run's folder, where the marker is left before the signal.
        is_stopping: Whether Terraform's output says that it is stopping.
        by: Who asks, for the marker.
        clock: Waits, and dates the marker.
        needs_marker: False for the supervisor of the run: it lives and knows what it sent, and a full disk must not
            keep a person from stopping a run.
    """
    if has_marker(folder, process):
        return Asked.BEFORE
    real = _terraform_behind(process)
    if await _is_stopped_elsewhere(real, is_stopping, clock):
        return Asked.ELSEWHERE
    try:
        if not leave_marker(folder, process, by=by, now=clock.now()):
            return Asked.BEFORE
    except OSError:
        if needs_marker:
            return Asked.UNMARKED
    return Asked.SENT if send_signal(real, signal.SIGINT) else Asked.GONE


def _terraform_behind(process: ProcessName) -> ProcessName:
    from interlock.run.behind_script import terraform_behind  # nobody else needs what it imports

    return terraform_behind(process)


async def _is_stopped_elsewhere(process: ProcessName, is_stopping: Callable[[], bool], clock: Clock) -> bool:
    until_s = clock.monotonic() + LOOK_S
    while not is_stopping() and not awaits_signal(process.pid, _STOPS):
        if clock.monotonic() >= until_s or life_of(process)[0] is Life.GONE:
            return False
        await clock.sleep(_STEP_S)
    return True


class Listener:
    """Reads the output of a run's Terraform on disk, further at each call, until it says that it is stopping.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._files = [EventFile(folder / name) for name in OUTPUTS if (folder / name).exists()]
        self._heard = [Interruption() for _ in self._files]

    def is_stopping(self) -> bool:
        """Say whether it has said so by now."""
        for file, heard in zip(self._files, self._heard, strict=True):
            for event in file.new():
                heard.take(event)
        return any(heard.is_stopping for heard in self._heard)

"""Sends the journal of a run to a team's server while it grows, so that others can follow it. A hand.

Nothing of the run waits for it: what cannot be sent now is sent with the next piece, and the run's own folder has all
of it in any case. What is sent is what the journal says, in which secrets are hidden already.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from interlock.clock import Clock
from interlock.errors import InterlockError
from interlock.run.order import ORDER_FILE, decode
from interlock.run.summary import SUMMARY, find_summary
from interlock.run.transcript import JOURNAL

PAUSE_S: Final = 0.25
"""Seconds between two pieces: entries that come together are sent together."""
RETRY_S: Final = 5.0
"""Seconds after a piece that could not be sent."""
LAST_S: Final = 5.0
"""Seconds for the last piece, when the run has ended and somebody waits for its command."""
SENT: Final = "sent"
"""In a run's folder: an empty file that says that the server has all of it."""
_PIECE = 128 * 1024
_LOOKED_AT = 20  # newest runs of a home, of which some may not have said how they ended


class RunRecord(Protocol):
    """Where runs are told of; see `interlock.home.server_runs.ServerRuns`."""

    async def tell(self, run: str, state: str, summary: bytes, *, ended: bool) -> int:
        """Tell how a run stands; return how much of its journal is there."""
        ...

    async def append(self, run: str, state: str, offset: int, text: bytes) -> int:
        """Send a piece of its journal; return how much is there then."""
        ...


class Stream:
    """Sends one run's journal.

    Args:
        folder: The run's folder.
        run: Its id.
        state: Its state.
        record: Where it is sent.
        clock: For the pauses.
    """

    def __init__(self, folder: Path, *, run: str, state: str, record: RunRecord, clock: Clock) -> None:
        self._folder = folder
        self._run = run
        self._state = state
        self._record = record
        self._clock = clock
        self._more = asyncio.Event()
        self._summary = b""
        self._sent: int | None = None

    def ring(self) -> None:
        """There is more in the journal."""
        self._more.set()

    async def keep_sending(self) -> None:
        """Send what is new, until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            try:
                await self.send()
            except InterlockError:
                self._more.set()
                await self._clock.sleep(RETRY_S)
            await self._clock.sleep(PAUSE_S)

    async def finish(self) -> bool:
        """Send the rest; say whether it was sent. What cannot be sent within `LAST_S`, `send_ends` sends later."""
        try:
            async with asyncio.timeout(LAST_S):
                await self.send(ended=True)
        except (InterlockError, TimeoutError):
            return False
        with suppress(OSError):
            (self._folder / SENT).touch(mode=0o600)
        return True

    async def send(self, *, ended: bool = False) -> None:
        """Send the summary when it is another one, and what is new in the journal.

        Raises:
            InterlockError: It cannot be sent now.
        """
        summary = await asyncio.to_thread(_read, self._folder / SUMMARY)
        if not summary:
            return
        if self._sent is None or (summary != self._summary and not ended):
            self._sent = await self._record.tell(self._run, self._state, summary, ended=False)
            self._summary = summary
        while piece := await asyncio.to_thread(_piece_at, self._folder / JOURNAL, self._sent):
            self._sent = await self._record.append(self._run, self._state, self._sent, piece)
        if ended:
            await self._record.tell(self._run, self._state, summary, ended=True)


async def send_ends(runs: Path, *, server: str, record: RunRecord, clock: Clock) -> None:
    """Send how runs of this machine ended that could not say so: killed ones, and those whose server was away then.

    Without it everybody else sees them go on for ever. Stops at the first that cannot be sent.

    Args:
        runs: The folder of all runs of a home.
        server: Which server's runs.
        record: Where they are sent.
        clock: See `Stream`.
    """
    for folder in await asyncio.to_thread(_unsent, runs, server):
        summary = find_summary(folder)
        if summary is None:
            continue
        if not await Stream(folder, run=summary.run, state=summary.state, record=record, clock=clock).finish():
            return


def _unsent(runs: Path, server: str) -> list[Path]:
    folders = sorted(runs.iterdir(), reverse=True)[:_LOOKED_AT] if runs.is_dir() else []
    return [folder for folder in folders if not (folder / SENT).exists() and _is_ended(folder, server)]


def _is_ended(folder: Path, server: str) -> bool:
    summary = find_summary(folder)
    if summary is None or summary.exit is None:
        return False
    try:
        return decode((folder / ORDER_FILE).read_bytes()).server == server
    except (OSError, InterlockError):
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _piece_at(path: Path, offset: int) -> bytes:
    """Return whole lines from there on, at most a piece of them; a line that is longer than a piece comes in parts."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            piece = file.read(_PIECE)
    except OSError:
        return b""
    return piece if len(piece) == _PIECE else piece[: piece.rfind(b"\n") + 1]

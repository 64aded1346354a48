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
from interlock.run.summary import SUMMARY
from interlock.run.transcript import JOURNAL

PAUSE_S: Final = 0.25
"""Seconds between two pieces: entries that come together are sent together."""
RETRY_S: Final = 5.0
"""Seconds after a piece that could not be sent."""
LAST_S: Final = 5.0
"""Seconds for the last piece, when the run has ended and somebody waits for its command."""
_PIECE = 128 * 1024


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

    async def finish(self) -> None:
        """Send the rest; what cannot be sent within `LAST_S` stays in the run's folder alone."""
        with suppress(InterlockError, TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self.send(ended=True)

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

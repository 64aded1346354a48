"""The record of a team's runs at a server, as its clients have it. A hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from interlock.api.runs import (
    CHUNK_BYTES_MAX,
    ENDED_HEADER,
    PAGE_MAX,
    JournalSize,
    StopAsked,
    StopRequests,
    ToldRun,
    ToldRuns,
    ToldSummary,
)
from interlock.home.line import ANSWER_S, Line

FOLLOW_S: Final = 20.0
"""Seconds that a question for more of a journal waits at the server."""


class ServerRuns:
    """Tells of a run, and reads what others told.

    Args:
        line: The way to the server.
    """

    def __init__(self, line: Line) -> None:
        self._line = line

    async def tell(self, run: str, state: str, summary: bytes, *, ended: bool) -> int:
        """Tell how a run stands; return how much of its journal is there."""
        sent = ToldSummary(summary=msgspec.Raw(summary), ended=ended)
        told: JournalSize = await self._line.ask_for(
            JournalSize, "PUT", "/runs", {"run": run, "state": state}, sends=sent
        )
        return told.size

    async def append(self, run: str, state: str, offset: int, text: bytes) -> int:
        """Send what a journal says from `offset` on, at most a piece of it; return how much is there then."""
        told: JournalSize = await self._line.ask_for(
            JournalSize,
            "POST",
            "/runs/journal",
            {"run": run, "state": state, "offset": offset},
            body=text[:CHUNK_BYTES_MAX],
        )
        return told.size

    async def ask_to_stop(self, run: str, state: str, *, once: str, by: str) -> None:
        """Ask a run to stop, wherever it works; see `StopAsked`.

        Raises:
            UsageError: It has ended, or is not known.
            Forbidden: It is another's, and the token may not unlock by force.
        """
        await self._line.ask(
            "POST", "/runs/stop", {"run": run, "state": state}, body=msgspec.json.encode(StopAsked(once=once, by=by))
        )

    async def stop_requests(self, run: str, state: str, *, seen: int) -> StopRequests:
        """Return who asked this run to stop beyond the first `seen`; waits `FOLLOW_S` at most while nobody did."""
        query = {"run": run, "state": state, "seen": seen, "wait_s": FOLLOW_S}
        told: StopRequests = await self._line.ask_for(
            StopRequests, "GET", "/runs/stop", query, wait_s=ANSWER_S + FOLLOW_S
        )
        return told

    async def recent(self, *, limit: int, state: str = "", begins: str = "") -> Sequence[ToldRun]:
        """Return runs, the newest first."""
        found: list[ToldRun] = []
        before = ""
        while len(found) < limit:
            room = min(limit - len(found), PAGE_MAX)
            query = {"limit": room, "of": state, "begins": begins, "before": before or None}
            told: ToldRuns = await self._line.ask_for(ToldRuns, "GET", "/runs", query)
            found += told.runs
            before = told.next
            if not before:
                break
        return found

    async def journal(self, run: str, offset: int, *, follow: bool) -> tuple[bytes, bool]:
        """Return what a journal says from `offset` on, and whether that is the end of it.

        Args:
            run: The run.
            offset: From where on.
            follow: Wait for more, `FOLLOW_S` at most.
        """
        query = {"run": run, "offset": offset, "wait_s": FOLLOW_S if follow else None}
        reply = await self._line.ask("GET", "/runs/journal", query, wait_s=ANSWER_S + FOLLOW_S)
        return reply.body, reply.headers.get(ENDED_HEADER) == "true"

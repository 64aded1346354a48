"""The record of runs over HTTP, as both ends spell it: what a run tells while it goes on, wherever it works. Pure."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

CHUNK_BYTES_MAX: Final = 200 * 1024
"""Most that is sent of a journal at once."""
PAGE_MAX: Final = 1000
"""Most runs in one answer."""
SUMMARY_BYTES_MAX: Final = 64 * 1024
ENDED_HEADER: Final = "x-interlock-ended"


class ToldSummary(Struct, frozen=True, kw_only=True):
    """A run at a glance.

    Attributes:
        summary: As the run's folder has it.
        ended: Whether it has ended.
    """

    summary: msgspec.Raw
    ended: bool = False


class ToldRun(Struct, frozen=True, kw_only=True):
    """A run in the record.

    Attributes:
        run: Its id.
        state: Its state.
        summary: As the run's folder has it.
        size: Bytes of its journal so far.
        ended: Whether it has ended.
    """

    run: str
    state: str
    summary: msgspec.Raw
    size: int
    ended: bool


class ToldRuns(Struct, frozen=True, kw_only=True):
    """A page of runs, the newest first.

    Attributes:
        runs: Those that are asked for and that the token may see. Fewer than asked for do not mean the end.
        next: What to pass as `before` for the next page; empty at the end.
    """

    runs: list[ToldRun]
    next: str = ""


class StopAsked(Struct, frozen=True, kw_only=True):
    """Asks a run to stop, as Ctrl-C where it works would.

    Attributes:
        once: A name of this request: one whose answer was lost is not made twice. A further one may kill Terraform.
        by: Who asks, as that one calls itself.
    """

    once: str
    by: str = ""


class StopRequests(Struct, frozen=True, kw_only=True):
    """Who asked a run to stop.

    Attributes:
        by: Those that were not seen yet, in order.
        count: All so far.
    """

    by: list[str]
    count: int


class JournalSize(Struct, frozen=True, kw_only=True):
    """How much of a journal is there; what follows is sent next."""

    size: int

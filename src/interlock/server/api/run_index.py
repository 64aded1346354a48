"""Which runs a state had: one empty record a run, `run-of/<digest of the state>/<id>`, beside that of the run. A hand.

An entry is written before its run and deleted before it, so each run that is listed without the index has one. Runs
that an older release wrote, also one that still serves beside this one, get theirs in small steps: `run-index` says how
far those are. While they are not through, the index answers nothing, and whoever lists reads all runs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from interlock.bounded import decode_json
from interlock.ids import run_id
from interlock.server.api.newest import newest_pages
from interlock.store import Mismatch, Record, RecordDamaged, RecordStore

STEP: Final = 25
"""Runs that get their entries in one step, which the request of a new run pays for."""
_OVERLAP: Final = timedelta(days=1)
"""So long ago a run may have begun that an older release tells of now."""
_ENTRIES: Final = "run-of/"
_STATE: Final = "run-index"
_ENTRY: Final = b"1"


class _Progress(Struct, frozen=True, kw_only=True):
    """How far older runs have their entries.

    Attributes:
        upto: The last run that was looked at, in the pass that is under way.
        whole: Whether all of them were, once.
        seen: The last run that any pass looked at.
    """

    upto: str = ""
    whole: bool = False
    seen: str = ""


class RunIndex:
    """Finds the runs of a state.

    Args:
        records: Where.
        runs: What the keys of runs begin with.
    """

    def __init__(self, records: RecordStore, *, runs: str) -> None:
        self._records = records
        self._runs = runs

    async def add(self, run: str, state: str) -> None:
        """Keep that a state has a run."""
        key = _prefix(state) + run
        if await self._records.get(key) is None:
            with suppress(Mismatch):
                await self._records.swap(key, expected=None, value=_ENTRY)

    async def remove(self, run: str, state: str) -> None:
        """Forget that a state has a run."""
        record = await self._records.get(_prefix(state) + run)
        if record is not None:
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=None)

    async def is_whole(self) -> bool:
        """Say whether every run has its entry; behind the last that was looked at there is none then."""
        progress, _ = await self._progress()
        return progress.whole and not await self._behind(progress.seen, limit=1)

    async def newest(self, state: str, *, before: str, begins: str, latest: str) -> AsyncIterator[str]:
        """Yield the runs of a state, the newest first; see `newest_pages`."""
        prefix = _prefix(state)
        async for page in newest_pages(self._records, prefix, before=before, begins=begins, latest=latest):
            for record in page:
                yield record.key.removeprefix(prefix)

    async def look_again(self, now: datetime) -> None:
        """Begin to look again at the runs of the last day: a server of an older release may have written some since.

        A pass that is under way is not begun anew: on a busy server it would never come to the newest runs.
        """
        progress, record = await self._progress()
        start = run_id(now - _OVERLAP, chance=0)
        if progress.whole and progress.upto >= progress.seen and progress.upto > start:
            await self._note(_Progress(upto=start, whole=True, seen=progress.seen), record)

    async def step(self, state_of: Callable[[Record], str | None]) -> None:
        """Give some older runs their entries. Killed at any write, the next step does the same again.

        Args:
            state_of: Returns the state of a run's record; None for one that cannot be read.
        """
        progress, record = await self._progress()
        upto, is_through = await self._add_behind(progress.upto, state_of)
        seen = progress.seen
        if seen > progress.upto:
            seen, _ = await self._add_behind(seen, state_of)
        after = _Progress(upto=upto, whole=progress.whole or is_through, seen=max(seen, upto))
        await self._note(after, record)

    async def _add_behind(self, run: str, state_of: Callable[[Record], str | None]) -> tuple[str, bool]:
        """Give the next runs behind one their entries; return the last of them, and whether there are no more."""
        page = await self._behind(run, limit=STEP)
        states = [(each.key.removeprefix(self._runs), state_of(each)) for each in page]
        # At once: a store commits them together.
        await asyncio.gather(*(self.add(each, state) for each, state in states if state is not None))
        return (states[-1][0] if states else run), len(page) < STEP

    async def _behind(self, run: str, *, limit: int) -> list[Record]:
        return await self._records.list(self._runs, after=self._runs + run, limit=limit)

    async def _progress(self) -> tuple[_Progress, Record | None]:
        """Return how far the index is; a record that cannot be read says nothing, and the index is made anew."""
        record = None
        with suppress(RecordDamaged, msgspec.MsgspecError, UnicodeDecodeError):
            record = await self._records.get(_STATE)
            if record is not None:
                return decode_json(record.value, type=_Progress), record
        return _Progress(), record

    async def _note(self, progress: _Progress, record: Record | None) -> None:
        value = msgspec.json.encode(progress)
        if record is None or record.value != value:
            with suppress(Mismatch):  # another server has gone on
                try:
                    await self._records.swap(_STATE, expected=None if record is None else record.version, value=value)
                except RecordDamaged:
                    await self._records.replace_damaged(_STATE, value)


def _prefix(state: str) -> str:
    return f"{_ENTRIES}{hashlib.sha256(state.encode()).hexdigest()[:32]}/"

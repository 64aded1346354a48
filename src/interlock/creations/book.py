"""Where creations are kept: one record each, `made/<run>/<id>`, until it is struck out. A hand."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import msgspec

from interlock.bounded import decode_json
from interlock.creations.creation import Creation, Place
from interlock.errors import BackendUnavailable
from interlock.store import Mismatch, Record, RecordDamaged, RecordStore
from interlock.store.records import LIST_LIMIT_MAX

MAX_OPEN: Final = 20_000
"""Creations that are read at once; a home with more has forgotten to strike them out."""
_PREFIX: Final = "made/"
_ATTEMPTS: Final = 5
_AT_ONCE: Final = 64
_YOUNG: Final = timedelta(days=1)  # a run that begins has no folder that was seen yet


def key_of(run: str, number: str) -> str:
    """Return the key of a creation."""
    return f"{_PREFIX}{run}/{number}"


class CreationBook:
    """All creations that no state is known to hold.

    Args:
        records: Where they are kept.
    """

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    async def write(self, creation: Creation) -> None:
        """Write one down, in the place of what the book says under its key.

        Raises:
            BackendUnavailable: The store cannot be written.
        """
        value = msgspec.json.encode(creation)
        expected: int | None = None
        for _ in range(_ATTEMPTS):
            try:
                await self._records.swap(creation.key, expected=expected, value=value)
            except Mismatch as error:
                expected = error.current.version if error.current is not None else None
            else:
                return
        # Never in silence: the call that is about to be sent relies on it.
        raise BackendUnavailable("what a run makes could not be written down", why="others wrote at the same time")

    async def strike(self, creations: Iterable[Creation]) -> None:
        """Strike creations out; one that somebody else struck out is fine."""
        waiting = iter(creations)
        while some := list(islice(waiting, _AT_ONCE)):
            await asyncio.gather(*(self._strike(each.key) for each in some))

    async def _strike(self, key: str) -> None:
        for _ in range(_ATTEMPTS):
            record = await self._records.get(key)
            if record is None:
                return
            try:
                await self._records.swap(key, expected=record.version, value=None)
            except Mismatch:
                continue
            return

    async def all(self) -> list[Creation]:
        """Return every creation, at most `MAX_OPEN`, in the order of runs and calls."""
        return await self._under(_PREFIX)

    async def of_run(self, run: str) -> list[Creation]:
        """Return the creations of one run."""
        return await self._under(key_of(run, ""))

    async def forget(self, runs: Container[str], *, now: datetime) -> None:
        """Strike out what runs made whose records are gone: the book keeps a creation as long as its run.

        Args:
            runs: The runs whose records are there.
            now: Aware UTC instant.
        """
        await self.strike(each for each in await self.all() if each.run not in runs and now - each.at > _YOUNG)

    async def _under(self, prefix: str) -> list[Creation]:
        found: list[Creation] = []
        after = ""
        while len(found) < MAX_OPEN and (page := await self._page(prefix, after)):
            found.extend(_read_all(page))
            after = page[-1].key
        return sorted(found, key=lambda each: (each.run, each.at))

    async def _page(self, prefix: str, after: str) -> list[Record]:
        for _ in range(_ATTEMPTS):
            try:
                return await self._records.list(prefix, after=after, limit=LIST_LIMIT_MAX)
            except RecordDamaged as error:  # it would hide all the others; that something was made here is kept
                await self._replace_damaged(error.key)
        return await self._records.list(prefix, after=after, limit=LIST_LIMIT_MAX)

    async def _replace_damaged(self, key: str) -> None:
        run = key.removeprefix(_PREFIX).partition("/")[0]
        left = Creation(
            key=key,
            run=run,
            state="",
            place=Place(client=""),
            path="",
            at=datetime.fromtimestamp(0).astimezone(),
            doubt="the record of what was made is damaged",
        )
        try:
            await self._records.replace_damaged(key, msgspec.json.encode(left))
        except Mismatch:
            return  # somebody else was quicker


def _read_all(page: Iterable[Record]) -> Iterator[Creation]:
    """Yield what can be read; a record of a later version that cannot is left for that version."""
    for record in page:
        try:
            found = decode_json(record.value, type=Creation)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        yield msgspec.structs.replace(found, key=record.key)

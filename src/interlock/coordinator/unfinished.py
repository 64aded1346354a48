"""Writes that may have been killed before they were over: what they stored and nobody names. A hand: it keeps records.

A write stores bytes and a description, and then moves the head of its state. Killed in between, it leaves both behind.
So it first notes here, in one small record a state, what it is going to store. Under which grant it does so decides
when that may go: bytes can come to be named only while that grant is current, and a token is never granted twice.

Knows nothing of heads and chains: whether a noted write came to its end, the archive finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.instants import Instant
from interlock.store import Mismatch, Record, RecordDamaged, RecordStore

ATTEMPTS_MAX = 64
"""Writes noted of one state; the oldest go first. One grant has one write under way, rarely two."""
SCHEMA = 1
_PREFIX = "unfinished/"
_SWAPS = 8


class Attempt(Struct, frozen=True, kw_only=True):
    """One write that was begun.

    Attributes:
        token: Fencing token of the grant under which it was begun.
        number: Of the version that it makes.
        blob: Digest of the bytes that it stores. Their salt is their own, so no other write stores the same.
        meta: Digest of their description.
        at: When it was begun.
        swept: What it had left by then was deleted once. It may have stored more since, if its writer still lived.
    """

    token: int
    number: int
    blob: str
    meta: str
    at: Instant
    swept: bool = False


class _Noted(Struct, frozen=True, kw_only=True):
    attempts: tuple[Attempt, ...] = ()
    schema: int = SCHEMA


class Unfinished:
    """The writes that were begun, of all states.

    Args:
        records: Where they are noted.
    """

    def __init__(self, records: RecordStore) -> None:
        self._records = records
        self._over: dict[str, set[str]] = {}

    async def all(self, state: str) -> tuple[Attempt, ...]:
        """Return what is noted of a state; nothing where the note cannot be read: then what it named stays stored."""
        try:
            return _decoded(await self._records.get(_key(state)))
        except RecordDamaged:
            return ()

    async def note(self, state: str, attempt: Attempt) -> tuple[Attempt, ...]:
        """Note a write that begins; return all that are noted. Those of this process that are over are left out."""
        over = self._over.pop(state, set())
        return await self._change(state, lambda noted: (*(each for each in noted if each.blob not in over), attempt))

    def end(self, state: str, attempt: Attempt) -> None:
        """A write of this process is over; the next note says so too."""
        self._over.setdefault(state, set()).add(attempt.blob)

    async def mark(self, state: str, *, over: Iterable[Attempt], swept: Iterable[Attempt]) -> None:
        """Note that writes are over, which are not noted any more, and that what others had left was deleted."""
        gone, clean = {each.blob for each in over}, {each.blob for each in swept}

        def marked(noted: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
            kept = [each for each in noted if each.blob not in gone]
            return tuple(replace(each, swept=True) if each.blob in clean else each for each in kept)

        await self._change(state, marked)

    async def _change(
        self, state: str, change: Callable[[tuple[Attempt, ...]], tuple[Attempt, ...]]
    ) -> tuple[Attempt, ...]:
        key = _key(state)
        for _ in range(_SWAPS):
            try:
                record = await self._records.get(key)
            except RecordDamaged:
                with suppress(Mismatch):
                    attempts = change(())
                    await self._records.replace_damaged(key, _encoded(attempts))
                    return attempts
                continue
            noted = _decoded(record)
            attempts = change(noted)[-ATTEMPTS_MAX:]
            if attempts == noted:
                return noted
            with suppress(Mismatch):
                expected = None if record is None else record.version
                await self._records.swap(key, expected=expected, value=_encoded(attempts))
                return attempts
        return ()


def _encoded(attempts: tuple[Attempt, ...]) -> bytes:
    return msgspec.json.encode(_Noted(attempts=attempts))


def _decoded(record: Record | None) -> tuple[Attempt, ...]:
    if record is None:
        return ()
    try:
        noted = decode_json(record.value, type=_Noted)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ()
    return noted.attempts if noted.schema == SCHEMA else ()


def _key(state: str) -> str:
    return _PREFIX + quote(state, safe="")

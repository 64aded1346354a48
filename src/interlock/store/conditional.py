"""Records as objects of any service that writes on a condition: only if absent, or only in the place of what was read.

A hand. A record is one object. Its body begins with the version, a number drawn by chance, so no two bodies and no two
marks are equal, and a write whose reply got lost is recognised; then comes the checksum (`checksums.py`), which objects
of format 1 lack. A deleted record stays as a short object that says so: not every service deletes conditionally.
"""

from __future__ import annotations

import asyncio
import struct
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from interlock.clock import Clock
from interlock.errors import BackendUnavailable
from interlock.store.checksums import SUM_BYTES, RecordDamaged, record_sum
from interlock.store.memory import store_is_closed
from interlock.store.polled import PolledWatch, RecordsWatchedByLooking
from interlock.store.polling import Pace
from interlock.store.records import (
    LIST_LIMIT_MAX,
    Mismatch,
    Record,
    check_key,
    check_limit,
    check_prefix,
    check_value,
)

_VERSION_BITS = 52  # exact in every JSON reader
_HEADER = struct.Struct("<3sBBQ")
_MAGIC = b"ILR"
_FORMAT_WITHOUT_SUM, _FORMAT = 1, 2
_LIVE, _DELETED = 0, 1
_MARKS_MAX = 4096
_SWAP_ATTEMPTS_MAX = 10  # each is lost only against another write of the same record


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """An object as it is: its mark, its version, and its value (None: deleted)."""

    mark: str
    version: int
    value: bytes | None


class ConditionalRecords(RecordsWatchedByLooking):
    """A `RecordStore` of objects that are written conditionally; a subclass knows one service.

    Args:
        title: Where the objects are, for people: `S3 bucket "states"`.
        polling: How often to look for a change.
        clock: For pauses.
        draw: Returns a number of so many bits by chance; see `interlock.ids.draw_from`.
    """

    def __init__(self, *, title: str, polling: Pace, clock: Clock, draw: Callable[[int], int]) -> None:
        super().__init__(PolledWatch(clock=clock, polling=polling, fraction=lambda: draw(53) / 2**53))
        self._draw = draw
        self._title = title
        self._is_closed = False
        self._etags: OrderedDict[str, tuple[int, str]] = OrderedDict()

    # -- of the service ---------------------------------------------------------------------------------------------

    @abstractmethod
    async def _object_of(self, key: str) -> tuple[bytes, str] | None:
        """Return the bytes that stand for a record, and their mark (an ETag, a generation); None when there is none."""

    @abstractmethod
    async def _put(self, key: str, body: bytes, *, mark: str | None) -> str | None:
        """Write an object in the place of the one with this mark, None for no object.

        Returns:
            The new mark; None when another one, or none, is there. A write whose reply got lost may end so too.
        """

    @abstractmethod
    async def _names(self, prefix: str, *, after: str, limit: int) -> Sequence[str]:
        """Return keys of this prefix behind `after`, in order of UTF-8, at most `limit`."""

    def _where(self, key: str) -> str:
        """Return what a person would look at: the name of an object."""
        return key

    # -- the records ------------------------------------------------------------------------------------------------

    async def get(self, key: str) -> Record | None:
        """See `RecordStore.get`. One request."""
        check_key(key)
        self._check_open()
        return _record(key, await self._read(key))

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        """See `RecordStore.swap`. One conditional write, and a read when this process did not see the version."""
        check_key(key)
        check_value(key, value)
        self._check_open()
        try:
            return await self._swap(key, expected, value)
        finally:
            self._watch.ring(key)

    async def replace_damaged(self, key: str, value: bytes) -> int:
        """See `RecordStore.replace_damaged`. A read and a conditional write."""
        check_key(key)
        check_value(key, value)
        version = self._draw(_VERSION_BITS) + 1
        for _ in range(_SWAP_ATTEMPTS_MAX):
            found = await self._object_of(key)
            try:
                current = None if found is None else _record(key, self._stored(key, *found))
            except BackendUnavailable:
                if found is not None and await self._write(key, version, value, etag=found[1]):
                    self._watch.ring(key)
                    return version
                continue
            if current is not None and current.version == version:  # our own write, whose reply got lost
                return version
            raise Mismatch(key, expected=None, current=current)
        raise self._restless(key)

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """See `RecordStore.list`. One request for a thousand names, and one for each record, deleted ones too."""
        check_prefix(prefix)
        check_prefix(after)
        check_limit(limit)
        self._check_open()
        records: list[Record] = []
        while len(records) < limit:
            names = await self._names(prefix, after=after, limit=limit)
            if not names:
                break
            found = await asyncio.gather(*map(self.get, names))
            records += [record for record in found if record is not None]
            after = names[-1]
        return records[:limit]

    async def close(self) -> None:
        """See `RecordStore.close`."""
        self._is_closed = True
        await self._watch.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise store_is_closed()

    async def _swap(self, key: str, expected: int | None, value: bytes | None) -> int:
        version = self._draw(_VERSION_BITS) + 1
        known = self._etags.get(key)
        etag = known[1] if known and known[0] == expected else None
        is_seen = etag is not None or (expected is None and value is not None)  # try to create without reading first
        for _ in range(_SWAP_ATTEMPTS_MAX):
            if is_seen and await self._write(key, version, value, etag=etag):
                return 0 if value is None else version
            current = await self._read(key)
            if current is not None and current.version == version:  # our own write, whose reply got lost
                return 0 if value is None else version
            record = _record(key, current)
            if (None if record is None else record.version) != expected:
                raise Mismatch(key, expected=expected, current=record)
            if record is None and value is None:
                return 0
            etag = None if current is None else current.mark
            is_seen = True
        raise self._restless(key)

    async def _write(self, key: str, version: int, value: bytes | None, *, etag: str | None) -> bool:
        """Write the record if the object has this mark (None: if there is no object); say whether it was written."""
        kind = _DELETED if value is None else _LIVE
        body = _HEADER.pack(_MAGIC, _FORMAT, kind, version) + record_sum(key, version, value) + (value or b"")
        mark = await self._put(key, body, mark=etag)
        if mark is None:
            return False
        self._remember(key, version, mark)
        return True

    async def _read(self, key: str) -> _Stored | None:
        found = await self._object_of(key)
        if found is None:
            return None
        stored = self._stored(key, *found)
        self._remember(key, stored.version, stored.mark)
        return stored

    def _stored(self, key: str, body: bytes, mark: str) -> _Stored:
        version, value = self._unpacked(key, body)
        return _Stored(mark=mark, version=version, value=value)

    def _unpacked(self, key: str, body: bytes) -> tuple[int, bytes | None]:
        """Return version and value of an object, None for a deleted record.

        Raises:
            RecordDamaged: It is not what was written.
            BackendUnavailable: It is none of ours, or of a newer release.
        """
        if len(body) < _HEADER.size or not body.startswith(_MAGIC):
            raise self._damaged(key)
        _, form, kind, version = _HEADER.unpack_from(body)
        if form not in {_FORMAT, _FORMAT_WITHOUT_SUM} or kind not in {_LIVE, _DELETED}:
            raise self._damaged(key)
        start = _HEADER.size + (SUM_BYTES if form == _FORMAT else 0)
        value = body[start:] if kind == _LIVE else None
        if form == _FORMAT and body[_HEADER.size : start] != record_sum(key, version, value):
            raise RecordDamaged(key)
        if kind == _DELETED and body[start:]:  # else a damaged kind would make a record seem absent
            raise RecordDamaged(key, why="it says that it was deleted, and has a value all the same")
        return version, value

    def _remember(self, key: str, version: int, mark: str) -> None:
        self._etags[key] = (version, mark)
        self._etags.move_to_end(key)
        if len(self._etags) > _MARKS_MAX:
            self._etags.popitem(last=False)

    def _restless(self, key: str) -> BackendUnavailable:
        return BackendUnavailable(
            f"record {key!r} was not written",
            why=f"it changed {_SWAP_ATTEMPTS_MAX} times in between",
            fix="try again",
            key=key,
        )

    def _damaged(self, key: str) -> BackendUnavailable:
        return BackendUnavailable(
            f"an object of {self._title} is damaged",
            why=f"{self._where(key)} was not written by this version of Interlock",
            fix=self._look_at(key),
            object=self._where(key),
        )

    def _look_at(self, key: str) -> str:
        """Return the command that shows an object."""
        return f"look at it: {self._where(key)}"


def _record(key: str, stored: _Stored | None) -> Record | None:
    if stored is None or stored.value is None:
        return None
    return Record(key=key, version=stored.version, value=stored.value)

"""Records and blobs in memory: the reference implementation, for tests and simulations. A hand: it waits.

What this file does is what every store must do; `interlock.testing.store_contract` compares them. One event loop
uses it; it keeps nothing when the process ends.
"""

from __future__ import annotations

import asyncio

from interlock.clock import Clock
from interlock.store.blobs import BlobDamaged, BlobMissing, blob_digest, check_blob, check_digest
from interlock.store.checksums import RecordDamaged, check_record, record_sum
from interlock.store.doorbell import Doorbell
from interlock.store.records import (
    LIST_LIMIT_MAX,
    Mismatch,
    Record,
    check_key,
    check_limit,
    check_prefix,
    check_value,
)
from interlock.store.refusals import StoreUnfit

_THREAD_BYTES_MIN = 1024 * 1024  # hashing less takes under 2 ms, which is cheaper than a thread


class MemoryRecords:
    """A `RecordStore` in a dictionary."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._sums: dict[str, bytes] = {}
        self._changes = 0
        self._doorbell = Doorbell(clock=clock)
        self._closed = False

    async def get(self, key: str) -> Record | None:
        """See `RecordStore.get`."""
        self._check_open()
        check_key(key)
        return self._find(key)

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        """See `RecordStore.swap`."""
        self._check_open()
        check_key(key)
        check_value(key, value)
        current = self._find(key)
        if _version(current) != expected:
            raise Mismatch(key, expected=expected, current=current)
        if current is None and value is None:
            return 0
        version = self._replace(key, value)
        self._doorbell.ring(key)
        return version

    async def replace_damaged(self, key: str, value: bytes) -> int:
        """See `RecordStore.replace_damaged`."""
        self._check_open()
        check_key(key)
        check_value(key, value)
        try:
            current = self._find(key)
        except RecordDamaged:
            version = self._replace(key, value)
            self._doorbell.ring(key)
            return version
        raise Mismatch(key, expected=None, current=current)

    def _replace(self, key: str, value: bytes | None) -> int:
        self._changes += 1
        if value is None:
            del self._records[key]
            return 0
        self._records[key] = Record(key=key, version=self._changes, value=bytes(value))
        self._sums[key] = record_sum(key, self._changes, value)
        return self._changes

    def _find(self, key: str) -> Record | None:
        record = self._records.get(key)
        if record is not None:
            check_record(key, record.version, record.value, self._sums[key])
        return record

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """See `RecordStore.list`."""
        self._check_open()
        check_prefix(prefix)
        check_prefix(after)
        check_limit(limit)
        keys = sorted(key for key in self._records if key.startswith(prefix) and key > after)
        return [record for key in keys[:limit] if (record := self._find(key)) is not None]

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        """See `RecordStore.watch`."""
        self._check_open()
        check_key(key)
        until = self._clock.monotonic() + timeout_s
        with self._doorbell.hung(key) as bell:
            while not self._closed and _version(self._find(key)) == seen:
                if not await self._doorbell.rung(bell, timeout_s=until - self._clock.monotonic()):
                    break
        self._check_open()
        return self._find(key)

    async def watch_prefix(self, prefix: str, *, seen: int, timeout_s: float) -> int:
        """See `RecordStore.watch_prefix`. The number counts changes of the whole store."""
        self._check_open()
        check_prefix(prefix)
        with self._doorbell.hung_for_all_of(prefix) as bell:
            if self._changes == seen:
                await self._doorbell.rung(bell, timeout_s=timeout_s)
        self._check_open()
        return self._changes

    async def close(self) -> None:
        """See `RecordStore.close`."""
        self._closed = True
        self._doorbell.ring_all()

    def _check_open(self) -> None:
        if self._closed:
            raise store_is_closed()


class MemoryBlobs:
    """A `BlobStore` in a dictionary."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._closed = False

    async def put(self, data: bytes, *, like: str | None = None) -> str:
        """See `BlobStore.put`."""
        self._check_open()
        check_blob(data, like=like)
        digest = await _digest(data)
        self._blobs[digest] = bytes(data)
        return digest

    async def get(self, digest: str) -> bytes:
        """See `BlobStore.get`."""
        data = self._find(digest)
        if await _digest(data) != digest:
            raise BlobDamaged(digest)
        return data

    async def has(self, digest: str) -> bool:
        """See `BlobStore.has`."""
        self._check_open()
        check_digest(digest)
        return digest in self._blobs

    async def delete(self, digest: str) -> None:
        """See `BlobStore.delete`."""
        self._check_open()
        check_digest(digest)
        self._blobs.pop(digest, None)

    async def size(self, digest: str) -> int:
        """See `BlobStore.size`."""
        return len(self._find(digest))

    async def close(self) -> None:
        """See `BlobStore.close`."""
        self._closed = True

    def _find(self, digest: str) -> bytes:
        self._check_open()
        check_digest(digest)
        try:
            return self._blobs[digest]
        except KeyError:
            raise BlobMissing(digest) from None

    def _check_open(self) -> None:
        if self._closed:
            raise store_is_closed()


def store_is_closed() -> StoreUnfit:
    """Return the error of a call to a closed store; it is our own mistake, but never a traceback for a user."""
    return StoreUnfit("the store is closed", why="it was used after close()", fix="open it again")


async def _digest(data: bytes) -> str:
    if len(data) < _THREAD_BYTES_MIN:
        return blob_digest(data)
    return await asyncio.to_thread(blob_digest, data)


def _version(record: Record | None) -> int | None:
    return None if record is None else record.version

"""The records of one store under a prefix of their own, so that two sets of names never meet. A hand."""

from __future__ import annotations

from msgspec.structs import replace

from interlock.store.records import LIST_LIMIT_MAX, Mismatch, Record, RecordStore, check_key
from interlock.store.refusals import StoreUnfit


class NamespacedRecords:
    """See `RecordStore`.

    Args:
        records: The store that keeps them; it is not closed with this one.
        prefix: Before every key, whose longest is shorter by it.
    """

    def __init__(self, records: RecordStore, prefix: str) -> None:
        self._records = records
        self._prefix = prefix
        self._is_closed = False

    async def get(self, key: str) -> Record | None:
        """See `RecordStore.get`."""
        self._check(key)
        return self._plain(await self._records.get(self._prefix + key))

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        """See `RecordStore.swap`."""
        self._check(key)
        try:
            return await self._records.swap(self._prefix + key, expected=expected, value=value)
        except Mismatch as error:
            raise Mismatch(key, expected=expected, current=self._plain(error.current)) from error

    async def replace_damaged(self, key: str, value: bytes) -> int:
        """See `RecordStore.replace_damaged`."""
        self._check(key)
        try:
            return await self._records.replace_damaged(self._prefix + key, value)
        except Mismatch as error:
            raise Mismatch(key, expected=None, current=self._plain(error.current)) from error

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """See `RecordStore.list`."""
        self._check_open()
        start = self._prefix + after if after else ""
        found = await self._records.list(self._prefix + prefix, after=start, limit=limit)
        return [self._renamed(record) for record in found]

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        """See `RecordStore.watch`."""
        self._check(key)
        return self._plain(await self._records.watch(self._prefix + key, seen=seen, timeout_s=timeout_s))

    async def watch_prefix(self, prefix: str, *, seen: int, timeout_s: float) -> int:
        """See `RecordStore.watch_prefix`."""
        self._check_open()
        return await self._records.watch_prefix(self._prefix + prefix, seen=seen, timeout_s=timeout_s)

    async def close(self) -> None:
        """See `RecordStore.close`. The store below belongs to somebody else."""
        self._is_closed = True

    def _check(self, key: str) -> None:
        self._check_open()
        check_key(key)

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnfit("this store is closed", fix="open it again")

    def _plain(self, record: Record | None) -> Record | None:
        return None if record is None else self._renamed(record)

    def _renamed(self, record: Record) -> Record:
        return replace(record, key=record.key.removeprefix(self._prefix))

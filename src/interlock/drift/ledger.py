"""Where the memory of drift is kept: one record a state, `drift/<state>`, and each scan as a blob. A hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from interlock.drift.decisions import Ledger, ScanMark, decode_ledger, encode_ledger
from interlock.drift.finding import Scan, decode_scan, encode_scan
from interlock.errors import BackendUnavailable
from interlock.store import BlobMissing, Mismatch, RecordStore

MAX_ATTEMPTS = 20  # swaps that may be lost to others; people decide one after the other
_PREFIX = "drift/"


class ScanStore(Protocol):
    """Where scans are; each method as `BlobStore` has it."""

    async def put(self, data: bytes, *, like: str | None = None) -> str:
        """See `BlobStore.put`."""
        ...

    async def get(self, digest: str) -> bytes:
        """See `BlobStore.get`."""
        ...

    async def delete(self, digest: str) -> None:
        """See `BlobStore.delete`."""
        ...


class LedgerBook:
    """The ledgers of all states.

    Args:
        records: Where ledgers are.
        blobs: Where scans are.
    """

    def __init__(self, records: RecordStore, blobs: ScanStore) -> None:
        self._records = records
        self._blobs = blobs

    async def read(self, state: str) -> Ledger:
        """Return what is remembered of a state."""
        record = await self._records.get(_PREFIX + state)
        return Ledger() if record is None else decode_ledger(record.value)

    async def change(self, state: str, change: Callable[[Ledger], Ledger]) -> Ledger:
        """Replace a ledger by what `change` makes of it, and return that. `change` may be called several times.

        Raises:
            BackendUnavailable: Others changed it all the time.
        """
        for _ in range(MAX_ATTEMPTS):
            record = await self._records.get(_PREFIX + state)
            before = Ledger() if record is None else decode_ledger(record.value)
            after = change(before)
            if after == before:
                return before
            try:
                expected = None if record is None else record.version
                await self._records.swap(_PREFIX + state, expected=expected, value=encode_ledger(after))
            except Mismatch:
                continue
            return after
        raise BackendUnavailable(f"the decisions about {state} changed all the time", fix="try again")

    async def last_scan(self, state: str) -> Scan | None:
        """Return the last scan of a state; None when there is none."""
        mark = (await self.read(state)).scan
        if mark is None:
            return None
        try:
            return decode_scan(await self._blobs.get(mark.blob))
        except BlobMissing:
            return None

    async def keep(self, scan: Scan, change: Callable[[Ledger], Ledger]) -> None:
        """Make a scan the last one of its state, and change the ledger in the same step."""
        blob = await self._blobs.put(encode_scan(scan))
        mark = ScanMark(blob=blob, run=scan.run, at=scan.at)
        former: list[ScanMark | None] = []

        def with_scan(ledger: Ledger) -> Ledger:
            former[:] = [ledger.scan]
            return replace(change(ledger), scan=mark)

        await self.change(scan.state, with_scan)
        if former and former[0] is not None and former[0].blob != blob:
            await self._blobs.delete(former[0].blob)

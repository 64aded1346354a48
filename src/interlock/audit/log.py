"""The audit log, kept in a record store. A hand.

An entry is one record that must be absent before, so no entry is ever replaced; two that are written at once get
numbers of their own. A second record remembers about where the end is; it is only a hint and may lag behind.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from interlock.audit.entry import MAX_ENTRY_BYTES, Entry, Fact, chain_fault, decode, digest_of, encode
from interlock.clock import Clock
from interlock.errors import BackendUnavailable, UsageError
from interlock.store import Mismatch, Record, RecordStore

MAX_ATTEMPTS = 32  # appends that may be lost to others before we give up; each loss is somebody else's success
MAX_ENTRIES = 1_000_000  # read in one go; a busy year has some thousands
_ENTRIES = "audit/"
_END = "audit-end"
_PAGE = 200


class AuditLog:
    """Appends and reads.

    Args:
        records: Where entries go.
        clock: For the instants of entries.
    """

    def __init__(self, records: RecordStore, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def append(self, action: str, *, subject: str, by: str, facts: Mapping[str, Fact]) -> Entry:
        """Write one entry behind the newest; see `Entry`.

        Raises:
            UsageError: It is too large.
            BackendUnavailable: It could not be written; whether it was is unknown then.
        """
        for _ in range(MAX_ATTEMPTS):
            last = await self._last()
            entry = Entry(
                number=decode(last).number + 1 if last is not None else 1,
                at=self._clock.now(),
                action=action,
                subject=subject,
                by=by,
                facts=dict(facts),
                previous=digest_of(last) if last is not None else "",
            )
            if await self._write(entry):
                return entry
        raise BackendUnavailable("the audit log was not written", why="others wrote at the same time", fix="try again")

    async def entries(self, *, subject: str | None = None) -> tuple[Entry, ...]:
        """Return all entries, oldest first, or those about one subject."""
        found = [decode(stored) async for stored in self._walk()]
        return tuple(entry for entry in found if subject in (None, entry.subject))

    async def verify(self) -> tuple[int, str]:
        """Return how many entries are in order, and what is wrong with the next one; empty when all are in order."""
        older: bytes | None = None
        count = 0
        async for stored in self._walk():
            fault = chain_fault(older, stored)
            if fault:
                return count, fault
            older, count = stored, count + 1
        return count, ""

    async def _write(self, entry: Entry) -> bool:
        stored = encode(entry)
        if len(stored) > MAX_ENTRY_BYTES:
            raise UsageError("an audit entry is too large", why=f"it has {len(stored)} bytes", fix="shorten the reason")
        try:
            await self._records.swap(_key(entry.number), expected=None, value=stored)
        except Mismatch as mismatch:
            # Ours, when the answer to an earlier attempt of the same swap was lost.
            return mismatch.current is not None and mismatch.current.value == stored
        await self._remember(entry.number)
        return True

    async def _last(self) -> bytes | None:
        """Return the newest stored entry, looked for from the hint on."""
        hint = await self._records.get(_END)
        after = _key(max(_number_in(hint) - 1, 0)) if hint is not None else ""
        last: bytes | None = None
        async for stored in self._walk(after):
            last = stored
        return last

    async def _remember(self, number: int) -> None:
        """Move the hint; that somebody else moved it meanwhile is fine."""
        hint = await self._records.get(_END)
        if hint is None or _number_in(hint) < number:
            with suppress(Mismatch):
                expected = hint.version if hint is not None else None
                await self._records.swap(_END, expected=expected, value=str(number).encode())

    async def _walk(self, after: str = "") -> AsyncIterator[bytes]:
        for _ in range(MAX_ENTRIES // _PAGE):
            page = await self._records.list(_ENTRIES, after=after, limit=_PAGE)
            for record in page:
                yield record.value
            if len(page) < _PAGE:
                return
            after = page[-1].key


def _number_in(hint: Record) -> int:
    """Return where the end is about; 0, the beginning, when it does not say: it is only a hint."""
    return int(hint.value) if hint.value.isdigit() else 0


def _key(number: int) -> str:
    return f"{_ENTRIES}{number:012d}"

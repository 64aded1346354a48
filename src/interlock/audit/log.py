"""The audit log, kept in a record store. A hand.

An entry is one record that must be absent before, so no entry is ever replaced; two that are written at once get
numbers of their own. A second record remembers about where the end is; it is only a hint and may lag behind.

Decisions go on when an entry is damaged: the next one is written behind it and says that the chain is broken there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from interlock.audit.entry import MAX_ENTRY_BYTES, Entry, Fact, chain_fault, decode, digest_of, encode
from interlock.clock import Clock
from interlock.errors import BackendUnavailable, StateInvalid, UsageError
from interlock.store import Mismatch, Record, RecordDamaged, RecordStore

MAX_ATTEMPTS = 32  # appends that may be lost to others before we give up; each loss is somebody else's success
MAX_ENTRIES = 1_000_000  # read in one go; a busy year has some thousands
_ENTRIES = "audit/"
_END = "audit-end"
_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """An entry that is there and cannot be read.

    Attributes:
        number: Its number.
        why: One line about it.
    """

    number: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What is stored under a number; `why` it is no entry, and no value when not even bytes came."""

    number: int
    value: bytes | None
    why: str = ""


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
                number=last.number + 1 if last is not None else 1,
                at=self._clock.now(),
                action=action,
                subject=subject,
                by=by,
                facts={**facts, **_break_behind(last)},
                previous=digest_of(last.value) if last is not None and last.value is not None else "",
            )
            if await self._write(entry):
                return entry
        raise BackendUnavailable("the audit log was not written", why="others wrote at the same time", fix="try again")

    async def entries(self, *, subject: str | None = None) -> tuple[Entry, ...]:
        """Return all entries that can be read, oldest first, or those about one subject; see `damaged`."""
        found = [decode(stored.value) async for stored in self._walk() if stored.value is not None and not stored.why]
        return tuple(entry for entry in found if subject in (None, entry.subject))

    async def damaged(self) -> tuple[Damaged, ...]:
        """Return the entries that cannot be read, oldest first."""
        return tuple([Damaged(number=each.number, why=each.why) async for each in self._walk() if each.why])

    async def verify(self) -> tuple[int, str]:
        """Return how many entries are in order, and what is wrong with the next one; empty when all are in order."""
        older: bytes | None = None
        count = 0
        async for stored in self._walk():
            if stored.why or stored.value is None:
                return count, f"entry {stored.number} cannot be read: {stored.why}"
            fault = chain_fault(older, stored.value)
            if fault:
                return count, fault
            older, count = stored.value, count + 1
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

    async def _last(self) -> _Stored | None:
        """Return the newest stored entry, looked for from the hint on."""
        last: _Stored | None = None
        async for stored in self._walk(_key(max(await self._hint() - 1, 0))):
            last = stored
        return last

    async def _hint(self) -> int:
        try:
            hint = await self._records.get(_END)
        except RecordDamaged:  # it only saves looking
            return 0
        return _number_in(hint) if hint is not None else 0

    async def _remember(self, number: int) -> None:
        """Move the hint; that somebody else moved it meanwhile is fine."""
        said = str(number).encode()
        with suppress(Mismatch):
            try:
                hint = await self._records.get(_END)
            except RecordDamaged:
                await self._records.replace_damaged(_END, said)
                return
            if hint is None or _number_in(hint) < number:
                await self._records.swap(_END, expected=hint.version if hint is not None else None, value=said)

    async def _walk(self, after: str = "") -> AsyncIterator[_Stored]:
        for _ in range(MAX_ENTRIES // _PAGE):
            try:
                page = [_stored(each) for each in await self._records.list(_ENTRIES, after=after, limit=_PAGE)]
            except RecordDamaged:
                page = await self._one_by_one(after)
            for stored in page:
                yield stored
            if not page:
                return
            after = _key(page[-1].number)

    async def _one_by_one(self, after: str) -> list[_Stored]:
        """Return what a page holds in which an entry is damaged, up to the end."""
        page: list[_Stored] = []
        end = await self._hint()
        for number in range(_number_of(after) + 1, _number_of(after) + 1 + _PAGE):
            try:
                record = await self._records.get(_key(number))
            except RecordDamaged as error:
                page.append(_Stored(number=number, value=None, why=error.why or error.what))
                continue
            if record is not None:
                page.append(_stored(record))
            elif number > end:
                break
        return page


def _break_behind(last: _Stored | None) -> dict[str, Fact]:
    """Return what an entry says of the one before it when that cannot be read."""
    if last is None or not last.why:
        return {}
    return {"chain_broken": f"entry {last.number} cannot be read: {last.why}"}


def _stored(record: Record) -> _Stored:
    """Return a record as what the log holds: a value that is no entry is a damaged one."""
    number = _number_of(record.key)
    try:
        decode(record.value)
    except StateInvalid as error:
        return _Stored(number=number, value=record.value, why=error.why or error.what)
    return _Stored(number=number, value=record.value)


def _number_of(key: str) -> int:
    digits = key.removeprefix(_ENTRIES)
    return int(digits) if digits.isdigit() else 0


def _number_in(hint: Record) -> int:
    """Return where the end is about; 0, the beginning, when it does not say: it is only a hint."""
    return int(hint.value) if hint.value.isdigit() else 0


def _key(number: int) -> str:
    return f"{_ENTRIES}{number:012d}"

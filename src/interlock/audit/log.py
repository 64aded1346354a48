"""The audit log, kept in a record store. A hand.

An entry is one record that must be absent before, so no entry is ever replaced; two that are written at once get
numbers of their own. A second record remembers the head. It may lag behind by what was written at that moment, and is
what a chain that was cut is noticed by.

Decisions go on when an entry is damaged: the next one is written behind it and says that the chain is broken there.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from interlock.audit.entry import (
    MAX_ENTRY_BYTES,
    Entry,
    Fact,
    Head,
    Noted,
    chain_fault,
    decode,
    digest_of,
    encode,
    find_head,
)
from interlock.audit.export import Filter, export_fault, export_lines
from interlock.audit.signing import AuditKey
from interlock.bounded import decode_json
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
    """What is stored under a number; `why` it is not an entry, and no value when not even bytes came."""

    number: int
    value: bytes | None
    why: str = ""


class AuditLog:
    """Appends and reads.

    Args:
        records: Where entries go.
        clock: For the instants of entries.
        key: Signs them, and is what signatures are checked with; None without one.
        told: Told the head after each entry, for a person to keep.
    """

    def __init__(
        self,
        records: RecordStore,
        clock: Clock,
        *,
        key: AuditKey | None = None,
        told: Callable[[Head], None] | None = None,
    ) -> None:
        self._records = records
        self._clock = clock
        self._key = key
        self._told = told

    @property
    def has_key(self) -> bool:
        """Whether there is a key to sign entries, and to check signatures, with."""
        return self._key is not None

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
            if self._key is not None:
                entry = self._key.sign(entry)
            if await self._write(entry):
                return entry
        raise BackendUnavailable("the audit log was not written", why="others wrote at the same time", fix="try again")

    async def announce(self, action: str, *, subject: str, by: str, facts: Mapping[str, Fact]) -> Entry:
        """Write an entry about an act that is done next; return the one that stands there from an attempt before.

        Such an attempt was ended between its entry and the act: what else is done to the subject has an entry too, so
        the newest one about it would be another. Facts that would be the same the next time say what is replaced.

        Args:
            action: See `append`.
            subject: See `append`.
            by: See `append`.
            facts: See `append`.

        Raises:
            UsageError: See `append`.
            BackendUnavailable: See `append`; the act must not be done.
        """
        newest = await self._newest_about(subject)
        if newest is not None and (newest.action, newest.by) == (action, by):
            said = {name: newest.facts.get(name) for name in facts}
            if said == _as_read(facts):
                return newest
        return await self.append(action, subject=subject, by=by, facts=facts)

    async def _newest_about(self, subject: str) -> Entry | None:
        """Return the newest entry about a subject, if it is one of the newest of all: a second one does no harm."""
        newest: Entry | None = None
        async for stored in self._walk(_key(max(await self._hint() - _PAGE, 0))):
            if stored.value is not None and not stored.why:
                entry = decode(stored.value)
                newest = entry if entry.subject == subject else newest
        return newest

    async def entries(self, *, subject: str | None = None) -> tuple[Entry, ...]:
        """Return all entries that can be read, oldest first, or those about one subject; see `damaged`."""
        found = [decode(stored.value) async for stored in self._walk() if stored.value is not None and not stored.why]
        return tuple(entry for entry in found if subject in (None, entry.subject))

    async def entry(self, number: int) -> Entry | None:
        """Return one entry; None when it is not there, or cannot be read."""
        with suppress(RecordDamaged, StateInvalid):
            record = await self._records.get(_key(number))
            return None if record is None else decode(record.value)
        return None

    async def stored(self) -> tuple[bytes, ...]:
        """Return all entries that can be read as they are stored, oldest first; the chain is made of these bytes."""
        return tuple([each.value async for each in self._walk() if each.value is not None and not each.why])

    async def export(self, wanted: Filter, *, by: str) -> Sequence[bytes]:
        """Return the log as lines of a file, signed where there is a key; see `interlock.audit.export`.

        Args:
            wanted: Which entries.
            by: Who exports.
        """
        return export_lines(
            await self.stored(),
            wanted,
            head=await self.head(),
            at=self._clock.now(),
            by=by,
            seal=self._key.seal if self._key is not None else lambda _: "",
        )

    def export_fault(self, lines: Sequence[bytes]) -> tuple[int, str]:
        """Return how many entries of an exported file are in order, and what is wrong then; our key counts."""
        return export_fault(lines, seal=self._key.seal if self._key is not None else None)

    async def damaged(self) -> tuple[Damaged, ...]:
        """Return the entries that cannot be read, oldest first."""
        return tuple([Damaged(number=each.number, why=each.why) async for each in self._walk() if each.why])

    async def head(self) -> Head | None:
        """Return the newest entry's number and digest, as the log's end has it; None when nothing was decided yet.

        Raises:
            RecordDamaged: The end cannot be read.
        """
        end = await self._records.get(_END)
        found = _noted_end(end) if end is not None else None
        if found is not None or end is None:
            return found
        last = await self._last()  # the end of a log of old has no digest
        return Head(number=last.number, digest=digest_of(last.value)) if last is not None and last.value else None

    async def verify(self, noted: Sequence[Noted] = ()) -> tuple[int, str]:
        """Return how many entries are in order, and what is wrong with the next one; empty when all are in order.

        Args:
            noted: Heads that were noted elsewhere, beside the log's own end: each must be in the chain.
        """
        older: bytes | None = None
        count = 0
        signed = False
        end, end_fault = await self._own_end()
        expected = [*end, *noted]
        async for stored in self._walk():
            fault = _unreadable(stored) or chain_fault(older, stored.value or b"")
            if fault or stored.value is None:
                return count, fault
            entry = decode(stored.value)
            fault = _contradiction(entry, stored.value, expected) or self._signature_fault(entry, stored.value, signed)
            if fault:
                return count, fault
            older, count, signed = stored.value, count + 1, signed or bool(entry.signature)
        # An entry is written before the end: of a log of one entry the end may be missing without anybody's doing.
        return count, _cut(count, expected) or (end_fault if count > 1 else "")

    def _signature_fault(self, entry: Entry, stored: bytes, signed: bool) -> str:
        if self._key is None:
            return ""
        if not entry.signature:
            return f"entry {entry.number} is not signed, and one before it is: it was written without the key" * signed
        return "" if self._key.fits(stored, entry) else f"the signature of entry {entry.number} is not of this key"

    async def _own_end(self) -> tuple[list[Noted], str]:
        """Return what the end has noted, or why nothing."""
        try:
            end = await self._records.get(_END)
        except RecordDamaged as error:
            return [], _endless(f"cannot be read ({error.why or error.what})")
        if end is None:
            return [], _endless("is missing")
        # The end of a log of old says only how far it went.
        found = _noted_end(end) or Head(number=_number_in(end), digest="")
        if not found.number:
            return [], _endless("cannot be read")
        return [Noted(head=found, where="the log's own end")], ""

    async def _write(self, entry: Entry) -> bool:
        stored = encode(entry)
        if len(stored) > MAX_ENTRY_BYTES:
            raise UsageError("an audit entry is too large", why=f"it has {len(stored)} bytes", fix="shorten the reason")
        try:
            await self._records.swap(_key(entry.number), expected=None, value=stored)
        except Mismatch as mismatch:
            # Ours, when the answer to an earlier attempt of the same swap was lost.
            return mismatch.current is not None and mismatch.current.value == stored
        head = Head(number=entry.number, digest=digest_of(stored))
        await self._remember(head)
        if self._told is not None:
            self._told(head)
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

    async def _remember(self, head: Head) -> None:
        """Move the end; that somebody else moved it meanwhile is fine."""
        number = head.number
        said = json.dumps({"number": number, "digest": head.digest}).encode()
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
    """Return a record as what the log holds: a value that is not an entry is a damaged one."""
    number = _number_of(record.key)
    try:
        decode(record.value)
    except StateInvalid as error:
        return _Stored(number=number, value=record.value, why=error.why or error.what)
    return _Stored(number=number, value=record.value)


def _number_of(key: str) -> int:
    digits = key.removeprefix(_ENTRIES)
    return int(digits) if digits.isdigit() else 0


def _unreadable(stored: _Stored) -> str:
    readable = not stored.why and stored.value is not None
    return "" if readable else f"entry {stored.number} cannot be read: {stored.why}"


def _contradiction(entry: Entry, stored: bytes, expected: Sequence[Noted]) -> str:
    """Say who noted another entry under this number; empty when nobody did."""
    digest = digest_of(stored)
    for each in expected:
        if each.head.number == entry.number and not digest.startswith(each.head.digest):
            return f"entry {entry.number} is another one than {each.where} has noted: the log was made anew"
    return ""


def _cut(count: int, expected: Sequence[Noted]) -> str:
    """Say that entries are missing at the end; empty when nobody noted a later one."""
    last = max(expected, key=lambda each: each.head.number, default=None)
    if last is None or last.head.number <= count:
        return ""
    return f"the log ends with entry {count}, and {last.where} has noted entry {last.head.number}: it was cut"


def _endless(how: str) -> str:
    return f"the log's own end {how}: nothing here tells whether entries were cut off"


def _number_in(hint: Record) -> int:
    """Return where the end is about; 0, the beginning, when it does not say."""
    if hint.value.isdigit():  # as earlier Interlocks wrote it
        return int(hint.value)
    found = _noted_end(hint)
    return found.number if found is not None else 0


def _noted_end(end: Record) -> Head | None:
    """Return the head that the end names; None when it was written before ends had digests, or cannot be read."""
    try:
        said = decode_json(end.value, type=dict[str, object])
    except msgspec.MsgspecError:
        return None
    return find_head(f"{said.get('number')}:{said.get('digest')}")


def _as_read(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return facts as a written entry has them: a tuple is a list there."""
    return decode_json(msgspec.json.encode(facts), type=dict[str, Fact])


def _key(number: int) -> str:
    return f"{_ENTRIES}{number:012d}"

"""What a home at a server remembers, as its clients have it: records of books, scans, and the audit log. A hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from interlock.api.books import (
    Blob,
    Swap,
    Swapped,
    ToldAct,
    ToldEntries,
    ToldFilter,
    ToldHead,
    ToldNotes,
    ToldPolicies,
    ToldRecord,
    ToldRecords,
    Verdict,
    WrittenAct,
)
from interlock.api.locks import WAIT_S_MAX
from interlock.audit.entry import Entry, Fact, Head, Noted
from interlock.audit.export import Filter, export_fault
from interlock.audit.log import Damaged
from interlock.clock import Clock
from interlock.home.line import ANSWER_S, BULK_S, Line
from interlock.ids import Ids
from interlock.policy.policy import Policy
from interlock.store import BlobMissing, Mismatch, Record
from interlock.store.before import Before, nothing_before
from interlock.store.records import LIST_LIMIT_MAX

PAGE_MAX: Final = 500


_STEP_S: Final = 2.0
"""By so much an answer may come late, or a machine's seconds differ, before a server's clock counts as set anew."""


class ServersClock:
    """A clock whose instants are those of a server, as it told them in its answers.

    Args:
        own: The machine's clock, for durations, and for instants until the first answer.
    """

    def __init__(self, own: Clock) -> None:
        self._own = own
        self._ahead_s: float | None = None

    def heard(self, now_s: float) -> None:
        """Note what the server's clock said; 0.0 for nothing. Of answers the quickest is the one that is right."""
        if not now_s:
            return
        ahead_s = now_s - self._own.monotonic()
        is_late = self._ahead_s is not None and 0.0 <= self._ahead_s - ahead_s <= _STEP_S
        self._ahead_s = self._ahead_s if is_late else ahead_s

    def now(self) -> datetime:
        """See `Clock.now`."""
        if self._ahead_s is None:
            return self._own.now()
        return datetime.fromtimestamp(self._ahead_s + self._own.monotonic(), UTC)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._own.monotonic()

    async def sleep(self, wait_s: float) -> None:
        """See `Clock.sleep`."""
        await self._own.sleep(wait_s)


class ServerRecords:
    """The records of a server's books; see `RecordStore`. Records of states are not among them.

    Args:
        line: The way to the server.
        clock: The machine's clock.
        on_behalf: The state for which budgets are drawn from; empty for none.

    Attributes:
        shared_clock: See `interlock.gateway.sharing.TellsTime`.
    """

    def __init__(self, line: Line, clock: Clock, *, on_behalf: str = "") -> None:
        self.shared_clock = ServersClock(clock)
        self._line = line
        self._on_behalf = on_behalf or None

    async def get(self, key: str) -> Record | None:
        """See `RecordStore.get`."""
        return self._read(await self._line.ask_for(ToldRecord, "GET", "/books", {"key": key}))

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        """See `RecordStore.swap`."""
        return await self._swapped(Swap(key=key, expected=expected, value=value))

    async def replace_damaged(self, key: str, value: bytes) -> int:
        """See `RecordStore.replace_damaged`."""
        return await self._swapped(Swap(key=key, value=value, is_damaged=True))

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """See `RecordStore.list`."""
        found: list[Record] = []
        while True:
            query = {"prefix": prefix, "after": after, "limit": min(limit - len(found), PAGE_MAX)}
            page: ToldRecords = await self._line.ask_for(ToldRecords, "GET", "/books/all", query)
            found += [told.record for told in page.records]
            if not page.next or len(found) >= limit:
                return found
            after = page.next

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        """See `RecordStore.watch`."""
        wait_s = min(timeout_s, WAIT_S_MAX)
        query = {"key": key, "seen": seen or 0, "wait_s": wait_s}
        return self._read(await self._line.ask_for(ToldRecord, "GET", "/books", query, wait_s=ANSWER_S + wait_s))

    async def watch_prefix(self, prefix: str, *, seen: int, timeout_s: float) -> int:
        """See `RecordStore.watch_prefix`: nobody is told here, so whoever asks looks again."""
        del prefix, timeout_s
        return seen + 1

    async def close(self) -> None:
        """See `RecordStore.close`. The line is closed by who opened it."""

    def _read(self, told: ToldRecord | None) -> Record | None:
        if told is None:
            return None
        self.shared_clock.heard(told.now_s)
        return told.record

    async def _swapped(self, asked: Swap) -> int:
        told: Swapped = await self._line.ask_for(Swapped, "POST", "/books", {"state": self._on_behalf}, sends=asked)
        self.shared_clock.heard(told.now_s)
        if told.version is not None:
            return told.version
        current = None if told.current is None else told.current.record
        if current is not None and asked.value is not None and current.value == asked.value:
            return current.version  # ours: the answer to an earlier attempt was lost
        raise Mismatch(asked.key, expected=asked.expected, current=current)


class ServerScans:
    """Scans for drift at a server: what `LedgerBook` needs of a blob store.

    Args:
        line: The way to the server.
    """

    def __init__(self, line: Line) -> None:
        self._line = line

    async def put(self, data: bytes, *, like: str | None = None) -> str:
        """See `BlobStore.put`."""
        del like
        told: Blob = await self._line.ask_for(Blob, "POST", "/scans", body=data, wait_s=BULK_S)
        return told.digest

    async def get(self, digest: str) -> bytes:
        """See `BlobStore.get`."""
        reply = await self._line.ask("GET", "/scans", {"blob": digest}, wait_s=BULK_S, absent_ok=True)
        if reply.status not in range(200, 300):
            raise BlobMissing(digest)
        return reply.body

    async def delete(self, digest: str) -> None:
        """See `BlobStore.delete`."""
        await self._line.ask("DELETE", "/scans", {"blob": digest}, absent_ok=True)


class ServerPolicies:
    """The policies of a server; see `PolicyKeeper`.

    Args:
        line: The way to the server.
    """

    def __init__(self, line: Line) -> None:
        self._line = line

    @property
    def writes_down(self) -> bool:
        """See `PolicyKeeper.writes_down`."""
        return True

    async def all(self) -> tuple[Policy, ...]:
        """See `PolicyKeeper.all`."""
        told: ToldPolicies = await self._line.ask_for(ToldPolicies, "GET", "/policies")
        return told.policies

    async def replace(
        self, policies: tuple[Policy, ...], *, before: Before[tuple[Policy, ...]] = nothing_before
    ) -> tuple[Policy, ...]:
        """See `PolicyKeeper.replace`."""
        del before
        asked = ToldPolicies(policies=policies)
        told: ToldPolicies = await self._line.ask_for(ToldPolicies, "PUT", "/policies", sends=asked)
        return told.policies


class ServerAudit:
    """The audit log of a server; see `Audit`.

    Args:
        line: The way to the server.
        ids: For what tells one act from another.
        told: Told the head after each entry, for a person to keep.
    """

    def __init__(self, line: Line, ids: Ids, *, told: Callable[[Head], None] | None = None) -> None:
        self._line = line
        self._ids = ids
        self._told = told
        self._signed = False

    @property
    def has_key(self) -> bool:
        """See `Audit.has_key`: whether the server said that it has one."""
        return self._signed

    async def append(self, action: str, *, subject: str, by: str, facts: Mapping[str, Fact]) -> Entry:
        """See `Audit.append`. Told again when the answer is lost, it is written down once."""
        act = ToldAct(once=self._ids.fresh(), action=action, subject=subject, by=by, facts=dict(facts))
        written: WrittenAct = await self._line.ask_for(WrittenAct, "POST", "/audit", sends=act)
        if self._told is not None and written.head is not None:
            self._told(written.head)
        return written.entry

    async def announce(self, action: str, *, subject: str, by: str, facts: Mapping[str, Fact]) -> Entry:
        """See `Audit.announce`. What was told before under another name is told again."""
        return await self.append(action, subject=subject, by=by, facts=facts)

    async def entries(self, *, subject: str | None = None) -> tuple[Entry, ...]:
        """See `Audit.entries`."""
        return tuple((await self._all(subject)).entries)

    async def damaged(self) -> tuple[Damaged, ...]:
        """See `Audit.damaged`."""
        return tuple(Damaged(number=each.number, why=each.why) for each in (await self._all(None)).damaged)

    async def head(self) -> Head | None:
        """See `Audit.head`."""
        told: ToldHead = await self._line.ask_for(ToldHead, "GET", "/audit/head")
        return told.head

    async def export(self, wanted: Filter, *, by: str) -> Sequence[bytes]:
        """See `Audit.export`; the server signs, with its own key, and says by whom."""
        del by
        asked = ToldFilter(
            subjects=sorted(wanted.subjects) if wanted.subjects is not None else None,
            who=wanted.who,
            action=wanted.action,
            since=wanted.since,
            until=wanted.until,
        )
        reply = await self._line.ask("POST", "/audit/export", body=msgspec.json.encode(asked), wait_s=BULK_S)
        return [line for line in reply.body.split(b"\n") if line]

    def export_fault(self, lines: Sequence[bytes]) -> tuple[int, str]:
        """See `Audit.export_fault`; without the server's key."""
        return export_fault(lines, seal=None)

    async def verify(self, noted: Sequence[Noted] = ()) -> tuple[int, str]:
        """See `Audit.verify`; the server verifies, with its own key."""
        asked = ToldNotes(noted=list(noted))
        verdict: Verdict = await self._line.ask_for(Verdict, "POST", "/audit/verify", sends=asked, wait_s=BULK_S)
        return verdict.entries, verdict.fault

    async def _all(self, subject: str | None) -> ToldEntries:
        told: ToldEntries = await self._line.ask_for(ToldEntries, "GET", "/audit", {"subject": subject}, wait_s=BULK_S)
        self._signed = told.signed
        return told

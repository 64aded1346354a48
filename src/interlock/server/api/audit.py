"""Endpoints about the audit log. The server appends; who did it comes from the token."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from interlock.api.books import (
    ToldAct,
    ToldDamage,
    ToldEntries,
    ToldFilter,
    ToldHead,
    ToldNotes,
    Verdict,
    WrittenAct,
)
from interlock.audit.entry import Entry
from interlock.audit.export import Filter
from interlock.audit.log import AuditLog
from interlock.bounded import decode_json
from interlock.errors import UsageError
from interlock.rights import Right
from interlock.rights.callers import Caller, may_do
from interlock.rights.roles import EVERY_STATE
from interlock.server.api.judging import signed
from interlock.server.api.table import AnyEndpoint, Call, NoBody, NoQuery, Sent, acts, reads
from interlock.store import Mismatch, RecordStore

ONCE_MAX: Final = 100
_ONCE: Final = "api-once/"
_OWN: Final = "interlock:"  # before the names of our own states, as `interlock.site.ref.OWN`


class AboutSubject(Struct, frozen=True, kw_only=True):
    """Asks for entries.

    Attributes:
        subject: About what; empty for all.
    """

    subject: str = ""


class _Once(Struct, frozen=True, kw_only=True):
    """Remembers that an act was written down, so that a repetition does not do it again."""

    number: int


class _Audit:
    """Does what clients ask of the log."""

    def __init__(self, log: AuditLog, records: RecordStore) -> None:
        self._log = log
        self._records = records

    async def append(self, call: Call[NoQuery, ToldAct]) -> WrittenAct:
        """Write down a decision, once."""
        act, caller = call.body, call.caller
        caller.check(Right.PLAN, _state_of(act.subject))
        if not 1 <= len(act.once) <= ONCE_MAX:
            raise UsageError("the act was not written down", why=f"`once` has 1 to {ONCE_MAX} characters")
        key = _ONCE + hashlib.sha256(f"{caller.key}\n{act.once}".encode()).hexdigest()[:40]
        entry = await self._written_before(key)
        if entry is None:
            facts = {**act.facts, "told_by_client": True}
            entry = await self._log.append(act.action, subject=act.subject, by=signed(act.by, caller), facts=facts)
            with suppress(Mismatch):  # the same act, told twice at once: there are two entries then, and both are true
                value = msgspec.json.encode(_Once(number=entry.number))
                await self._records.swap(key, expected=None, value=value)
        return WrittenAct(entry=entry, head=await self._log.head())

    async def entries(self, call: Call[AboutSubject, NoBody]) -> ToldEntries:
        """The decisions about states that the token may see, oldest first."""
        subject = call.query.subject or None
        seen = [each for each in await self._log.entries(subject=subject) if _may_see(call.caller, each)]
        broken = [] if subject else await self._log.damaged()
        damaged = [ToldDamage(number=each.number, why=each.why) for each in broken]
        return ToldEntries(entries=seen, damaged=damaged, signed=self._log.has_key)

    async def head(self, _call: Call[NoQuery, NoBody]) -> ToldHead:
        """Number and digest of the newest decision."""
        return ToldHead(head=await self._log.head())

    async def verify(self, call: Call[NoQuery, ToldNotes]) -> Verdict:
        """Whether all entries are there as they were written."""
        count, fault = await self._log.verify(call.body.noted)
        return Verdict(entries=count, fault=fault)

    async def export(self, call: Call[NoQuery, ToldFilter]) -> Sent:
        """The log as JSON lines, closed by its head, which is signed where the server has a key."""
        asked = call.body
        wanted = Filter(
            subjects=frozenset(asked.subjects) if asked.subjects is not None else None,
            who=asked.who,
            action=asked.action,
            since=asked.since,
            until=asked.until,
        )
        lines = await self._log.export(wanted, by=call.caller.who)
        return Sent(body=b"".join(line + b"\n" for line in lines), media_type="application/jsonl")

    async def _written_before(self, key: str) -> Entry | None:
        record = await self._records.get(key)
        if record is None:
            return None
        number = decode_json(record.value, type=_Once).number
        return _find(await self._log.entries(), number)


def _find(entries: Sequence[Entry], number: int) -> Entry | None:
    return next((each for each in entries if each.number == number), None)


def _state_of(subject: str) -> str:
    """Return the state that an entry is about; every state, for what is about none of ours."""
    return subject.removeprefix(_OWN) if subject.startswith(_OWN) else EVERY_STATE


def _may_see(caller: Caller, entry: Entry) -> bool:
    return may_do(caller, Right.READ_STATE, _state_of(entry.subject))


def audit_endpoints(log: AuditLog, records: RecordStore) -> list[AnyEndpoint]:
    """Return the rows."""
    audit = _Audit(log, records)
    return [
        acts("/audit", audit.append, right=None, query=NoQuery, body=ToldAct, answer=WrittenAct),
        reads("/audit", audit.entries, right=None, query=AboutSubject, answer=ToldEntries),
        reads("/audit/head", audit.head, right=None, query=NoQuery, answer=ToldHead),
        acts("/audit/export", audit.export, right=Right.ADMINISTER, query=NoQuery, body=ToldFilter, answer=bytes),
        acts("/audit/verify", audit.verify, right=Right.ADMINISTER, query=NoQuery, body=ToldNotes, answer=Verdict),
    ]

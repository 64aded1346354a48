"""Endpoints about the audit log. The server appends; who did it comes from the token."""

from __future__ import annotations

from typing import Final

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
from interlock.errors import UsageError
from interlock.rights import Right
from interlock.rights.callers import Caller, may_do
from interlock.rights.roles import EVERY_STATE
from interlock.server.api.judging import signed
from interlock.server.api.own_entries import Once, Telling, act_of, told_of
from interlock.server.api.table import AnyEndpoint, Call, NoBody, NoQuery, Sent, acts, reads
from interlock.site.ref import OWN
from interlock.store import RecordStore

ONCE_MAX: Final = 100
_LINES: Final = "application/jsonl"


class AboutSubject(Struct, frozen=True, kw_only=True):
    """Asks for entries.

    Attributes:
        subject: About what; empty for all.
    """

    subject: str = ""


class _Audit:
    """Does what clients ask of the log."""

    def __init__(self, log: AuditLog, records: RecordStore) -> None:
        self._log = log
        self._once = Once(log, records)

    async def append(self, call: Call[NoQuery, ToldAct]) -> WrittenAct:
        """Write down a decision, once."""
        act, caller = call.body, call.caller
        caller.check(Right.PLAN, _state_of(act.subject))
        if not 1 <= len(act.once) <= ONCE_MAX:
            raise UsageError("the act was not written down", why=f"`once` has 1 to {ONCE_MAX} characters")
        facts = {**act.facts, "told_by_client": True}
        told = Telling(action=act.action, subject=act.subject, by=signed(act.by, caller), facts=facts)
        entry = await self._once.told(caller, act.once, told)
        if entry is None:  # the server's own entry of the act, if there is one
            entry = await self._once.find(caller, act_of(act.action, act.subject, act.facts))
        if entry is None:
            known = told_of(act.action, act.subject, act.facts)
            entry = await self._once.write(told, caller, act=known, once=act.once)
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
        return Sent(body=b"".join(line + b"\n" for line in lines), media_type=_LINES)


def _state_of(subject: str) -> str:
    """Return the state that an entry is about; every state, for what is about none of ours."""
    return subject.removeprefix(OWN) if subject.startswith(OWN) else EVERY_STATE


def _may_see(caller: Caller, entry: Entry) -> bool:
    return may_do(caller, Right.READ_STATE, _state_of(entry.subject))


def audit_endpoints(log: AuditLog, records: RecordStore) -> list[AnyEndpoint]:
    """Return the rows."""
    audit = _Audit(log, records)
    return [
        acts("/audit", audit.append, right=None, query=NoQuery, body=ToldAct, answer=WrittenAct),
        reads("/audit", audit.entries, right=None, query=AboutSubject, answer=ToldEntries),
        reads("/audit/head", audit.head, right=None, query=NoQuery, answer=ToldHead),
        acts(
            "/audit/export",
            audit.export,
            right=Right.ADMINISTER,
            query=NoQuery,
            body=ToldFilter,
            answer=bytes,
            media_type=_LINES,
        ),
        acts("/audit/verify", audit.verify, right=Right.ADMINISTER, query=NoQuery, body=ToldNotes, answer=Verdict),
    ]

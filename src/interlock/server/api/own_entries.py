"""What the server itself writes into the audit log about acts that its API does.

Our own commands tell the log what they do; a client of somebody else's need not. So each endpoint by which a person
changes more than a run does writes its entry here. What our commands tell of the same act is then not written again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from interlock.audit.entry import Entry, Fact
from interlock.audit.log import MAX_ATTEMPTS, AuditLog
from interlock.bounded import decode_json
from interlock.rights.callers import Caller
from interlock.server.api.table import Call
from interlock.site.act_entries import BREAK_DECIDED, BREAK_DONE, QUEUE_PAUSED, QUEUE_RESUMED, STATE_REPAIRED
from interlock.state.history import Version
from interlock.store import Mismatch, RecordStore

_ONCE: Final = "api-once/"
_ACTS: Final = f"{_ONCE}act/"  # apart from what clients name themselves: none may make the server think that it wrote
_ANSWERS: Final = f"{_ONCE}answer/"
_OF_GRANTS = frozenset({BREAK_DECIDED, BREAK_DONE})
_OF_VERSIONS = frozenset({"state-restored", "state-pushed", "state-accepted", "state-deleted"})
_ALTERNATE = frozenset({QUEUE_PAUSED, QUEUE_RESUMED})  # two alike, one behind the other, are one act that was repeated
CANCELLED: Final = "run-cancelled"

_A = TypeVar("_A", bound=Struct)


class _Once(Struct, frozen=True, kw_only=True):
    """Remembers the entry of an act, so that a repetition does not write it again.

    Attributes:
        number: Its number; while it is not written, the one that it would have now.
        written: Whether it is known to be there; else a server may have been killed before or behind it.
    """

    number: int
    written: bool = True


class Once:
    """Writes an entry of an act, once.

    Args:
        log: The audit log.
        records: Where it is remembered which act has which entry.
    """

    def __init__(self, log: AuditLog, records: RecordStore) -> None:
        self._log = log
        self._records = records

    async def told(self, caller: Caller, once: str, entry: Telling) -> Entry | None:
        """Return the entry that a caller told under a name of its own; None when it told none."""
        return await self._find(_key(_ONCE, caller, once), entry.is_in)

    async def find(self, caller: Caller, act: str) -> Entry | None:
        """Return the entry of an act (`act_of`, `told_of`) of a caller; None when it was not written down."""
        return await self._find(_key(_ACTS, caller, act), lambda entry: act == _act_in(entry)) if act else None

    async def write(self, entry: Telling, caller: Caller, *, act: str, once: str = "") -> Entry:
        """Write an entry down, and remember it; see `find` and `told`."""
        keys = [_key(_ONCE, caller, once)] if once else []
        keys += [_key(_ACTS, caller, act)] if act else []
        head = await self._log.head() if keys else None
        for key in keys:  # a server that is killed behind the entry leaves what leads to it
            await self._remember(key, _Once(number=head.number + 1 if head is not None else 1, written=False))
        write = self._log.announce if entry.action in _ALTERNATE else self._log.append
        written = await write(entry.action, subject=entry.subject, by=entry.by, facts=entry.facts)
        for key in keys:
            await self._remember(key, _Once(number=written.number))
        return written

    async def _find(self, key: str, is_it: Callable[[Entry], bool]) -> Entry | None:
        record = await self._records.get(key)
        if record is None:
            return None
        once = decode_json(record.value, type=_Once)
        if once.written:
            return await self._log.entry(once.number)
        for number in range(once.number, once.number + MAX_ATTEMPTS):  # others may have written at the same time
            entry = await self._log.entry(number)
            if entry is None or is_it(entry):
                return entry
        return None

    async def _remember(self, key: str, once: _Once) -> None:
        with suppress(Mismatch):  # the same act, told twice at once: there are two entries then, and both are true
            record = await self._records.get(key)
            if record is None or not decode_json(record.value, type=_Once).written:
                version = record.version if record is not None else None
                await self._records.swap(key, expected=version, value=msgspec.json.encode(once))


class Telling(Struct, frozen=True, kw_only=True):
    """What an entry is to say; see `Entry`."""

    action: str
    subject: str
    by: str
    facts: Mapping[str, Fact]

    def is_in(self, entry: Entry) -> bool:
        """Say whether an entry says this."""
        said = {name: entry.facts.get(name) for name in self.facts}
        return (entry.action, entry.subject, entry.by, said) == (self.action, self.subject, self.by, dict(self.facts))


def _act_in(entry: Entry) -> str:
    """Return by what an entry is remembered; a client cannot tell what looks like one of our own."""
    of = told_of if "told_by_client" in entry.facts else act_of
    return of(entry.action, entry.subject, entry.facts)


def _key(kind: str, caller: Caller, what: str) -> str:
    return kind + hashlib.sha256(f"{caller.key}\n{what}".encode()).hexdigest()[:40]


def act_of(action: str, subject: str, facts: Mapping[str, object]) -> str:
    """Return what tells an act from every other, whoever tells of it; empty where nothing does."""
    if action == CANCELLED and facts.get("once"):
        return f"{action}\n{facts.get('run')}\n{facts['once']}"
    if action in _OF_GRANTS and facts.get("lock_id"):
        return f"{action}\n{facts['lock_id']}\n{facts.get('token')}"
    if action in _OF_VERSIONS and facts.get("version"):
        return f"{action}\n{subject}\n{facts['version']}\n{facts.get('sha256')}"
    # The same version may be lost again, and repaired under another grant.
    if action == STATE_REPAIRED and facts.get("token"):
        return f"{action}\n{subject}\n{facts.get('version')}\n{facts['token']}"
    return ""


def told_of(action: str, subject: str, facts: Mapping[str, object]) -> str:
    """Return by what it is remembered that a client itself told why it breaks a lock; empty for other acts."""
    return f"told\n{act_of(action, subject, facts)}" if action == BREAK_DECIDED else ""


class OwnEntries:
    """Writes the server's own entries.

    Args:
        log: The audit log; None writes nothing, as in tests of the endpoints alone.
        records: Where it is remembered what was written; None only without a log.
    """

    def __init__(self, log: AuditLog | None = None, records: RecordStore | None = None) -> None:
        self._log = log
        self._records = records
        self._once = Once(log, records) if log is not None and records is not None else None

    async def write(
        self, action: str, call: Call[Any, Any], facts: Mapping[str, Fact], *, subject: str, by: str
    ) -> None:
        """Write down what a call does, or did, unless that stands there already.

        Args:
            action: What.
            call: Whose, and from where.
            facts: To what, from what to what.
            subject: The state's address.
            by: Who, as `signed` spells it.
        """
        if self._log is None or self._once is None:
            return
        what = act_of(action, subject, facts)
        for known in (what, told_of(action, subject, facts)):
            if await self._once.find(call.caller, known) is not None:
                return
        said = {**facts, "from": call.address}
        await self._once.write(Telling(action=action, subject=subject, by=by, facts=said), call.caller, act=what)

    async def keep(self, caller: Caller, what: str, answer: Struct) -> None:
        """Keep the answer to an act that cannot be done twice, before it is done."""
        if self._records is not None:
            with suppress(Mismatch):  # it is kept
                value = msgspec.json.encode(answer)
                await self._records.swap(_key(_ANSWERS, caller, what), expected=None, value=value)

    async def recall(self, caller: Caller, what: str, kind: type[_A]) -> _A | None:
        """Return the answer that was kept for this caller; None when there is none."""
        record = None if self._records is None else await self._records.get(_key(_ANSWERS, caller, what))
        return None if record is None else decode_json(record.value, type=kind)


NO_ENTRIES: Final = OwnEntries()


def version_facts(made: Version, *, serial_before: int | None) -> dict[str, Fact]:
    """Return what is said of a version that a person made current."""
    return {
        "version": made.number,
        "serial": made.serial,
        "serial_before": serial_before,
        "sha256": made.digest,
        "token": made.token,
    }

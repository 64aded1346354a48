"""What a home remembers beside its states, over HTTP: records of books that decide nothing, and the audit log. Pure."""

from __future__ import annotations

from msgspec import Struct

from interlock.audit.entry import Entry, Head, Noted
from interlock.instants import Instant
from interlock.policy.policy import Policy
from interlock.store.records import Record


class ToldRecord(Struct, frozen=True, kw_only=True):
    """A record of a book.

    Attributes:
        key: Its name.
        version: Its version.
        value: Its bytes, in base64.
        now_s: What the server's clock says, in seconds since 1970: budgets are kept by it. 0 in lists, and where a
            server does not tell it.
    """

    key: str
    version: int
    value: bytes
    now_s: float = 0.0

    @property
    def record(self) -> Record:
        """The same as stores have it."""
        return Record(key=self.key, version=self.version, value=self.value)


class ToldRecords(Struct, frozen=True, kw_only=True):
    """A page of records.

    Attributes:
        records: Those that the token may see.
        next: What to pass as `after` for the next page; empty at the end.
    """

    records: list[ToldRecord]
    next: str = ""


class Swap(Struct, frozen=True, kw_only=True):
    """Replaces a record if its version is the expected one.

    Attributes:
        key: Which.
        expected: The version to replace; None when it must be absent.
        value: Its new bytes, in base64; None deletes it.
        is_damaged: The record cannot be read any more, and is made anew.
    """

    key: str
    expected: int | None = None
    value: bytes | None = None
    is_damaged: bool = False


class Swapped(Struct, frozen=True, kw_only=True):
    """What became of a swap.

    Attributes:
        version: The new version; None when another one was current and nothing was written.
        current: The record as it is then.
        now_s: See `ToldRecord`.
    """

    version: int | None = None
    current: ToldRecord | None = None
    now_s: float = 0.0


class Blob(Struct, frozen=True, kw_only=True):
    """The name of stored bytes."""

    digest: str


class ToldAct(Struct, frozen=True, kw_only=True):
    """A decision to be written down; who made it comes from the token.

    Attributes:
        once: What tells this act from every other: the same one is written down once.
        action: What was done.
        subject: To what.
        by: What the client says of itself.
        facts: What was seen and concluded, without secrets.
    """

    once: str
    action: str
    subject: str
    by: str = ""
    facts: dict[str, str | int | float | bool | list[str] | None] = {}


class WrittenAct(Struct, frozen=True, kw_only=True):
    """An entry, and the head of the log with it."""

    entry: Entry
    head: Head | None


class ToldDamage(Struct, frozen=True, kw_only=True):
    """An entry of the audit log that cannot be read."""

    number: int
    why: str


class ToldEntries(Struct, frozen=True, kw_only=True):
    """Entries of the audit log, oldest first.

    Attributes:
        entries: Those that the token may see.
        damaged: Those that cannot be read.
        signed: Whether the server has a key that signs entries.
    """

    entries: list[Entry]
    damaged: list[ToldDamage] = []
    signed: bool = False


class ToldHead(Struct, frozen=True, kw_only=True):
    """The newest entry's number and digest; None before the first."""

    head: Head | None


class ToldNotes(Struct, frozen=True, kw_only=True):
    """Heads that were noted elsewhere, and must be in the log."""

    noted: list[Noted] = []


class Verdict(Struct, frozen=True, kw_only=True):
    """How many entries are in order, and what is wrong with the next one; empty when all are."""

    entries: int
    fault: str


class ToldPolicies(Struct, frozen=True, kw_only=True):
    """The policies of a server, which hold for all runs."""

    policies: tuple[Policy, ...] = ()


class ToldFault(Struct, frozen=True, kw_only=True):
    """A fault in the store of a server.

    Attributes:
        what: One line about it.
        key: The record that it is about; empty for the store as a whole.
    """

    what: str
    key: str = ""


class ToldFaults(Struct, frozen=True, kw_only=True):
    """Faults in the store of a server."""

    faults: list[ToldFault]


def told_record(record: Record, *, now_s: float = 0.0) -> ToldRecord:
    """Return a record as it is answered, at an instant of the server's clock."""
    return ToldRecord(key=record.key, version=record.version, value=record.value, now_s=now_s)


class ToldFilter(Struct, frozen=True, kw_only=True):
    """Which entries of the audit log are wanted; null for any.

    Attributes:
        subjects: What they are about.
        who: Who decided, or a part of it.
        action: What was done.
        since: From this instant on.
        until: Before this instant.
    """

    subjects: list[str] | None = None
    who: str | None = None
    action: str | None = None
    since: Instant | None = None
    until: Instant | None = None

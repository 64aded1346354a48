"""One entry of the audit log, and the chain that entries make.

Each entry holds the digest of the stored bytes of the entry before it. So an entry that was changed or taken out is
noticed by everybody who walks the chain. The digest of the newest one, the head, stands for all of them; it is noted
elsewhere (the log's end, versions of states, what a person was told), so that a chain cut or made anew is noticed too.

Knows: the values. How they are stored is the business of `log`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from interlock.bounded import decode_json
from interlock.errors import StateInvalid, reason_of

SCHEMA = 1
"""Version of the stored form. A reader refuses a higher one."""

MAX_ENTRY_BYTES = 64 * 1024  # a decision with its evidence has a few kilobytes

Fact = str | int | float | bool | None | list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One decision.

    Attributes:
        number: 1 for the first entry, then without gaps.
        at: When it was written, by the clock of who wrote it.
        action: What was done: `force-unlock`, `lock-broken`, `state-restored`, `state-pushed`, `digest-repaired`.
        subject: What it was done to: a state name or the address of a state in its backend.
        by: Who decided: `user@host`.
        facts: What was seen and concluded, without secrets.
        previous: SHA-256 of the stored entry before this one; empty for the first.
        signature: Made with a key outside the store, see `signing`; empty without one, and in entries of old.
        schema: Version of this form.
    """

    number: int
    at: datetime
    action: str
    subject: str
    by: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    previous: str = ""
    schema: int = SCHEMA
    signature: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest entry at some time: number and digest of its stored form. All entries before it hang on it."""

    number: int
    digest: str

    def __str__(self) -> str:
        """As people note it down, and `parse_head` reads it."""
        return f"{self.number}:{self.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A head that somebody noted outside the chain.

    Attributes:
        head: Its digest may be the beginning of one.
        where: Who noted it, for people.
    """

    head: Head
    where: str


_HEAD = re.compile(r"([1-9]\d{0,11}):([0-9a-f]{12,64})")


def find_head(text: str) -> Head | None:
    """Read `12:3f2a…`, a number and at least twelve digits of the digest; None when it is none."""
    match = _HEAD.fullmatch(text.strip())
    return Head(number=int(match[1]), digest=match[2]) if match else None


def encode(entry: Entry) -> bytes:
    """Return the stored form, which is what the next entry's `previous` is made of."""
    return msgspec.json.encode(entry)


def decode(data: bytes) -> Entry:
    """Read a stored entry.

    Raises:
        StateInvalid: It is none, or was written by a newer Interlock.
    """
    what = "an entry of the audit log cannot be read"
    try:
        entry = decode_json(data, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateInvalid(what, why=reason_of(error), fix="interlock audit verify", finding="bad-audit") from error
    if entry.schema > SCHEMA:
        raise StateInvalid(
            what, why=f"it was written by a newer Interlock (form {entry.schema})", fix="update Interlock"
        )
    return entry


def digest_of(stored: bytes) -> str:
    """Return the digest by which the next entry names this one."""
    return hashlib.sha256(stored).hexdigest()


def chain_fault(older: bytes | None, newer: bytes) -> str:
    """Return why `newer` cannot directly follow `older` (None: it is the first), or an empty text when it can."""
    entry = decode(newer)
    if older is None:
        expected, previous = 1, ""
    else:
        expected, previous = decode(older).number + 1, digest_of(older)
    if entry.number != expected:
        return f"entry {entry.number} stands where entry {expected} is expected: entries were taken out"
    if entry.previous != previous:
        return f"entry {entry.number} does not name the entry before it: one of the two was changed"
    return ""

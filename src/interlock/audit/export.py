"""The audit log as a file: one stored entry a line, and a last line that closes it. Pure.

The lines are the stored bytes, so that whoever has the file can walk the chain without the store. The last line names
the log's head and how many entries there are; with a key it is signed, so that a file cannot be cut and closed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from interlock.amounts import amount
from interlock.audit.entry import Entry, Head, chain_fault, decode, digest_of
from interlock.bounded import decode_json
from interlock.errors import StateInvalid
from interlock.instants import Instant

SCHEMA = 1
LINES_MAX = 1_000_001


class Filter(Struct, frozen=True, kw_only=True):
    """Which entries are wanted; None for any.

    Attributes:
        subjects: State names, addresses or whatever else decisions are about.
        who: Who decided, or a part of it.
        action: What was done.
        since: From this instant on.
        until: Before this instant.
    """

    subjects: frozenset[str] | None = None
    who: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def takes_all(self) -> bool:
        """Whether nothing is left out."""
        return self == Filter()

    def takes(self, entry: Entry) -> bool:
        """Say whether an entry is wanted."""
        return (
            (self.subjects is None or entry.subject in self.subjects)
            and (self.who is None or self.who in entry.by)
            and (self.action is None or self.action == entry.action)
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
        )


class Closing(Struct, frozen=True, kw_only=True, tag="head", tag_field="kind"):
    """The last line.

    Attributes:
        head: The log's newest entry, `NUMBER:DIGEST`; empty for an empty log.
        entries: How many lines are before this one.
        whole: Whether nothing was left out.
        at: When it was exported.
        by: Who did.
        signature: HMAC of the line with this field empty; empty without a key.
        schema: Version of this form.
    """

    head: str
    entries: int
    whole: bool
    at: Instant
    by: str
    signature: str = ""
    schema: int = SCHEMA


def message_of(closing: Closing) -> bytes:
    """Return what the signature of a last line is made of."""
    return msgspec.json.encode(msgspec.structs.replace(closing, signature=""))


def export_lines(
    stored: Iterable[bytes],
    wanted: Filter,
    *,
    head: Head | None,
    at: datetime,
    by: str,
    seal: Callable[[bytes], str],
) -> Sequence[bytes]:
    """Return the lines of a file, without line ends.

    Args:
        stored: All entries that can be read, oldest first, as they are stored.
        wanted: Which of them.
        head: The log's head.
        at: Now.
        by: Who exports.
        seal: Signs; returns an empty text without a key.
    """
    lines = [line for line in stored if wanted.takes(decode(line))]
    closing = Closing(head=str(head or ""), entries=len(lines), whole=wanted.takes_all, at=at, by=by)
    signed = msgspec.structs.replace(closing, signature=seal(message_of(closing)))
    return [*lines, msgspec.json.encode(signed)]


def export_fault(lines: Sequence[bytes], *, seal: Callable[[bytes], str] | None) -> tuple[int, str]:
    """Return how many entries of an exported file are in order, and what is wrong then; empty when nothing is.

    Args:
        lines: The file's, without line ends.
        seal: Signs with the key; None without one, and then signatures are not checked.
    """
    if not lines:
        return 0, "the file is empty"
    closing = _closing(lines[-1])
    if closing is None:
        return 0, "the last line does not close the file: it was cut"
    if seal is not None and seal(message_of(closing)) != closing.signature:
        return 0, "the last line is not signed with this key"
    older: bytes | None = None
    for number, line in enumerate(lines[:-1]):
        if fault := _line_fault(older, line, is_whole=closing.whole):
            return number, fault
        older = line
    return len(lines) - 1, _end_fault(closing, len(lines) - 1, older)


def _line_fault(older: bytes | None, line: bytes, *, is_whole: bool) -> str:
    try:
        entry = decode(line)
        if is_whole:
            return chain_fault(older, line)
        before = decode(older).number if older is not None else 0
    except StateInvalid as error:
        return f"a line cannot be read: {error.why}"
    if entry.number <= before:
        return f"entry {entry.number} stands behind entry {before}"
    return chain_fault(older, line) if older is not None and entry.number == before + 1 else ""


def _end_fault(closing: Closing, count: int, last: bytes | None) -> str:
    if closing.entries != count:
        has = amount(count, "entry", "entries")
        return f"the file has {has}, and its last line says {closing.entries}: lines were taken out or added"
    if not closing.whole or not closing.head:
        return ""
    if last is None or str(Head(number=decode(last).number, digest=digest_of(last))) != closing.head:
        return "the last entry is not the head that the last line names: the file was cut or changed"
    return ""


def _closing(line: bytes) -> Closing | None:
    try:
        found = decode_json(line, type=Closing)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    # Byte for byte, since the signature is of the values: a field that nobody reads could be changed else.
    return found if found.schema <= SCHEMA and msgspec.json.encode(found) == line else None

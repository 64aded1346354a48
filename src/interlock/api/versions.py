"""Versions of states over HTTP, as both ends spell them. Pure.

A write sends one line of JSON, `WriteAsked`, and behind it the state as it is: a state of 100 MB is spelled once.
"""

from __future__ import annotations

from io import SEEK_END, BytesIO
from typing import ClassVar, Final, TypeVar

import msgspec
from msgspec import Struct

from interlock.bounded import decode_json
from interlock.coordinator.archive import Writer
from interlock.errors import UsageError, reason_of
from interlock.secrecy import PartlyShown
from interlock.state.history import Quarantined, Version, VersionKind

ASKED_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of the line before a state: it may name each object that the run's plan deletes."""
PAGE_MAX: Final = 200
HEAD_HEADER: Final = "x-interlock-head"
VERSION_HEADER: Final = "x-interlock-version"
_SENT_BY_CLIENTS: Final = frozenset({VersionKind.WRITE, VersionKind.PUSH, VersionKind.IMPORT, VersionKind.MERGE})


class Grant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Under which grant something is written. `who` and `run` are for people; what counts is the token.

    Attributes:
        who: What the client says of itself.
        run: The run, or empty.
        ticket: Ticket of the grant; one of the three that name a grant must be given.
        token: Fencing token of the grant.
        lock_id: Terraform's lock id of the grant.
        allowed_deletions: See `Writer.allowed_deletions`.
        keeps_suspect: See `Writer.keeps_suspect`.
    """

    who: str = ""
    run: str = ""
    ticket: str | None = None
    token: int | None = None
    lock_id: str | None = None
    allowed_deletions: frozenset[str] | None = None
    keeps_suspect: bool = False

    @classmethod
    def of(cls, writer: Writer) -> Grant:
        """Return what is sent of a writer."""
        return cls(**{name: getattr(writer, name) for name in cls.__struct_fields__})

    def writer(self, who: str) -> Writer:
        """Return the writer, as whom the server writes down."""
        return Writer(**{**{name: getattr(self, name) for name in self.__struct_fields__}, "who": who})


class WriteAsked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sent before a state.

    Attributes:
        grant: Under which grant.
        kind: `write`, `push`, `import` or `merge`.
        note: Why, for people.
        force: Accept another lineage, and a serial that is not higher.
    """

    grant: Grant
    kind: VersionKind = VersionKind.WRITE
    note: str = ""
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse a kind that only the server makes."""
        if self.kind not in _SENT_BY_CLIENTS:
            raise UsageError(f"no client writes a version of the kind {self.kind.value!r}")


class QuarantineAsked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sent before bytes that a run's own door refused.

    Attributes:
        grant: Under which grant they came, if any.
        what: What was refused.
        why: Why.
        finding: Stable code of the reason.
        addresses: Instances that it is about.
        is_fenced: The writer's grant is not current.
    """

    grant: Grant
    what: str
    why: str = ""
    finding: str = ""
    addresses: list[str] = []
    is_fenced: bool = False


class ByGrant(Struct, frozen=True, kw_only=True):
    """Acts under a grant.

    Attributes:
        grant: Which.
        number: Number of the version that it is about; 0 for none.
        note: Why, for people.
    """

    grant: Grant
    number: int = 0
    note: str = ""


class Versions(Struct, frozen=True, kw_only=True):
    """Versions of a state."""

    versions: tuple[Version, ...]


class Kept(Struct, frozen=True, kw_only=True):
    """Bytes that are kept for review.

    Attributes:
        entry: What is known of them.
        dropped: How many older ones were removed to make room.
    """

    entry: Quarantined
    dropped: int = 0


class Refused(Struct, frozen=True, kw_only=True):
    """Refused writes of a state.

    Attributes:
        entries: Newest first.
        dropped: How many older ones were removed to make room.
    """

    entries: tuple[Quarantined, ...]
    dropped: int = 0


class Count(Struct, frozen=True, kw_only=True):
    """A number."""

    count: int


_A = TypeVar("_A", WriteAsked, QuarantineAsked)


class Framed(PartlyShown, frozen=True, kw_only=True):
    """What is sent with a state: the line before it, and the state."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"state"})

    line: bytes
    state: bytes


def line_of(asked: WriteAsked | QuarantineAsked) -> bytes:
    """Return the line that is sent before a state."""
    return msgspec.json.encode(asked) + b"\n"


def take_apart(sent: BytesIO) -> Framed:
    """Return the line and the state that were sent; `sent` is used up.

    The state is moved to the beginning of the buffer, which is then given away: a copy of it would take as much memory.

    Raises:
        UsageError: They are not there.
    """
    size = sent.seek(0, SEEK_END)
    sent.seek(0)
    line = sent.readline(ASKED_BYTES_MAX)
    if not line.endswith(b"\n"):
        raise UsageError("no state was sent", why="one line of JSON comes first, and behind it the state")
    rest = size - len(line)
    with sent.getbuffer() as whole:
        whole[:rest] = whole[len(line) :]
    sent.truncate(rest)
    return Framed(line=line, state=sent.getvalue())


def asked_in(line: bytes, kind: type[_A]) -> _A:
    """Return what the line before a state says.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return decode_json(line, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError("no state was sent", why=f"the line before it: {reason_of(error)}") from error

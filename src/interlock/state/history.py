"""The chain of versions of one state: who wrote what, when, and what may be pruned; and the writes that were refused.

Every accepted write is a version, and its description names the description before it, so the chain can be walked
from the head and no link can be changed unnoticed. Descriptions are small and stay; only the bytes are pruned.

Knows: the values. How they are stored is the business of `coordinator.archive`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import TypeVar

import msgspec
from msgspec import Struct

from interlock.amounts import amount
from interlock.bounded import decode_json
from interlock.errors import StateInvalid, reason_of
from interlock.instants import Instant

SCHEMA = 2
"""Version of the stored form. A reader refuses a higher one. Form 2 has `salt`."""

MAX_DESCRIPTION_BYTES = 64 * 1024  # a description is a few hundred bytes; more is not one of ours


MAX_SUSPECT = 100
"""Objects named in the description of a suspect version; more of them would only make it longer."""

REVIEWER = "interlock (suspect state)"
"""Who paused a state whose newest version is suspect; a pause by anybody else is a person's and stays."""


class VersionKind(Enum):
    """How a version came to be."""

    WRITE = "write"
    """Terraform wrote it during a run."""
    PUSH = "push"
    """A person or `errored.tfstate` recovery pushed it."""
    IMPORT = "import"
    """Taken over from elsewhere, with lineage and serial as they were."""
    RESTORE = "restore"
    """An older version, made current again."""
    MERGE = "merge"
    """The result of a three-way merge."""
    ACCEPT = "accept"
    """A person looked at a suspect version and let it stand; the same state as before."""
    DELETE = "delete"
    """A tombstone: the state is absent from here on; its history stays."""


class Version(Struct, frozen=True, kw_only=True):
    """One stored, immutable state snapshot.

    Attributes:
        number: 1 for the first version of a state, then without gaps.
        kind: How it came to be.
        digest: SHA-256 of the state's bytes; empty for a tombstone.
        blob: Name of the stored bytes in the blob store. Not the same as `digest`: what is stored also says whose
            state it is, so that pruning one state can never take the bytes of another away.
        serial: Terraform's serial.
        lineage: Terraform's lineage.
        who: Whose credentials wrote it.
        run: The run, or empty.
        token: Fencing token of the grant under which it was written; 0 when there was none.
        written_at: When it was accepted, by the store's clock.
        size_bytes: Size of the state.
        resources: Number of managed objects; 0 for an encrypted state.
        parent: Digest of the description before this one; empty for the first.
        note: Why, in a person's words: which version was restored, what was imported.
        suspect: Objects that a running apply dropped although neither its plan nor its refresh took them out, at most
            `MAX_SUSPECT`; empty for a version like any other. Records of earlier Interlocks have no such field.
        salt: Stored before the bytes, so that no other attempt's blob has the same name: the blob of an attempt that
            failed can then be deleted without asking who else may need it. Empty in versions of earlier Interlocks.
        audit: Head of the audit log when it was written, `12:3f2a…`, so that a log that is cut afterwards is noticed;
            empty when nothing had been decided, and in versions of earlier Interlocks.
        encrypted: OpenTofu encrypted it, so what is in it is not known. Records of earlier Interlocks have no such
            field: they took no encrypted state.
        schema: Version of this form.
    """

    number: int
    kind: VersionKind = VersionKind.WRITE
    digest: str
    blob: str = ""
    serial: int
    lineage: str
    who: str
    run: str = ""
    token: int = 0
    written_at: Instant
    size_bytes: int
    resources: int = 0
    parent: str = ""
    note: str = ""
    suspect: tuple[str, ...] = ()
    salt: str = ""
    audit: str = ""
    encrypted: bool = False
    schema: int = SCHEMA

    @property
    def is_tombstone(self) -> bool:
        """Whether the state is absent in this version."""
        return self.kind is VersionKind.DELETE


class Quarantined(Struct, frozen=True, kw_only=True):
    """A refused write. Its bytes are kept: they may be the only record of real objects.

    Attributes:
        id: Fresh id, sorts by nothing.
        state: State name.
        reason: Stable code: `fenced`, `no-lock`, or the code of a finding or refusal.
        why: One sentence.
        who: Whose credentials sent it.
        run: The run, or empty.
        token: Fencing token under which it was sent; 0 when unknown.
        digest: SHA-256 of the bytes.
        blob: Name of the stored bytes in the blob store.
        size_bytes: Their size.
        serial: Serial of the document, or None when it could not be read.
        lineage: Lineage of the document, or None.
        at: When it was refused.
        addresses: Instances the refusal is about, at most 100.
        schema: Version of this form.
    """

    id: str
    state: str
    reason: str
    why: str
    who: str
    run: str = ""
    token: int = 0
    digest: str
    blob: str = ""
    size_bytes: int
    serial: int | None = None
    lineage: str | None = None
    at: Instant
    addresses: tuple[str, ...] = ()
    schema: int = SCHEMA


class Retention(Struct, frozen=True, kw_only=True):
    """Which versions keep their bytes. A version is kept when any rule keeps it.

    Attributes:
        newest: So many newest versions, always; at least 1.
        all_for_s: Every version younger than this.
        daily_for_s: The last version of each UTC day, for this long.
        weekly_for_s: The last version of each ISO week, for this long.
    """

    newest: int = 50
    all_for_s: float = 14 * 86_400
    daily_for_s: float = 90 * 86_400
    weekly_for_s: float = 2 * 365 * 86_400


_T = TypeVar("_T", Version, Quarantined)


def encode(value: Version | Quarantined) -> bytes:
    """Return the stored form."""
    return msgspec.json.encode(value)


def decode_version(data: bytes) -> Version:
    """Read a stored description.

    Raises:
        StateInvalid: The bytes are not a description, or of a newer Interlock.
    """
    return _decode(data, Version)


def decode_quarantined(data: bytes) -> Quarantined:
    """Read a stored quarantine entry.

    Raises:
        StateInvalid: The bytes are not an entry, or of a newer Interlock.
    """
    return _decode(data, Quarantined)


def check_link(newer: Version, older: Version) -> str:
    """Return why `older` cannot be the version directly before `newer`, or an empty text when it can."""
    if older.number != newer.number - 1:
        return f"version {newer.number} follows version {older.number}"
    if older.token > newer.token > 0:
        return f"token {newer.token} follows token {older.token}"
    if newer.kind is VersionKind.WRITE and not older.is_tombstone:
        if newer.lineage != older.lineage:
            return "the lineage changed in an ordinary write"
        if newer.serial <= older.serial:
            return f"serial {newer.serial} follows serial {older.serial}"
    return ""


def current_at(versions: Iterable[Version], instant: datetime) -> Version | None:
    """Return the version that was current at `instant`, tombstones included; None when there was none yet."""
    earlier = [version for version in versions if version.written_at <= instant]
    return max(earlier, key=lambda version: version.number, default=None)


def highest_serial(versions: Iterable[Version], lineage: str) -> int:
    """Return the highest serial ever stored for a lineage; 0 when there is none."""
    return max((version.serial for version in versions if version.lineage == lineage), default=0)


def plan_pruning(versions: Sequence[Version], policy: Retention, *, now: datetime) -> tuple[Version, ...]:
    """Choose the versions whose bytes may go, oldest first. The newest version is never among them.

    Args:
        versions: The whole history, in any order.
        policy: What to keep.
        now: Instant that ages are counted from.
    """
    ordered = sorted(versions, key=lambda version: version.number)
    kept = {version.number for version in ordered[-max(policy.newest, 1) :]}
    kept |= {version.number for version in ordered if _age_s(version, now) <= policy.all_for_s}
    kept |= _last_of_each(ordered, "%Y-%m-%d", policy.daily_for_s, now)
    kept |= _last_of_each(ordered, "%G-%V", policy.weekly_for_s, now)
    # One digest may serve two versions (a restore, a revert): bytes go only when no kept version needs them.
    needed = {version.digest for version in ordered if version.number in kept}
    return tuple(version for version in ordered if version.digest and version.digest not in needed)


def _last_of_each(ordered: Sequence[Version], period: str, horizon_s: float, now: datetime) -> set[int]:
    """Return the numbers of the last version of every period within the horizon."""
    young = [version for version in ordered if _age_s(version, now) <= horizon_s]
    return set({version.written_at.strftime(period): version.number for version in young}.values())


def _age_s(version: Version, now: datetime) -> float:
    return (now - version.written_at).total_seconds()


def _decode(data: bytes, kind: type[_T]) -> _T:
    what = "a stored description of a state version cannot be read"
    if len(data) > MAX_DESCRIPTION_BYTES:
        raise StateInvalid(what, why=f"it has {amount(len(data), 'byte')}", finding="bad-history")
    try:
        value = decode_json(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateInvalid(what, why=reason_of(error), finding="bad-history") from error
    if value.schema > SCHEMA:
        raise StateInvalid(
            what, why=f"it was written by a newer Interlock (form {value.schema})", fix="update Interlock"
        )
    return value

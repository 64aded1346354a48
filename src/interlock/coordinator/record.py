"""The one stored record of a state: its lock, and which version is current.

Both live in one record so that one compare-and-swap can check the grant and move the pointer: a write by somebody who
no longer holds is refused in the very step that would have stored it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from interlock.errors import BackendUnavailable, reason_of
from interlock.instants import Instant
from interlock.lock import NEW_LOCK, Lock, LockBroken, from_data, to_json_data

SCHEMA = 1
"""Version of the record around the lock; the lock has one of its own."""

HEAD_S = 30 * 86_400.0
"""How long a record that knows a stored version is kept at least: as long as the records of runs."""

_encoder = msgspec.json.Encoder()


class Head(Struct, frozen=True, kw_only=True):
    """Which version of a state is current.

    Attributes:
        number: 1 for the first version that was ever stored, then rising.
        digest: SHA-256 of the state's bytes, hex; the name of its blob.
        serial: Terraform's serial.
        lineage: Terraform's lineage.
        size_bytes: Size of the state's bytes.
        written_at: When it became current.
        token: Fencing token of the grant it was written under.
        run: The run that wrote it; empty for a plain Terraform client.
        meta_digest: Digest of the blob with the rest of what is known about the version, and its predecessor.
    """

    number: int
    digest: str
    serial: int
    lineage: str
    size_bytes: int
    written_at: Instant
    token: int
    run: str = ""
    meta_digest: str = ""


class StateRecord(Struct, frozen=True, kw_only=True):
    """What is stored of a state beside its versions.

    Attributes:
        lock: Who may act, who waits.
        head: The current version; None before the first.
    """

    lock: Lock = NEW_LOCK
    head: Head | None = None


_HEAD_FIELDS = frozenset(Head.__struct_fields__)

NEW_STATE = StateRecord()
"""A state that nobody ever asked for."""


def encode(record: StateRecord) -> bytes:
    """Return the record as JSON."""
    return _encoder.encode({"schema": SCHEMA, "lock": to_json_data(record.lock), "head": record.head})


def decode(value: bytes) -> StateRecord:
    """Read what `encode` wrote, by this release or an earlier one. Unknown fields are left out.

    Raises:
        BackendUnavailable: It is of a newer schema, cannot be read, or breaks a promise.
    """
    try:
        data = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(reason_of(error)) from error
    if not isinstance(data, Mapping):
        raise _unreadable("it is not an object")
    schema = data.get("schema")
    if type(schema) is not int or schema < 1:
        raise _unreadable("it names no schema version")
    if schema > SCHEMA:
        raise BackendUnavailable(
            "the state record was written by a newer Interlock",
            why=f"its schema is {schema}, this release knows up to {SCHEMA}",
            fix="upgrade Interlock on this machine, then try again",
        )
    if "head" not in data:  # a missing name is damage; a state without versions says so itself
        raise _unreadable("it does not say which version is current")
    try:
        lock = from_data(data.get("lock"))
    except LockBroken as error:  # our own writes were checked: what breaks a promise here was changed since
        raise _unreadable(error.why) from error
    return StateRecord(lock=lock, head=_head(data["head"]))


def keep_s(value: bytes, at_least_s: float) -> float | None:
    """Return how long a record must be kept after this write; None for ever.

    A paused state stays paused until somebody resumes it. Otherwise the time is longer than every lease and patience in
    the record, so nothing of it can be forgotten while it may still matter. What was stored last is remembered for a
    month: should it be deleted where it is, this may be all that knows of it.
    """
    record = decode(value)
    lock = record.lock
    at_least_s = at_least_s if record.head is None else max(at_least_s, HEAD_S)
    if lock.pause is not None:
        return None
    leases = [holder.lease.lease_s for holder in lock.holders]
    patiences = [waiter.patience_s for waiter in lock.waiters]
    return at_least_s + max([0.0, *leases, *patiences])


def _head(data: Any) -> Head | None:
    if data is None:
        return None
    missing = _HEAD_FIELDS - set(data) if isinstance(data, Mapping) else _HEAD_FIELDS
    if missing:
        raise _unreadable(f"its head lacks {', '.join(sorted(missing))}")
    try:
        return msgspec.convert(data, Head)
    except msgspec.ValidationError as error:
        raise _unreadable(reason_of(error)) from error


def _unreadable(why: str) -> BackendUnavailable:
    return BackendUnavailable(
        "the state record cannot be read", why=f"{why}; it was left as it is", fix="interlock doctor"
    )

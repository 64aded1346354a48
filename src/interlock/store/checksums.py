"""The checksum of a stored record, over its key, its version and its value.

Kept beside the value by every store that writes to a disk or a network. A value alone could not tell that it stands
under another key, or that a version was changed: the compare-and-swap of a lock rests on both. A record that was
written before checksums existed has none; it is believed once, and gets one with its next write.
"""

from __future__ import annotations

import hashlib
from typing import ClassVar

from interlock.errors import BackendUnavailable

SUM_BYTES = 16
"""Half of a SHA-256: no damage by chance passes, and a record of a few hundred bytes stays small."""


class RecordDamaged(BackendUnavailable):
    """What is stored under a key is not what was written there. It is never taken for an absent record."""

    code: ClassVar[str] = "record-damaged"

    def __init__(self, key: str, *, why: str = "its bytes do not match their checksum") -> None:
        super().__init__(f"record {key!r} is damaged", why=why, fix="interlock doctor", key=key)
        self.key = key


def record_sum(key: str, version: int, value: bytes | None) -> bytes:
    """Return the checksum, `SUM_BYTES` long; `value` None stands for a record that was deleted."""
    kind = b"-" if value is None else b"+"
    named = key.encode()
    head = b"interlock record %d %d %s\n" % (version, len(named), kind)
    return hashlib.sha256(head + named + (value or b"")).digest()[:SUM_BYTES]


def check_record(key: object, version: object, value: object, sum_: object) -> tuple[int, bytes]:
    """Return version and value as they were written.

    Args:
        key: The key that was asked for, or that came with a list.
        version: As it was stored.
        value: As it was stored.
        sum_: The stored checksum; None for a record from before there were any.

    Raises:
        RecordDamaged: They are not what was written, or not of the right kind.
    """
    if not isinstance(key, str):
        raise RecordDamaged(repr(key)[:100], why="its key is not text")
    if not isinstance(version, int) or version <= 0:
        raise RecordDamaged(key, why="its version is not a positive number")
    if not isinstance(value, bytes):
        raise RecordDamaged(key, why=f"its value is not bytes but {type(value).__name__}")
    if sum_ is not None and sum_ != record_sum(key, version, value):
        raise RecordDamaged(key)
    return version, value

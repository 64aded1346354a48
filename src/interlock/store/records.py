"""Named bytes with a version, changed only by compare-and-swap.

Knows nothing of what the bytes mean. Every store keeps the same rules, checked by one suite,
`interlock.testing.store_contract`:

- A swap names the version that it replaces; it happens wholly or not at all, and once it returned it is never lost.
- Versions of one key never repeat, not even after the key was deleted and made again.
- A reply may get lost: a caller whose swap failed for an unknown reason reads again. When a repeated swap answers
  `Mismatch` and `current.value` is what the caller wanted to write, the first attempt had succeeded.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from msgspec import Struct

from interlock.errors import BackendUnavailable, InterlockError, UsageError

KEY_BYTES_MAX = 512
"""Longest key in UTF-8; an S3 object name has 1024 bytes, which also hold a prefix."""

VALUE_BYTES_MAX = 350 * 1024
"""Largest value; a DynamoDB item has 400 KB, which also hold the key and the attributes beside it."""

LIST_LIMIT_MAX = 1000
"""Most records that one `list` returns; ask again with `after`."""

_FIRST_PRINTABLE = " "
_DELETE = "\x7f"


class Record(Struct, frozen=True, kw_only=True):
    """One stored value.

    Attributes:
        key: Its name, 1 to `KEY_BYTES_MAX` bytes of UTF-8 without control characters.
        version: Positive; differs from every other version that this key ever had.
        value: At most `VALUE_BYTES_MAX` bytes.
    """

    key: str
    version: int
    value: bytes


class Mismatch(InterlockError):
    """A swap named another version than the current one; nothing was written.

    Attributes:
        key: The key of the refused swap.
        current: The record as it is, None when the key is absent.
    """

    code: ClassVar[str] = "mismatch"
    http_status: ClassVar[int] = 409

    def __init__(self, key: str, *, expected: int | None, current: Record | None) -> None:
        found = None if current is None else current.version
        super().__init__(
            f"record {key!r} was not written",
            why=f"version {expected} was expected, {found} is current",
            fix="read the record again and decide anew",
            key=key,
            expected=expected,
            current=found,
        )
        self.key = key
        self.current = current


class StoreGone(BackendUnavailable):
    """What this process opened is no longer what others find there; that does not pass, so it is not tried again."""

    code: ClassVar[str] = "store-gone"


class RecordStore(Protocol):
    """Keeps records. All methods may raise `BackendUnavailable`; then nothing is known about a swap's outcome."""

    async def get(self, key: str) -> Record | None:
        """Return the newest record of `key`, or None when it is absent."""
        ...

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        """Replace the value of `key` if its version is `expected`.

        Args:
            key: See `Record.key`.
            expected: The version to replace; None when the key must be absent.
            value: The new value; None deletes the key.

        Returns:
            The new version, 0 after a deletion (deleting an absent key with `expected=None` also gives 0).

        Raises:
            Mismatch: The current version is another one; it is in the error.
            UsageError: The key or the value is beyond its limit.
        """
        ...

    async def replace_damaged(self, key: str, value: bytes) -> int:
        """Write a record anew that cannot be read any more, and no other; return its version, as `swap`.

        What was in it is lost. So only for a record that can be made anew from other sources, or is worth nothing.

        Raises:
            Mismatch: It can be read, or is absent.
        """
        ...

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """Return the records whose key starts with `prefix` and sorts after `after`, in order of their keys.

        Order is that of code points (so of UTF-8). At most `limit` records come back; 1 to `LIST_LIMIT_MAX`.
        """
        ...

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        """Wait until the version of `key` differs from `seen` (None: absent), at most `timeout_s` seconds.

        Returns the current record either way, so a caller compares versions and never trusts the wake-up itself.
        """
        ...

    async def watch_prefix(self, prefix: str, *, seen: int, timeout_s: float) -> int:
        """Wait until something under `prefix` may have changed since `seen`; return the number to pass next time.

        Start with `seen=-1`, which returns at once. The same number means that nothing changed; another
        number means that something may have, so the caller lists again.
        """
        ...

    async def close(self) -> None:
        """Let go of everything; calls after this raise `UsageError`. Closing twice is fine."""
        ...


def check_key(key: str) -> None:
    """Refuse a key that some store could not keep.

    Raises:
        UsageError: The key is empty, too long, not UTF-8 or has a control character.
    """
    reason = _key_fault(key)
    if reason:
        raise UsageError(
            "a record key is not usable",
            why=f"{key[:100]!a} {reason}",
            fix=f"use 1 to {KEY_BYTES_MAX} bytes of printable UTF-8",
        )


def check_value(key: str, value: bytes | None) -> None:
    """Refuse a value that some store could not keep.

    Raises:
        UsageError: It is larger than `VALUE_BYTES_MAX`.
    """
    if value is not None and len(value) > VALUE_BYTES_MAX:
        raise UsageError(
            f"record {key!r} was not written",
            why=f"its value has {len(value)} bytes, the limit is {VALUE_BYTES_MAX}",
            fix="store the bulk as a blob and keep its digest in the record",
            bytes=len(value),
        )


def check_prefix(prefix: str) -> None:
    """Refuse a prefix that no key can have; empty is fine and means all keys.

    Raises:
        UsageError: See `check_key`.
    """
    if prefix:
        check_key(prefix)


def check_limit(limit: int) -> None:
    """Refuse a page size outside 1 to `LIST_LIMIT_MAX`.

    Raises:
        UsageError: It is outside.
    """
    if not 1 <= limit <= LIST_LIMIT_MAX:
        raise UsageError(
            "a list of records was not read",
            why=f"{limit} records were asked for at once",
            fix=f"ask for 1 to {LIST_LIMIT_MAX} and page on with `after`",
        )


def _key_fault(key: str) -> str:
    if not key:
        return "is empty"
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if length > KEY_BYTES_MAX:
        return f"has {length} bytes"
    # Control characters are not printable, and of keys that are, which is nearly all, none needs a closer look.
    if not key.isprintable() and any(each < _FIRST_PRINTABLE or each == _DELETE for each in key):
        return "has a control character"
    return ""

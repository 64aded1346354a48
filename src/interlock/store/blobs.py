"""Immutable bytes, found by their SHA-256.

Knows nothing of what the bytes mean. The digest is that of the plain bytes, however a store packs them, so a
blob that comes back is proven to be the one that was put in.
"""

from __future__ import annotations

import hashlib
from typing import ClassVar, Protocol

from msgspec import Struct

from interlock.errors import BackendUnavailable, InterlockError, UsageError
from interlock.late_pattern import late

BLOB_BYTES_MAX = 512 * 1024 * 1024
"""Largest blob: five times the largest states in the field; bounds memory for one request."""

_DIGEST = late(r"[0-9a-f]{64}\Z")


class BlobMissing(InterlockError):
    """No blob has this digest."""

    code: ClassVar[str] = "blob-missing"
    http_status: ClassVar[int] = 404

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"blob {digest} is not stored here",
            why="it was never put, or it was deleted",
            fix="interlock doctor",
            digest=digest,
        )
        self.digest = digest


class BlobDamaged(BackendUnavailable):
    """The stored bytes are no longer those that were put in."""

    code: ClassVar[str] = "blob-damaged"

    def __init__(self, digest: str, *, why: str = "its bytes do not match its digest") -> None:
        super().__init__(
            f"blob {digest} is damaged",
            why=why,
            fix="interlock doctor",
            digest=digest,
        )
        self.digest = digest


class BlobHead(Struct, frozen=True, kw_only=True):
    """A stored blob, as far as it is known without reading it.

    Attributes:
        digest: Its digest.
        sealed_by: The id of the data key that encrypts it; None in clear.
    """

    digest: str
    sealed_by: bytes | None


class BlobStore(Protocol):
    """Keeps blobs. All methods may raise `BackendUnavailable`."""

    async def put(self, data: bytes, *, like: str | None = None) -> str:
        """Store `data` and return its digest, 64 lower-case hexadecimal digits. Putting again changes nothing.

        Returning means that `get` gives these bytes: what is already stored under the digest is read, and written
        anew when it is damaged.

        Args:
            data: At most `BLOB_BYTES_MAX` bytes.
            like: The digest of a blob that `data` resembles, such as the previous version of a state. It saves
                space where the store can make use of it, and is ignored when that blob is not there.

        Raises:
            UsageError: The blob is beyond its limit, or `like` is not a digest.
        """
        ...

    async def get(self, digest: str) -> bytes:
        """Return the bytes whose digest this is.

        Raises:
            BlobMissing: No such blob.
            BlobDamaged: The stored bytes no longer match their digest.
        """
        ...

    async def has(self, digest: str) -> bool:
        """Say whether the blob is stored, without reading it."""
        ...

    async def delete(self, digest: str) -> None:
        """Remove the blob; an absent one is fine. Other blobs stay readable, also those put with `like` this one."""
        ...

    async def size(self, digest: str) -> int:
        """Return the length of the plain blob in bytes.

        Raises:
            BlobMissing: No such blob.
        """
        ...

    async def close(self) -> None:
        """Let go of everything; calls after this raise `UsageError`. Closing twice is fine."""
        ...


def blob_digest(data: bytes) -> str:
    """Return the digest under which `data` is stored."""
    return hashlib.sha256(data).hexdigest()


def check_digest(digest: str) -> None:
    """Refuse what cannot be a digest.

    Raises:
        UsageError: Not 64 lower-case hexadecimal digits.
    """
    if not _DIGEST.match(digest):
        raise UsageError(
            "a blob digest is not usable",
            why=f"{digest[:100]!a} is not a SHA-256 in lower-case hexadecimal digits",
            fix="use the digest that `put` returned",
        )


def check_blob(data: bytes, *, like: str | None) -> None:
    """Refuse a blob that is beyond its limit or is said to be like nothing.

    Raises:
        UsageError: See `BlobStore.put`.
    """
    if like is not None:
        check_digest(like)
    if len(data) > BLOB_BYTES_MAX:
        raise UsageError(
            "a blob was not stored",
            why=f"it has {len(data)} bytes, the limit is {BLOB_BYTES_MAX}",
            fix="split the state into smaller ones",
            bytes=len(data),
        )

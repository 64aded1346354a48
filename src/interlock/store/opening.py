"""From a URL or a path to a store. A hand: it opens what it names.

`memory:` keeps nothing; `sqlite:///absolute/path` and a plain path are a SQLite file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from interlock.clock import Clock
from interlock.errors import UsageError
from interlock.store.blobs import BlobStore
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.store.records import RecordStore

URL_BYTES_MAX = 4096


class Store(Protocol):
    """A record store and a blob store that belong together."""

    @property
    def records(self) -> RecordStore:
        """Named bytes."""
        ...

    @property
    def blobs(self) -> BlobStore:
        """Immutable bytes."""
        ...

    async def close(self) -> None:
        """Close both."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStore:
    """Both stores in memory."""

    records: MemoryRecords
    blobs: MemoryBlobs

    async def close(self) -> None:
        """See `Store.close`."""
        await self.records.close()
        await self.blobs.close()


async def open_store(url: str, *, clock: Clock) -> Store:
    """Open the store that `url` names.

    Raises:
        UsageError: The URL names no store that this version knows, or see `sqlite_file.open_file`.
        BackendUnavailable: The store cannot be reached.
    """
    if not url or len(url) > URL_BYTES_MAX or "\x00" in url:
        raise _unknown(url[:100])
    parts = _split(url)
    if parts is None:
        return await _open_sqlite(Path(url), clock=clock)
    opener = _OPENERS.get(parts.scheme)
    if opener is None:
        raise _unknown(f"{parts.scheme}:")
    return await opener(parts, clock)


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL, None for a plain path (which may contain a colon behind a slash or a dot)."""
    scheme, colon, _ = url.partition(":")
    if not colon or not scheme.isalnum():
        return None
    try:
        return urlsplit(url)
    except ValueError:
        raise _unknown(url[:100]) from None


async def _open_memory(_parts: SplitResult, clock: Clock) -> Store:
    return MemoryStore(records=MemoryRecords(clock=clock), blobs=MemoryBlobs())


async def _open_sqlite_url(parts: SplitResult, clock: Clock) -> Store:
    if parts.netloc or not parts.path or parts.query or parts.fragment:
        raise UsageError(
            "a SQLite URL is not usable",
            why="it must be a path alone, without host, query or fragment",
            fix="write sqlite:///absolute/path/interlock.db, or only the path",
        )
    return await _open_sqlite(Path(unquote(parts.path)), clock=clock)


async def _open_sqlite(path: Path, *, clock: Clock) -> Store:
    from interlock.store.sqlite import SqliteStore

    return await SqliteStore.open(path, clock=clock)


async def _not_yet(parts: SplitResult, _clock: Clock) -> Store:
    raise UsageError(
        f"a store at {parts.scheme}: cannot be opened",
        why="this version of Interlock does not have it yet",
        fix="use a SQLite file: sqlite:///absolute/path/interlock.db",
    )


def _unknown(what: str) -> UsageError:
    return UsageError(
        "the store is not known",
        why=f"{what!a} names none",
        fix="use a path, sqlite:///absolute/path/interlock.db, or memory:",
    )


_OPENERS: dict[str, Callable[[SplitResult, Clock], Awaitable[Store]]] = {
    "memory": _open_memory,
    "sqlite": _open_sqlite_url,
    "postgres": _not_yet,
    "postgresql": _not_yet,
    "dynamodb": _not_yet,
    "s3": _not_yet,
}

"""From a URL or a path to a store. A hand: it opens what it names.

`memory:` keeps nothing; `sqlite:///absolute/path` and a plain path are a SQLite file. `s3://bucket/prefix/?table=locks`
is blobs in the bucket and records in the DynamoDB table; without `table`, records are objects in the bucket too.
Further arguments: `namespace` (in the table), `region`, `profile`, `kms_key`, `endpoint` (of both services),
`endpoint_s3`, `endpoint_dynamodb`. Credentials never belong in such a URL; they come from the SDK's usual places.
`postgresql://user@host/database` is a PostgreSQL database (`postgres_place.py` has its arguments).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from interlock.clock import Clock
from interlock.errors import UsageError
from interlock.ids import RandomIds
from interlock.store.blobs import BlobStore
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.store.records import RecordStore

if TYPE_CHECKING:
    from interlock.store.fault import Fault
    from interlock.store.postgres_place import PostgresPlace
    from interlock.store.s3 import S3Place

URL_BYTES_MAX = 4096
_URL = re.compile(r"(?P<scheme>[A-Za-z0-9]+):|(?P<compound>[A-Za-z0-9+.-]+)://")
_KEYWORDS = re.compile(r"\s*(?:host|hostaddr|port|user|password|passfile|dbname|service|sslmode)\s*=")
_S3_FORM = "write s3://bucket/prefix/?table=locks&region=eu-central-1"
_S3_OPTIONS = frozenset(
    {"table", "namespace", "region", "profile", "kms_key", "endpoint", "endpoint_s3", "endpoint_dynamodb"}
)


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

    @property
    def clock(self) -> Clock:
        """By which decisions about what is kept here are made: the store's own, where machines share it."""
        ...

    async def keep_room(self) -> bool:
        """Make sure that a state can still be stored on a disk that gets full; False when there is too little room."""
        ...

    async def faults(self) -> tuple[Fault, ...]:
        """Return what is damaged, as far as this kind of store can tell without being asked for each record."""
        ...

    async def close(self) -> None:
        """Close both."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStore:
    """Both stores in memory."""

    records: MemoryRecords
    blobs: MemoryBlobs
    clock: Clock

    async def keep_room(self) -> bool:
        """See `Store.keep_room`. Nothing of it is on a disk of ours."""
        return True

    async def faults(self) -> tuple[Fault, ...]:
        """See `Store.faults`. Each record's damage is told when it is read."""
        return ()

    async def close(self) -> None:
        """See `Store.close`."""
        await self.records.close()
        await self.blobs.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsStore:
    """Blobs in S3; records in DynamoDB or in S3."""

    records: RecordStore
    blobs: BlobStore
    clock: Clock

    async def keep_room(self) -> bool:
        """See `Store.keep_room`. Nothing of it is on a disk of ours."""
        return True

    async def faults(self) -> tuple[Fault, ...]:
        """See `Store.faults`. Each record's damage is told when it is read."""
        return ()

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
        raise _unknown(_kind_of(url))
    parts = _split(url)
    if parts is None:
        return await _open_sqlite(Path(url), clock=clock)
    opener = _OPENERS.get(parts.scheme)
    if opener is None:
        raise _unknown(f"{parts.scheme}:")
    return await opener(parts, clock)


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL, None for a plain path (which may contain a colon behind a slash or a dot).

    Raises:
        UsageError: It is neither. Taken for a path, it would be a file with a password in its name.
    """
    if _KEYWORDS.match(url):
        raise UsageError("the store is not known", why="it is written in libpq's keywords", fix=_FORMS)
    found = _URL.match(url)
    if found is None:
        return None
    if found["compound"]:
        raise _unknown(_kind_of(url))
    try:
        return urlsplit(url)
    except ValueError:
        raise _unreadable(found["scheme"]) from None


def _kind_of(url: str) -> str:
    """Return as much of an address as may be shown: what follows may hold a password."""
    found = _URL.match(url)
    return found[0] if found else url[:100] if not _KEYWORDS.match(url) else ""


async def _open_memory(_parts: SplitResult, clock: Clock) -> Store:
    return MemoryStore(records=MemoryRecords(clock=clock), blobs=MemoryBlobs(), clock=clock)


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


async def _open_s3(parts: SplitResult, clock: Clock) -> Store:
    from interlock.store.s3 import DEFAULT_PREFIX, S3Place

    if not parts.hostname or parts.netloc != parts.hostname or parts.fragment:
        raise UsageError("an S3 URL is not usable", why="it must begin with a bucket alone", fix=_S3_FORM)
    options = _options(parts.query)
    prefix = unquote(parts.path).strip("/")
    place = S3Place(
        bucket=parts.hostname, prefix=f"{prefix}/" if prefix else DEFAULT_PREFIX, kms_key=options.get("kms_key")
    )
    return await asyncio.to_thread(_connect_aws, place, options, clock)


def _connect_aws(place: S3Place, options: Mapping[str, str], clock: Clock) -> Store:
    from interlock.store.aws import AwsAccess, connect
    from interlock.store.dynamodb import DynamoRecords
    from interlock.store.s3 import S3Blobs, S3Records

    endpoints = {
        service: url
        for service in ("s3", "dynamodb")
        if (url := options.get(f"endpoint_{service}", options.get("endpoint")))
    }
    access = AwsAccess(
        region=options.get("region"),
        profile=options.get("profile"),
        endpoints=endpoints,
        path_style="s3" in endpoints,  # emulators and private endpoints have no name for each bucket
    )
    s3 = connect("s3", access)
    ids = RandomIds()
    blobs = S3Blobs(s3, place=place, clock=clock, ids=ids)
    table = options.get("table")
    if table is None:
        return AwsStore(records=S3Records(s3, place=place, clock=clock, ids=ids), blobs=blobs, clock=clock)
    records = DynamoRecords(
        connect("dynamodb", access), table=table, namespace=options.get("namespace", ""), clock=clock, ids=ids
    )
    return AwsStore(records=records, blobs=blobs, clock=clock)


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - _S3_OPTIONS)
    empty = sorted(name for name, value in options.items() if not value)
    if unknown or empty:
        raise UsageError(
            "an S3 URL is not usable",
            why=f"it has an unknown or empty argument: {(unknown + empty)[0]!a}",
            fix=_S3_FORM,
        )
    return options


async def _open_postgres(parts: SplitResult, clock: Clock) -> Store:
    place = _postgres_place(parts)
    from interlock.store.postgres import PostgresStore

    return await PostgresStore.open(place, clock=clock, ids=RandomIds())


def find_postgres(url: str) -> PostgresPlace | None:
    """Return the place of a PostgreSQL store; None when the address is of another kind.

    Raises:
        UsageError: The address is not usable, or psycopg is not installed.
    """
    parts = _split(url)
    is_postgres = parts is not None and _OPENERS.get(parts.scheme) is _open_postgres
    return _postgres_place(parts) if parts is not None and is_postgres else None


def _postgres_place(parts: SplitResult) -> PostgresPlace:
    from interlock.store.postgres_place import parse_place

    try:
        import psycopg  # noqa: F401 - is it there?
    except ImportError as error:
        raise UsageError(
            "PostgreSQL cannot be used", why="psycopg is not installed", fix="pip install 'interlock[postgres]'"
        ) from error
    return parse_place(parts)


async def _table_alone(_parts: SplitResult, _clock: Clock) -> Store:
    raise UsageError(
        "a store needs a bucket beside its DynamoDB table",
        why="a table has no room for whole states",
        fix="write s3://bucket/prefix/?table=locks",
    )


def _unknown(what: str) -> UsageError:
    return UsageError("the store is not known", why=f"there is no kind of store {what!a}", fix=_FORMS)


def _unreadable(scheme: str) -> UsageError:
    return UsageError(
        "the store is not known",
        why=f"what follows {scheme}: cannot be read; write [ and ] in a password as %5B and %5D",
        fix=_FORMS,
    )


_FORMS = "use a path, sqlite:PATH, postgresql://USER@HOST/DATABASE, s3://bucket/prefix/, or memory:"


_OPENERS: dict[str, Callable[[SplitResult, Clock], Awaitable[Store]]] = {
    "memory": _open_memory,
    "sqlite": _open_sqlite_url,
    "postgres": _open_postgres,
    "postgresql": _open_postgres,
    "dynamodb": _table_alone,
    "s3": _open_s3,
}

"""Blobs in PostgreSQL, packed and in parts.

A hand. A large blob is written in parts, each a commit of its own, so that no statement is long; it exists from the
commit that names it in `blobs`. Packing and hashing happen in a few threads. That the blob which another builds on
stays, the database keeps itself, by a foreign key.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import Any, LiteralString, TypeVar

import psycopg
from msgspec import Struct

from interlock.errors import BackendUnavailable
from interlock.store.blobs import BlobDamaged, BlobHead, BlobMissing, blob_digest, check_blob, check_digest
from interlock.store.memory import store_is_closed
from interlock.store.packing import (
    DEPTH_MAX,
    HEAD_BYTES,
    Base,
    Header,
    Unpackable,
    pack,
    read_header,
    seal_packed,
    sealed_by,
    unpack_chain,
)
from interlock.store.postgres_place import PostgresPlace
from interlock.store.postgres_session import Connection, Sessions
from interlock.store.records import LIST_LIMIT_MAX
from interlock.store.sealing import Sealer

PART_BYTES = 4 * 1024 * 1024
THREADS = 2
UPLOAD_S_MAX = 3600
"""After this many seconds an unfinished upload was left by a server that died; the next upload sweeps it away."""
PUT_ATTEMPTS = 20
"""Writes of one blob that may be lost to others, each of which stored, moved or repaired that very blob meanwhile."""
_LIMIT_S = 120.0  # of one question: a blob of 512 MB over a slow line
_T = TypeVar("_T")


class _Outcome(Enum):
    """How the writing of a blob ended; only `WRITTEN` leaves anything behind."""

    WRITTEN = auto()
    BASE_GONE = auto()
    OVERTAKEN = auto()
    SWEPT = auto()


class _Stored(Struct, frozen=True, kw_only=True):
    """A blob that is stored as a difference; `grand_base` is the base of its base."""

    digest: str
    upload: int
    grand_base: str | None


class _End(Struct, frozen=True, kw_only=True):
    """What completes an upload: its last part and its name. `replaces` is the upload that it takes the place of."""

    digest: str
    header: Header
    upload: int | None
    number: int
    part: bytes
    replaces: int | None

    @property
    def words(self) -> dict[str, Any]:
        """What the statements are given."""
        return {
            "digest": self.digest,
            "upload": self.upload,
            "plain_bytes": self.header.plain_bytes,
            "base": self.header.base,
            "number": self.number,
            "part": self.part,
            "replaces": self.replaces,
        }


class PostgresBlobs:
    """A `BlobStore` in the tables `blobs` and `parts`; `SealableBlobs` too."""

    def __init__(self, sessions: Sessions, *, place: PostgresPlace) -> None:
        self.sealer: Sealer | None = None
        self._sessions = sessions
        self._place = place
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="interlock-blobs")
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def put(self, data: bytes, *, like: str | None = None) -> str:
        """See `BlobStore.put`. A blob that is like another is stored as its difference, see `packing.py`."""
        check_blob(data, like=like)
        return await self._whole(self._put(data, like))

    async def get(self, digest: str) -> bytes:
        """See `BlobStore.get`."""
        check_digest(digest)
        data, _ = await self._whole(self._read(digest))
        return data

    async def has(self, digest: str) -> bool:
        """See `BlobStore.has`."""
        check_digest(digest)
        return await self._whole(self._upload(digest)) is not None

    async def delete(self, digest: str) -> None:
        """See `BlobStore.delete`. Blobs stored as a difference from this one are written anew first."""
        check_digest(digest)
        await self._whole(self._delete(digest))

    async def size(self, digest: str) -> int:
        """See `BlobStore.size`."""
        check_digest(digest)
        rows = await self._whole(self._rows("SELECT plain_bytes FROM {schema}.blobs WHERE digest = %s", (digest,)))
        if not rows:
            raise BlobMissing(digest)
        return int(rows[0][0])

    async def heads(self, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[BlobHead]:
        """See `SealableBlobs.heads`."""
        rows = await self._whole(self._rows(_HEADS, (HEAD_BYTES, after, limit)))
        return [BlobHead(digest=digest, sealed_by=sealed_by(start or b"")) for digest, start in rows]

    async def renew(self, digest: str) -> bool:
        """See `SealableBlobs.renew`."""
        check_digest(digest)
        return await self._whole(self._renew(digest))

    async def close(self) -> None:
        """See `BlobStore.close`. Finishes what is under way."""
        self._closed = True
        while self._under_way:
            await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._sessions.close()
        await asyncio.to_thread(self._threads.shutdown)

    async def _whole(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do it to its end, also when the caller leaves."""
        if self._closed:
            work.close()
            raise store_is_closed()
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._over)
        return await asyncio.shield(task)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # the caller may have left

    async def _aside(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    # -- putting ----------------------------------------------------------------------------------------------------

    async def _put(self, data: bytes, like: str | None) -> str:
        """Store the blob, or make sure that what is stored under its digest can be read: a name alone proves nothing.

        A blob that cannot be read is written anew, whole, so that it hangs on no base that may be damaged too.
        """
        digest = await self._aside(lambda: blob_digest(data))
        base = await self._base(like) if like is not None and await self._upload(digest) is None else None
        for _ in range(PUT_ATTEMPTS):
            found = await self._upload(digest)
            if found is not None and await self._can_read(digest):
                return digest
            packed = await self._packed(digest, data, base)
            outcome = await self._write(digest, packed, replaces=found)
            if outcome is _Outcome.WRITTEN:
                return digest
            base = None  # it was deleted meanwhile, or what others wrote from it is the blob to look at
        raise BackendUnavailable(
            f"blob {digest} was not stored",
            why=f"others changed it {PUT_ATTEMPTS} times in between",
            fix="try again",
        )

    async def _can_read(self, digest: str) -> bool:
        try:
            await self._read(digest)
        except (BlobMissing, BlobDamaged):
            return False
        return True

    async def _upload(self, digest: str) -> int | None:
        rows = await self._rows("SELECT upload FROM {schema}.blobs WHERE digest = %s", (digest,))
        return int(rows[0][0]) if rows else None

    async def _base(self, like: str | None) -> Base | None:
        if like is None:
            return None
        try:
            data, depth = await self._read(like)
        except (BlobMissing, BlobDamaged):  # the new blob is whole without it
            return None
        return Base(digest=like, depth=depth, data=data)

    async def _write(self, digest: str, packed: bytes, *, replaces: int | None) -> _Outcome:
        """Write a packed blob in the place of the upload `replaces` (None: of none)."""
        starts = range(0, len(packed), PART_BYTES)
        upload = None
        if len(starts) > 1:
            upload = int((await self._rows(_START, (UPLOAD_S_MAX,)))[0][0])
            for number, start in enumerate(starts[:-1]):
                await self._rows(_PART, (upload, number, packed[start : start + PART_BYTES]))
        end = _End(
            digest=digest,
            header=read_header(packed),
            upload=upload,
            number=len(starts) - 1,
            part=packed[starts[-1] :],
            replaces=replaces,
        )
        outcome = await self._finish(end)
        if outcome is _Outcome.SWEPT:
            raise BackendUnavailable(
                f"blob {digest} was not stored",
                why=f"its upload took longer than {UPLOAD_S_MAX} seconds, and it was swept away",
                fix="try again",
            )
        return outcome

    async def _finish(self, end: _End) -> _Outcome:
        """Give the upload its name, in one transaction."""

        async def question(connection: Connection) -> _Outcome:
            try:
                async with connection.transaction():
                    outcome = await self._name(connection, end)
                    if outcome is not _Outcome.WRITTEN:
                        raise psycopg.Rollback
            except psycopg.errors.ForeignKeyViolation:
                outcome = _Outcome.BASE_GONE
            if outcome is not _Outcome.WRITTEN and end.upload is not None:
                await connection.execute(self._sql(_DISCARD), (end.upload,))
            return outcome

        outcome = await self._sessions.ask(question, limit_s=_LIMIT_S)
        if outcome is _Outcome.OVERTAKEN or outcome is _Outcome.SWEPT:
            # The first attempt may have succeeded, and its reply got lost: what is stored tells, and is read by `put`.
            return _Outcome.OVERTAKEN if await self._upload(end.digest) is not None else outcome
        return outcome

    async def _name(self, connection: Connection, end: _End) -> _Outcome:
        if end.upload is not None and not (await connection.execute(self._sql(_END_UPLOAD), (end.upload,))).rowcount:
            return _Outcome.SWEPT
        text = _NAME if end.replaces is None else _RENAME
        named = await connection.execute(self._sql(text), end.words)
        return _Outcome.WRITTEN if named.rowcount else _Outcome.OVERTAKEN

    # -- reading ----------------------------------------------------------------------------------------------------

    async def _read(self, digest: str) -> tuple[bytes, int]:
        """Return the plain bytes and the depth at which they are stored."""
        rows = await self._rows(_CHAIN, (digest, DEPTH_MAX))
        if not rows:
            raise BlobMissing(digest)
        return await self._aside(lambda: _unpacked(digest, rows, self.sealer))

    # -- deleting ---------------------------------------------------------------------------------------------------

    async def _delete(self, digest: str) -> None:
        rewritten: Counter[str] = Counter()
        while not await self._remove(digest):
            child = await self._child(digest)
            if child is None:
                continue  # somebody else wrote it anew in between
            rewritten[child.digest] += 1
            if child.digest == digest or rewritten[child.digest] > PUT_ATTEMPTS:  # rows that contradict each other
                raise BlobDamaged(digest, why=f"blob {child.digest} is said to build on it, and cannot be moved away")
            await self._rewrite(child)

    async def _remove(self, digest: str) -> bool:
        """Delete the blob; False when another one builds on it."""

        async def question(connection: Connection) -> bool:
            try:
                await connection.execute(self._sql(_REMOVE), (digest,))
            except psycopg.errors.ForeignKeyViolation:
                return False
            return True

        return await self._sessions.ask(question, limit_s=_LIMIT_S)

    async def _child(self, digest: str) -> _Stored | None:
        rows = await self._rows(_CHILD, (digest,))
        if not rows:
            return None
        child, upload, grand_base = rows[0]
        return _Stored(digest=child, upload=upload, grand_base=grand_base)

    async def _rewrite(self, child: _Stored) -> None:
        """Write a blob anew without its base: as a difference from the base of that, or whole."""
        data, _ = await self._read(child.digest)
        base = await self._base(child.grand_base)
        await self._write(child.digest, await self._packed(child.digest, data, base), replaces=child.upload)

    async def _packed(self, digest: str, data: bytes, base: Base | None) -> bytes:
        return await self._aside(lambda: seal_packed(pack(data, base=base), digest, self.sealer))

    async def _renew(self, digest: str) -> bool:
        for _ in range(PUT_ATTEMPTS):
            rows = await self._rows(_HEAD, (HEAD_BYTES, digest))
            if not rows or self.sealer is None or sealed_by(rows[0][2] or b"") == self.sealer.current:
                return False
            upload, base, _ = rows[0]
            data, _ = await self._read(digest)
            packed = await self._packed(digest, data, await self._base(base))
            if await self._write(digest, packed, replaces=int(upload)) is _Outcome.WRITTEN:
                return True
        raise BackendUnavailable(f"blob {digest} changed all the time", fix="try again")

    # -- asking -----------------------------------------------------------------------------------------------------

    async def _rows(self, text: LiteralString, words: Any) -> list[tuple[Any, ...]]:
        sql = self._sql(text)

        async def question(connection: Connection) -> list[tuple[Any, ...]]:
            async with connection.cursor(binary=True) as cursor:
                await cursor.execute(sql, words)
                return await cursor.fetchall() if cursor.description else []

        return await self._sessions.ask(question, limit_s=_LIMIT_S)

    def _sql(self, text: LiteralString) -> Any:
        return text.replace("{schema}", self._place.quoted)


# One statement, so that the chain is of one moment. Each row: depth, digest, base, part. The limits keep the database
# from reading a whole large table, or compiling the statement for 50 ms, where it takes few rows for many: each row is
# found by its key. A blob of 512 MB has 129 parts.
_CHAIN: LiteralString = """
WITH RECURSIVE chain AS (
  SELECT digest, upload, base, 0 AS depth FROM {schema}.blobs WHERE digest = %s
  UNION ALL
  SELECT b.digest, b.upload, b.base, chain.depth + 1
    FROM chain CROSS JOIN LATERAL (
      SELECT digest, upload, base FROM {schema}.blobs WHERE digest = chain.base LIMIT 1
    ) AS b WHERE chain.depth < %s
)
SELECT chain.depth, chain.digest, chain.base, part.data
  FROM chain LEFT JOIN LATERAL (
    SELECT number, data FROM {schema}.parts WHERE upload = chain.upload ORDER BY number LIMIT 130
  ) AS part ON true ORDER BY chain.depth, part.number
"""
_HEAD: LiteralString = """
SELECT b.upload, b.base,
       (SELECT substring(data FROM 1 FOR %s) FROM {schema}.parts WHERE upload = b.upload AND number = 0)
  FROM {schema}.blobs AS b WHERE b.digest = %s
"""
_HEADS: LiteralString = """
SELECT b.digest, (SELECT substring(data FROM 1 FOR %s) FROM {schema}.parts WHERE upload = b.upload AND number = 0)
  FROM {schema}.blobs AS b WHERE b.digest > %s ORDER BY b.digest LIMIT %s
"""
_START: LiteralString = """
WITH stale AS (
  DELETE FROM {schema}.uploads WHERE started_at < clock_timestamp() - make_interval(secs => %s) RETURNING id
), swept AS (DELETE FROM {schema}.parts USING stale WHERE parts.upload = stale.id)
INSERT INTO {schema}.uploads DEFAULT VALUES RETURNING id
"""
# Sent again after a lost reply, it finds its part there.
_PART: LiteralString = """
INSERT INTO {schema}.parts (upload, number, data) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING
"""
_END_UPLOAD: LiteralString = "DELETE FROM {schema}.uploads WHERE id = %s"
_DISCARD: LiteralString = """
WITH ended AS (DELETE FROM {schema}.uploads WHERE id = %s RETURNING id)
DELETE FROM {schema}.parts USING ended WHERE parts.upload = ended.id
"""
_NAME: LiteralString = """
WITH named AS (
  INSERT INTO {schema}.blobs (digest, upload, plain_bytes, base)
  VALUES (%(digest)s, coalesce(%(upload)s::bigint, nextval('{schema}.small_uploads')), %(plain_bytes)s, %(base)s)
  ON CONFLICT (digest) DO NOTHING RETURNING upload
)
INSERT INTO {schema}.parts (upload, number, data) SELECT upload, %(number)s, %(part)s FROM named
"""
_RENAME: LiteralString = """
WITH named AS (
  UPDATE {schema}.blobs
     SET upload = coalesce(%(upload)s::bigint, nextval('{schema}.small_uploads')),
         plain_bytes = %(plain_bytes)s, base = %(base)s
   WHERE digest = %(digest)s AND upload = %(replaces)s RETURNING upload
), cleared AS (
  DELETE FROM {schema}.parts WHERE upload = %(replaces)s AND EXISTS (SELECT FROM named)
)
INSERT INTO {schema}.parts (upload, number, data) SELECT upload, %(number)s, %(part)s FROM named
"""
_REMOVE: LiteralString = """
WITH removed AS (DELETE FROM {schema}.blobs WHERE digest = %s RETURNING upload)
DELETE FROM {schema}.parts USING removed WHERE parts.upload = removed.upload
"""
_CHILD: LiteralString = """
SELECT child.digest, child.upload, parent.base FROM {schema}.blobs AS child
  LEFT JOIN {schema}.blobs AS parent ON parent.digest = child.base WHERE child.base = %s LIMIT 1
"""


def _unpacked(digest: str, rows: list[tuple[Any, ...]], sealer: Sealer | None) -> tuple[bytes, int]:
    """Return the plain bytes of a blob from the rows of its chain, and its depth."""
    packed: dict[str, list[bytes]] = {}
    for _, each, _, part in rows:
        packed.setdefault(each, []).append(part or b"")
    chain = [b"".join(parts) for parts in packed.values()]
    try:
        data, depth = unpack_chain(digest, chain, sealer)
    except Unpackable as error:
        raise BlobDamaged(digest, why=str(error)) from error
    if blob_digest(data) != digest:
        raise BlobDamaged(digest)
    return data, depth

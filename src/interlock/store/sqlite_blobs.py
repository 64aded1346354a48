"""Blobs in the SQLite file, packed and in parts.

A hand. A large blob is written in parts, each a commit of its own, so that records of other runs are not held up; it
exists from the commit that names it in `blobs`. Packing and hashing happen in a few threads of their own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from functools import partial
from typing import TypeVar

from msgspec import Struct

from interlock.clock import Clock
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
from interlock.store.records import LIST_LIMIT_MAX
from interlock.store.sealing import Sealer
from interlock.store.sqlite_file import SqliteFile, translated
from interlock.store.sqlite_rows import some_bytes, text, whole_number
from interlock.store.sqlite_threads import SqliteWriter

PART_BYTES = 4 * 1024 * 1024
"""Bytes in one commit: a few milliseconds for which other writers wait."""

THREADS = 2
"""Blobs packed or unpacked at once; each takes up to about three times its size in memory."""

UPLOAD_S_MAX = 3600.0
"""After this long an unfinished upload was left by a process that died; the next upload sweeps it away."""

PUT_ATTEMPTS = 20
"""Writes of one blob that may be lost to others, each of which stored, moved or repaired that very blob meanwhile."""

_T = TypeVar("_T")


class _Outcome(Enum):
    """How the writing of a blob ended; only `WRITTEN` leaves anything behind."""

    WRITTEN = auto()
    BASE_GONE = auto()
    OVERTAKEN = auto()


class SqliteBlobs:
    """A `BlobStore` in the tables `blobs` and `parts`; `SealableBlobs` too."""

    def __init__(self, file: SqliteFile, *, writer: SqliteWriter, clock: Clock) -> None:
        self.sealer: Sealer | None = None
        self._file = file
        self._writer = writer
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="interlock-blobs")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []  # of the threads; opening one costs more than most questions
        self._closed = False

    async def put(self, data: bytes, *, like: str | None = None) -> str:
        """See `BlobStore.put`. A blob that is like another is stored as its difference, see `packing.py`."""
        check_blob(data, like=like)
        return await self._run(lambda: self._put(data, like))

    async def get(self, digest: str) -> bytes:
        """See `BlobStore.get`."""
        check_digest(digest)
        return await self._run(lambda: self._get(digest))

    async def has(self, digest: str) -> bool:
        """See `BlobStore.has`."""
        check_digest(digest)
        return await self._run(lambda: self._plain_bytes(digest) is not None)

    async def delete(self, digest: str) -> None:
        """See `BlobStore.delete`. Blobs stored as a difference from this one are written anew first."""
        check_digest(digest)
        await self._run(lambda: self._delete(digest))

    async def size(self, digest: str) -> int:
        """See `BlobStore.size`."""
        check_digest(digest)
        plain_bytes = await self._run(lambda: self._plain_bytes(digest))
        if plain_bytes is None:
            raise BlobMissing(digest)
        return plain_bytes

    async def heads(self, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[BlobHead]:
        """See `SealableBlobs.heads`."""
        return await self._run(lambda: self._query(lambda connection: _list_heads(connection, after, limit)))

    async def renew(self, digest: str) -> bool:
        """See `SealableBlobs.renew`."""
        check_digest(digest)
        return await self._run(lambda: self._renew(digest))

    async def close(self) -> None:
        """See `BlobStore.close`. Finishes what is under way; the file is let go by `SqliteStore.close`."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)
        while self._connections:
            self._connections.pop().close()

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._closed:
            raise store_is_closed()
        self._file.check_process()
        return await asyncio.wrap_future(self._threads.submit(work))

    def _put(self, data: bytes, like: str | None) -> str:
        """Store the blob, or make sure that what is stored under its digest can be read: a name alone proves nothing.

        A blob that cannot be read is written anew, whole, so that it hangs on no base that may be damaged too.
        """
        digest = blob_digest(data)
        base = self._base(like) if self._upload(digest) is None else None
        for _ in range(PUT_ATTEMPTS):
            found = self._upload(digest)
            if found is not None and self._can_read(digest):
                return digest
            outcome = self._write(digest, self._packed(digest, data, base), replaces=found)
            if outcome is _Outcome.WRITTEN:
                return digest
            base = None  # it was deleted meanwhile, or what others wrote from it is the blob to look at
        raise BackendUnavailable(
            f"blob {digest} was not stored",
            why=f"others changed it {PUT_ATTEMPTS} times in between",
            fix="try again",
        )

    def _can_read(self, digest: str) -> bool:
        try:
            self._read(digest)
        except (BlobMissing, BlobDamaged):
            return False
        return True

    def _upload(self, digest: str) -> int | None:
        return self._query(lambda connection: _find_upload(connection, digest))

    def _base(self, like: str | None) -> Base | None:
        if like is None:
            return None
        try:
            data, depth = self._read(like)
        except (BlobMissing, BlobDamaged):  # the new blob is whole without it
            return None
        return Base(digest=like, depth=depth, data=data)

    def _get(self, digest: str) -> bytes:
        data, _ = self._read(digest)
        return data

    def _read(self, digest: str) -> tuple[bytes, int]:
        """Return the plain bytes and the depth at which they are stored."""
        chain = self._query(lambda connection: _read_chain(connection, digest))
        try:
            data, depth = unpack_chain(digest, chain, self.sealer)
        except Unpackable as error:
            raise BlobDamaged(digest, why=str(error)) from error
        if blob_digest(data) != digest:
            raise BlobDamaged(digest)
        return data, depth

    def _plain_bytes(self, digest: str) -> int | None:
        return self._query(lambda connection: _find_plain_bytes(connection, digest))

    def _delete(self, digest: str) -> None:
        rewritten: Counter[str] = Counter()
        while not self._writer.submit(lambda connection: _remove(connection, digest)).result():
            child = self._query(lambda connection: _find_child(connection, digest))
            if child is None:
                continue  # somebody else wrote it anew in between
            rewritten[child.digest] += 1
            if child.digest == digest or rewritten[child.digest] > PUT_ATTEMPTS:  # rows that contradict each other
                raise BlobDamaged(digest, why=f"blob {child.digest} is said to build on it, and cannot be moved away")
            self._rewrite(child)

    def _rewrite(self, child: _Stored) -> None:
        """Write a blob anew without its base: as a difference from the base of that, or whole."""
        data, _ = self._read(child.digest)
        packed = self._packed(child.digest, data, self._base(child.grand_base))
        self._write(child.digest, packed, replaces=child.upload)

    def _packed(self, digest: str, data: bytes, base: Base | None) -> bytes:
        return seal_packed(pack(data, base=base), digest, self.sealer)

    def _renew(self, digest: str) -> bool:
        for _ in range(PUT_ATTEMPTS):
            head = self._query(lambda connection: _find_head(connection, digest))
            if head is None or self.sealer is None or sealed_by(head.start) == self.sealer.current:
                return False
            data, _ = self._read(digest)
            packed = self._packed(digest, data, self._base(head.base))
            if self._write(digest, packed, replaces=head.upload) is _Outcome.WRITTEN:
                return True
        raise BackendUnavailable(f"blob {digest} changed all the time", fix="try again")

    def _write(self, digest: str, packed: bytes, *, replaces: int | None = None) -> _Outcome:
        """Write a packed blob in the place of the upload `replaces` (None: of none)."""
        now_s = self._clock.now().timestamp()
        parts = [memoryview(packed)[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES)]
        upload = self._writer.submit(lambda connection: _start(connection, now_s)).result() if parts[1:] else None
        for number, part in enumerate(parts[:-1]):
            self._writer.submit(partial(_write_part, upload=upload, number=number, part=part)).result()
        end = _End(digest=digest, header=read_header(packed), number=len(parts) - 1, part=parts[-1], replaces=replaces)
        return self._writer.submit(
            lambda connection: _finish(connection, _start(connection, now_s) if upload is None else upload, end)
        ).result()

    def _query(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        """Ask within one transaction, so that the answer is of one moment, on the connection of this thread."""
        with translated(self._file.path):
            connection = self._connected()
            try:
                connection.execute("BEGIN")
                answer = question(connection)
                connection.execute("COMMIT")
            except BaseException:
                self._forget(connection)  # the next question gets a fresh one
                raise
            self._file.check_in_place()
            return answer

    def _connected(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._file.connect()
            self._connections.append(connection)
        return connection

    def _forget(self, connection: sqlite3.Connection) -> None:
        self._local.connection = None
        self._connections.remove(connection)
        connection.close()


class _Stored(Struct, frozen=True, kw_only=True):
    """A blob that is stored as a difference; `grand_base` is the base of its base."""

    digest: str
    upload: int
    grand_base: str | None


class _Head(Struct, frozen=True, kw_only=True):
    """How a blob is stored; `start` is the beginning of its packed bytes."""

    upload: int
    base: str | None
    start: bytes


class _End(Struct, frozen=True, kw_only=True):
    """What completes an upload: its last part and its name. `replaces` is the upload that it takes the place of."""

    digest: str
    header: Header
    number: int
    part: memoryview
    replaces: int | None


def _find_plain_bytes(connection: sqlite3.Connection, digest: str) -> int | None:
    row = connection.execute("SELECT plain_bytes FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else whole_number(row[0])


def _find_upload(connection: sqlite3.Connection, digest: str) -> int | None:
    row = connection.execute("SELECT upload FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else whole_number(row[0])


def _read_chain(connection: sqlite3.Connection, digest: str) -> list[bytes]:
    """Return the packed blob, its base, the base of that, and so on.

    Raises:
        BlobMissing: There is no such blob.
        BlobDamaged: The chain is broken.
    """
    chain = [_read_packed(connection, digest)]
    try:
        while (base := read_header(chain[-1]).base) is not None and len(chain) <= DEPTH_MAX:
            chain.append(_read_packed(connection, base))
    except BlobMissing as error:
        raise BlobDamaged(digest, why=f"it builds on blob {error.digest}, which is missing") from error
    except Unpackable as error:
        raise BlobDamaged(digest, why=str(error)) from error
    return chain


def _read_packed(connection: sqlite3.Connection, digest: str) -> bytes:
    row = connection.execute("SELECT upload FROM blobs WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        raise BlobMissing(digest)
    rows = connection.execute("SELECT data FROM parts WHERE upload = ? ORDER BY number", row)
    return b"".join(some_bytes(part) for (part,) in rows)


def _find_child(connection: sqlite3.Connection, digest: str) -> _Stored | None:
    row = connection.execute(
        "SELECT child.digest, child.upload, parent.base FROM blobs AS child"
        " LEFT JOIN blobs AS parent ON parent.digest = child.base WHERE child.base = ? LIMIT 1",
        (digest,),
    ).fetchone()
    if row is None:
        return None
    grand_base = None if row[2] is None else text(row[2])
    return _Stored(digest=text(row[0]), upload=whole_number(row[1]), grand_base=grand_base)


_HEADS = (
    "SELECT blobs.digest, blobs.upload, blobs.base, substr(parts.data, 1, ?) FROM blobs"
    " JOIN parts ON parts.upload = blobs.upload AND parts.number = 0"
)


def _find_head(connection: sqlite3.Connection, digest: str) -> _Head | None:
    row = connection.execute(f"{_HEADS} WHERE digest = ?", (HEAD_BYTES, digest)).fetchone()
    if row is None:
        return None
    base = None if row[2] is None else text(row[2])
    return _Head(upload=whole_number(row[1]), base=base, start=some_bytes(row[3]))


def _list_heads(connection: sqlite3.Connection, after: str, limit: int) -> list[BlobHead]:
    rows = connection.execute(f"{_HEADS} WHERE digest > ? ORDER BY digest LIMIT ?", (HEAD_BYTES, after, limit))
    return [BlobHead(digest=text(row[0]), sealed_by=sealed_by(some_bytes(row[3]))) for row in rows]


def _start(connection: sqlite3.Connection, now_s: float) -> int:
    stale = connection.execute("SELECT id FROM uploads WHERE started_s < ?", (now_s - UPLOAD_S_MAX,)).fetchall()
    for (upload,) in stale:
        _discard(connection, upload)
    return int(connection.execute("INSERT INTO uploads (started_s) VALUES (?)", (now_s,)).lastrowid or 0)


def _write_part(connection: sqlite3.Connection, *, upload: int | None, number: int, part: memoryview) -> None:
    connection.execute("INSERT INTO parts (upload, number, data) VALUES (?, ?, ?)", (upload, number, part))


def _finish(connection: sqlite3.Connection, upload: int, end: _End) -> _Outcome:
    """Give the upload its name."""
    if connection.execute("SELECT 1 FROM uploads WHERE id = ?", (upload,)).fetchone() is None:
        raise BackendUnavailable(
            f"blob {end.digest} was not stored",
            why=f"its upload took longer than {UPLOAD_S_MAX:.0f} seconds, or the clock jumped, and it was swept away",
            fix="try again",
        )
    if end.header.base is not None and _find_plain_bytes(connection, end.header.base) is None:
        _discard(connection, upload)
        return _Outcome.BASE_GONE
    if _find_upload(connection, end.digest) != end.replaces:
        _discard(connection, upload)
        return _Outcome.OVERTAKEN
    if end.replaces is not None:
        connection.execute("DELETE FROM blobs WHERE digest = ?", (end.digest,))
        _discard(connection, end.replaces)
    _write_part(connection, upload=upload, number=end.number, part=end.part)
    connection.execute("DELETE FROM uploads WHERE id = ?", (upload,))
    connection.execute(
        "INSERT INTO blobs (digest, upload, plain_bytes, base) VALUES (?, ?, ?, ?)",
        (end.digest, upload, end.header.plain_bytes, end.header.base),
    )
    return _Outcome.WRITTEN


def _remove(connection: sqlite3.Connection, digest: str) -> bool:
    """Delete the blob; False when another one builds on it."""
    if connection.execute("SELECT 1 FROM blobs WHERE base = ?", (digest,)).fetchone() is not None:
        return False
    for (upload,) in connection.execute("SELECT upload FROM blobs WHERE digest = ?", (digest,)).fetchall():
        connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
        _discard(connection, upload)
    return True


def _discard(connection: sqlite3.Connection, upload: int) -> None:
    connection.execute("DELETE FROM uploads WHERE id = ?", (upload,))
    connection.execute("DELETE FROM parts WHERE upload = ?", (upload,))

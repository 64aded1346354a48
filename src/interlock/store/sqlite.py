"""Records and blobs in one SQLite file; the default for one machine.

A hand. Any number of processes may use the file at once. Writes go through one thread per process, which commits all
that wait together (`sqlite_threads.py`); a write that was acknowledged survives kill -9 and a power cut. Waiters of
this process are woken at once, those of others by looking at SQLite's change counter when the kernel tells that the
log was written to, or where it does not, every few milliseconds while somebody waits (`sqlite_lookout.py`).

One event loop uses a store. After a fork the child opens its own; using the parent's raises `UsageError`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from interlock.clock import Clock
from interlock.store.ballast import lay_ballast
from interlock.store.checksums import RecordDamaged
from interlock.store.doorbell import Doorbell
from interlock.store.fault import FAULTS_MAX, Fault
from interlock.store.memory import store_is_closed
from interlock.store.record_rows import (
    checked_row,
    find_row,
    list_rows,
    prefix_number,
    replace_damaged_row,
    swap_row,
)
from interlock.store.records import (
    LIST_LIMIT_MAX,
    Record,
    check_key,
    check_limit,
    check_prefix,
    check_value,
)
from interlock.store.sqlite_blobs import SqliteBlobs
from interlock.store.sqlite_file import SqliteFile, open_file
from interlock.store.sqlite_lookout import SqliteLookout
from interlock.store.sqlite_rows import text
from interlock.store.sqlite_threads import SqliteReader, SqliteWriter

_T = TypeVar("_T")


class SqliteStore:
    """Both stores of one file.

    Attributes:
        records: The `RecordStore`.
        blobs: The `BlobStore`.
        clock: That of this machine, which is the only one here.
    """

    def __init__(self, opened: SqliteFile, *, clock: Clock) -> None:
        self.clock = clock
        file, self._anchor = opened.anchored()
        self._path = file.path
        self._writer = SqliteWriter(file, name="interlock-writer")
        self._reader = SqliteReader(file, name="interlock-reader")
        self.records = SqliteRecords(file, writer=self._writer, reader=self._reader, clock=clock)
        self.blobs = SqliteBlobs(file, writer=self._writer, clock=clock)
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, clock: Clock) -> SqliteStore:
        """Open the database at `path`, creating it with its folder when there is none.

        Raises:
            UsageError: See `sqlite_file.open_file`.
            BackendUnavailable: Likewise.
        """
        return await asyncio.to_thread(lambda: cls(open_file(path, clock=clock), clock=clock))

    async def keep_room(self) -> bool:
        """Lay the ballast, which is given up when the disk is full; False when there is too little room for it."""
        return await asyncio.to_thread(lay_ballast, self._path)

    async def faults(self) -> tuple[Fault, ...]:
        """Look at the whole file and at every record; return what is damaged, at most `FAULTS_MAX` of each kind.

        Raises:
            BackendUnavailable: The file is damaged so that not even that can be told.
        """
        return await self._reader.ask(_faults)

    async def close(self) -> None:
        """Finish what was handed in, wake all waiters with an error, and let go of the file."""
        if self._closed:
            return
        self._closed = True
        await self.records.close()
        await self.blobs.close()
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._reader.close)
        await asyncio.to_thread(self._anchor.close)  # the last one: it copies the log into the database


class SqliteRecords:
    """A `RecordStore` in the table `records`."""

    def __init__(self, file: SqliteFile, *, writer: SqliteWriter, reader: SqliteReader, clock: Clock) -> None:
        self._file = file
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._doorbell = Doorbell(clock=clock)
        self._lookout = SqliteLookout(file, self._doorbell, clock=clock)
        self._closed = False

    async def get(self, key: str) -> Record | None:
        """See `RecordStore.get`."""
        check_key(key)
        return await self._read(lambda connection: find_row(connection, key))

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        """See `RecordStore.swap`. When the caller is cancelled meanwhile, the swap may still happen."""
        check_key(key)
        check_value(key, value)
        self._check_usable()
        written = self._writer.ask(lambda connection: swap_row(connection, key, expected, value))
        try:
            version = await written
            self._lookout.know_own(version)
            return version
        finally:
            self._doorbell.ring(key)

    async def replace_damaged(self, key: str, value: bytes) -> int:
        """See `RecordStore.replace_damaged`."""
        check_key(key)
        check_value(key, value)
        self._check_usable()
        written = self._writer.ask(lambda connection: replace_damaged_row(connection, key, value))
        try:
            return await written
        finally:
            self._doorbell.ring(key)

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """See `RecordStore.list`."""
        check_prefix(prefix)
        check_prefix(after)
        check_limit(limit)
        return await self._read(lambda connection: list_rows(connection, prefix, after, limit))

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        """See `RecordStore.watch`."""
        check_key(key)
        until = self._clock.monotonic() + timeout_s
        with self._doorbell.hung(key) as bell, self._lookout.kept():
            while True:
                record = await self.get(key)
                version = None if record is None else record.version
                self._doorbell.saw(key, version)
                left_s = until - self._clock.monotonic()
                if version != seen or left_s <= 0:
                    return record
                await self._doorbell.rung(bell, timeout_s=left_s)

    async def watch_prefix(self, prefix: str, *, seen: int, timeout_s: float) -> int:
        """See `RecordStore.watch_prefix`."""
        check_prefix(prefix)
        until = self._clock.monotonic() + timeout_s
        with self._doorbell.hung_for_all_of(prefix) as bell, self._lookout.kept():
            while True:
                number = await self._read(lambda connection: prefix_number(connection, prefix))
                left_s = until - self._clock.monotonic()
                if number != seen or left_s <= 0:
                    return number
                await self._doorbell.rung(bell, timeout_s=left_s)

    async def close(self) -> None:
        """See `RecordStore.close`. The file stays open for the blobs until `SqliteStore.close`."""
        self._closed = True
        self._doorbell.ring_all()
        await self._lookout.close()

    async def _read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        self._check_usable()
        return await self._reader.ask(work)

    def _check_usable(self) -> None:
        if self._closed:
            raise store_is_closed()
        self._file.check_process()


def _faults(connection: sqlite3.Connection) -> tuple[Fault, ...]:
    lines = [text(line) for (line,) in connection.execute(f"PRAGMA quick_check({FAULTS_MAX})")]
    found = [Fault(what=line) for line in lines if line != "ok"]
    factory = connection.text_factory
    connection.text_factory = lambda raw: raw.decode(errors="replace")  # one bad text must not hide the others
    try:
        return tuple(found + list(islice(_damaged_records(connection), FAULTS_MAX)))
    finally:
        connection.text_factory = factory


def _damaged_records(connection: sqlite3.Connection) -> Iterator[Fault]:
    for row in connection.execute("SELECT key, version, value, sum FROM records"):
        try:
            checked_row(*row)
        except RecordDamaged as error:
            yield Fault(what=f"{error.what}: {error.why}", key=error.key)

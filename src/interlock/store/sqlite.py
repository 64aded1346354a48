"""Records and blobs in one SQLite file; the default for one machine.

A hand. Any number of processes may use the file at once. Writes go through one thread per process, which commits all
that wait together (`sqlite_threads.py`); a write that was acknowledged survives kill -9 and a power cut. Waiters of
this process are woken at once, those of others by looking at SQLite's change counter when the kernel tells that the
log was written to (`file_bell.py`), or where it does not, every few milliseconds while somebody waits.

One event loop uses a store. After a fork the child opens its own; using the parent's raises `UsageError`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from interlock.clock import Clock
from interlock.errors import InterlockError
from interlock.store.ballast import lay_ballast
from interlock.store.checksums import RecordDamaged
from interlock.store.doorbell import Doorbell
from interlock.store.fault import FAULTS_MAX, Fault
from interlock.store.file_bell import FileBell, open_bell
from interlock.store.memory import store_is_closed
from interlock.store.record_rows import (
    change_number,
    checked_row,
    find_row,
    list_rows,
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
from interlock.store.sqlite_rows import text, whole_number
from interlock.store.sqlite_threads import SqliteReader, SqliteWriter

POLL_S_FIRST = 0.005
"""How often a waiter looks for writes of other processes at first; about 10 microseconds of work each."""

POLL_S_LATER = 0.010
"""How often it looks after the first second; with the commit itself far below the promised 50 ms."""

UNASKED_S = 1.0
"""How often it looks without a sign, where the kernel gives signs; they are only missed when a disk is very slow."""

_SETTLE_S_FIRST = 0.0005
_SETTLE_LOOKS = 60  # half a second: a commit needs that long on a disk that is busy
_FIRST_POLLS = 200

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
        self._lookout = _Lookout(file, self._doorbell, clock=clock)
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
            return await written
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
                left_s = until - self._clock.monotonic()
                if version != seen or left_s <= 0:
                    return record
                await self._doorbell.rung(bell, timeout_s=left_s)

    async def watch_prefix(self, prefix: str, *, seen: int, timeout_s: float) -> int:
        """See `RecordStore.watch_prefix`. The number counts changes of the whole store."""
        check_prefix(prefix)
        until = self._clock.monotonic() + timeout_s
        with self._doorbell.hung(None) as bell, self._lookout.kept():
            while True:
                number = await self._read(change_number)
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


class _Seen:
    """What the last look saw."""

    def __init__(self) -> None:
        self.data_version: int | None = None
        self.versions: dict[str, int | None] = {}


class _Lookout:
    """Looks for writes of other processes while somebody waits, and rings for the keys that changed.

    It runs in the event loop: one look reads a counter in shared memory, which takes about ten microseconds. Where the
    kernel tells that the log is written to, it sleeps until then; a commit becomes visible some time after its bytes
    were written, when they are on the disk, so it looks for `SETTLE_S` after each such sign. Now and then it looks
    without a sign. Elsewhere it looks all the time.
    """

    def __init__(self, file: SqliteFile, doorbell: Doorbell, *, clock: Clock) -> None:
        self._file = file
        self._doorbell = doorbell
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiters = 0
        self._signs = 0
        self._sign = asyncio.Event()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep looking while the caller waits."""
        self._waiters += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look())
        try:
            yield
        finally:
            self._waiters -= 1

    async def close(self) -> None:
        """End the task and its connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _look(self) -> None:
        seen = _Seen()
        with self._heard() as hears:
            looks, signs = 0, self._signs
            while self._waiters:
                self._look_once(seen)
                if signs != self._signs:
                    looks, signs = 0, self._signs
                looks += 1
                await self._pause(looks, hears=hears)

    async def _pause(self, looks: int, *, hears: bool) -> None:
        """Wait until the next look, `looks` after the last sign."""
        if not hears:
            await self._clock.sleep(POLL_S_FIRST if looks < _FIRST_POLLS else POLL_S_LATER)
        elif looks < _SETTLE_LOOKS:
            await self._clock.sleep(min(_SETTLE_S_FIRST * 2**looks, POLL_S_LATER))
        else:
            await self._doorbell.rung(self._sign, timeout_s=UNASKED_S)

    @contextmanager
    def _heard(self) -> Iterator[bool]:
        """Listen to the log; give whether that can be done."""
        bell = open_bell(f"{self._file.path}-wal")
        if bell is None:
            yield False
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(bell.descriptor, self._noticed, bell)
        try:
            yield True
        finally:
            loop.remove_reader(bell.descriptor)
            bell.close()

    def _noticed(self, bell: FileBell) -> None:
        bell.silence()
        self._signs += 1
        self._sign.set()

    def _look_once(self, seen: _Seen) -> None:
        try:
            self._file.check_in_place()
            found = self._data_version()
            if found != seen.data_version:
                seen.versions = self._ring_changed(seen.versions)
            seen.data_version = found
        except (sqlite3.Error, InterlockError):
            self._doorbell.ring_all()  # the waiters read for themselves and meet the error there, if it lasts

    def _ring_changed(self, known: dict[str, int | None]) -> dict[str, int | None]:
        """Ring for each awaited key whose version is not the known one; return the versions as they are."""
        versions = {key: self._version(key) for key in self._doorbell.awaited()}
        for key, version in versions.items():
            if key not in known or known[key] != version:
                self._doorbell.ring(key)
        self._doorbell.ring_any()
        return versions

    def _version(self, key: str) -> int | None:
        row = self._connected().execute("SELECT version FROM records WHERE key = ?", (key,)).fetchone()
        return None if row is None else whole_number(row[0])

    def _data_version(self) -> int:
        return int(self._connected().execute("PRAGMA data_version").fetchone()[0])

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._file.connect()
            self._connection.execute("PRAGMA busy_timeout=0")  # never holds up the event loop
        return self._connection


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

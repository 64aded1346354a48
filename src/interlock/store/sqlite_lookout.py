"""Looks for what other processes wrote to a SQLite file, and rings for it. A hand: it touches the file and asyncio."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from interlock.clock import Clock
from interlock.errors import InterlockError
from interlock.store.doorbell import Doorbell
from interlock.store.file_bell import FileBell, open_bell
from interlock.store.record_rows import change_number
from interlock.store.sqlite_file import SqliteFile
from interlock.store.sqlite_rows import whole_number

POLL_S_FIRST = 0.005
"""How often a waiter looks for writes of other processes at first; about 10 microseconds of work each."""

POLL_S_LATER = 0.010
"""How often it looks after the first second; with the commit itself far below the promised 50 ms."""

UNASKED_S = 1.0
"""How often it looks without a sign, where the kernel gives signs; they are only missed when a disk is very slow."""

SETTLE_S = (0.001, 0.002, 0.004, 0.008, 0.016, *[0.032] * 15)
"""The pauses between looks after a sign: for half a second, which a commit needs on a disk that is busy.

Each look that sleeps before costs 0.1 to 0.3 ms of a processor, in every process that waits. So they are few, and yet
each is at most as long as the commit has taken so far, and far below the promised 50 ms.
"""

OWN_MAX = 1_000
"""Most changes of this process that are remembered between two looks."""

_FIRST_POLLS = 200


class Seen:
    """What the last look saw."""

    def __init__(self) -> None:
        self.data_version: int | None = None
        self.number: int | None = None


class SqliteLookout:
    """Looks for writes of other processes while somebody waits, and rings for the keys that changed.

    It runs in the event loop: one look reads a counter in shared memory, which takes about ten microseconds. Where the
    kernel tells that the log is written to, it sleeps until then; a commit becomes visible some time after its bytes
    were written, when they are on the disk, so it looks for `SETTLE_S` after each such sign. Now and then it looks
    without a sign. Elsewhere it looks all the time.

    Args:
        file: The database.
        doorbell: What it rings.
        clock: For its pauses.
    """

    def __init__(self, file: SqliteFile, doorbell: Doorbell, *, clock: Clock) -> None:
        self._file = file
        self._doorbell = doorbell
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._bell: FileBell | None = None
        self._waiters = 0
        self._signs = 0
        self._sign = asyncio.Event()
        self._own: set[int] = set()

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

    def know_own(self, number: int) -> None:
        """Know that a change is this process's, which rings for its key itself. One that is not told is looked at."""
        if len(self._own) >= OWN_MAX:  # nobody waits, so nobody looks
            self._own.clear()
        self._own.add(number)

    async def close(self) -> None:
        """End the task and its connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._bell is not None:
            bell, self._bell = self._bell, None
            await asyncio.to_thread(bell.close)

    async def _look(self) -> None:
        seen = Seen()
        with self._heard() as hears:
            looks, signs = 0, self._signs
            while self._waiters:
                self.look_once(seen)
                if signs != self._signs:
                    looks, signs = 0, self._signs
                looks += 1
                await self._pause(looks, hears=hears)

    async def _pause(self, looks: int, *, hears: bool) -> None:
        """Wait until the next look, `looks` after the last sign."""
        if not hears:
            await self._clock.sleep(POLL_S_FIRST if looks < _FIRST_POLLS else POLL_S_LATER)
        elif looks <= len(SETTLE_S):
            await self._clock.sleep(SETTLE_S[looks - 1])
        else:
            await self._doorbell.rung(self._sign, timeout_s=UNASKED_S)

    @contextmanager
    def _heard(self) -> Iterator[bool]:
        """Listen to the log; give whether that can be done."""
        # Kept until the store is closed: Linux takes 10 to 100 ms to close it, in which no other task would run, and
        # who waited has just been granted. The log stays the same file while the store is open (`SqliteFile.anchored`).
        self._bell = self._bell or open_bell(f"{self._file.path}-wal")
        if self._bell is None:
            yield False
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._bell.descriptor, self._noticed, self._bell)
        try:
            yield True
        finally:
            loop.remove_reader(self._bell.descriptor)

    def _noticed(self, bell: FileBell) -> None:
        bell.silence()
        self._signs += 1
        self._sign.set()

    def look_once(self, seen: Seen) -> None:
        """Ring for what others changed since the last look, which `seen` remembers."""
        try:
            self._file.check_in_place()
            found = self._data_version()
            if found != seen.data_version:
                self._look_closer(seen)
            seen.data_version = found
        except (sqlite3.Error, InterlockError):
            self._doorbell.ring_all()  # the waiters read for themselves and meet the error there, if it lasts

    def _look_closer(self, seen: Seen) -> None:
        number = change_number(self._connected())
        if not self._is_own(seen.number, number):
            self._ring_changed()
        seen.number = number
        self._own = {own for own in self._own if own > number}

    def _is_own(self, before: int | None, after: int) -> bool:
        """Say whether all changes between two looks are this process's, so that it has rung for each."""
        return before is not None and before <= after and all(n in self._own for n in range(before + 1, after + 1))

    def _ring_changed(self) -> None:
        """Ring for each awaited key whose version is not the one that was last seen."""
        for key in self._doorbell.awaited():
            self._doorbell.saw(key, self._version(key))
        self._doorbell.ring_prefixes()

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

"""One look at the records of a SQLite file, in the calling thread: no thread, no event loop. A hand.

For commands that list and leave. To import an event loop and to start threads takes longer than all that they do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.clock import Clock
from interlock.store.record_rows import list_rows
from interlock.store.records import LIST_LIMIT_MAX, Record, check_limit, check_prefix
from interlock.store.sqlite_file import SqliteFile, open_file, translated


class LookedAt:
    """The reading half of a `RecordStore` whose answers are there when it is asked."""

    def __init__(self, file: SqliteFile, connection: sqlite3.Connection) -> None:
        self._file = file
        self._connection = connection

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """See `RecordStore.list`."""
        check_prefix(prefix)
        check_prefix(after)
        check_limit(limit)
        with translated(self._file.path):
            found = list_rows(self._connection, prefix, after, limit)
        self._file.check_in_place()  # afterwards: what was read from a removed file is never told
        return found


@contextmanager
def look_at(path: Path, *, clock: Clock) -> Iterator[LookedAt]:
    """Open the database at `path`, which is there, for as long as the context lasts.

    Raises:
        UsageError: See `open_file`.
        BackendUnavailable: Likewise.
    """
    file, connection = open_file(path, clock=clock).anchored()
    try:
        yield LookedAt(file, connection)
    finally:
        connection.close()

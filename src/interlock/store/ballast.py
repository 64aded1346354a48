"""A file that only takes room, given up when the disk is full so that what is under way can still be stored. A hand.

When a disk fills up while Terraform applies, the state that it is about to write is the only record of what it made.
Whoever holds a grant to write lays the ballast first; any process that meets a full disk gives it up, once.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path

BALLAST_BYTES = 8 * 1024 * 1024
"""Room for hundreds of changes of records and dozens of versions as differences, or a whole state of some 50 MB."""

_ROOM_FACTOR = 4  # a ballast that takes a quarter of what is free would bring about what it is for
_LOW_BYTES = 1024 * 1024
_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}


def ballast_of(database: Path) -> Path:
    """Return where the ballast of a database is: beside it, on the same disk."""
    return database.with_name(f"{database.name}-ballast")


def lay_ballast(database: Path, size: int = BALLAST_BYTES) -> bool:
    """Take room beside a database unless that is done; False when the disk has too little room for it already."""
    path = ballast_of(database)
    try:
        if path.exists() and path.stat().st_size >= size:
            return True
        if shutil.disk_usage(database.parent).free < _ROOM_FACTOR * size:
            return False
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
    except OSError:
        give_up_ballast(database)  # half a ballast is none
        return False
    return True


def give_up_ballast(database: Path) -> bool:
    """Remove the ballast; say whether there was one, so that what failed is worth another try."""
    try:
        ballast_of(database).unlink()
    except OSError:
        return False
    return True


def is_full(error: BaseException, database: Path) -> bool:
    """Say whether an error of SQLite or the disk means that the disk is full.

    SQLite calls it so when it writes the database or its log, and an input/output error when it is about the index of
    the log; then the disk itself is asked.
    """
    if isinstance(error, OSError):
        return error.errno in _FULL_ERRNOS
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return True
    return code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN} and _is_low(database)


def _is_low(database: Path) -> bool:
    try:
        return shutil.disk_usage(database.parent).free < _LOW_BYTES
    except OSError:
        return False

"""Values of SQLite rows, read as what they must be.

SQLite keeps any kind of value in any column, so a damaged row gives another kind instead of an error of SQLite. Here
that becomes one, which the hand that asked translates like every other damage.
"""

from __future__ import annotations

import sqlite3


def whole_number(value: object) -> int:
    """Return a number.

    Raises:
        sqlite3.DatabaseError: It is none.
    """
    if isinstance(value, int):
        return value
    raise _unexpected("a whole number", value)


def text(value: object) -> str:
    """Return a text. Raises as `whole_number`."""
    if isinstance(value, str):
        return value
    raise _unexpected("a text", value)


def some_bytes(value: object) -> bytes:
    """Return bytes. Raises as `whole_number`."""
    if isinstance(value, bytes):
        return value
    raise _unexpected("bytes", value)


def damaged_rows(why: str) -> sqlite3.DatabaseError:
    """Return the error for rows that cannot be what was written."""
    error = sqlite3.DatabaseError(why)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def _unexpected(wanted: str, value: object) -> sqlite3.DatabaseError:
    return damaged_rows(f"{wanted} was expected in a row, {type(value).__name__} was found")

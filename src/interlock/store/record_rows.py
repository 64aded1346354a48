"""The table `records` of a SQLite file, as functions of a connection. A hand, which knows neither threads nor loops."""

from __future__ import annotations

import sqlite3

from interlock.store.checksums import RecordDamaged, check_record, record_sum
from interlock.store.records import Mismatch, Record
from interlock.store.sqlite_rows import damaged_rows, whole_number

_COUNT_BITS = 32
_CODE_POINT_MAX = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def find_row(connection: sqlite3.Connection, key: str) -> Record | None:
    """Return the record of a key; None when there is none. Raises as `checked_row`."""
    row = connection.execute("SELECT version, value, sum FROM records WHERE key = ?", (key,)).fetchone()
    return None if row is None else checked_row(key, *row)


def checked_row(key: object, version: object, value: object, sum_: object) -> Record:
    """Return the record of a row.

    Raises:
        RecordDamaged: It is not what was written.
    """
    found = check_record(key, version, value, sum_)
    return Record(key=str(key), version=found[0], value=found[1])


def swap_row(connection: sqlite3.Connection, key: str, expected: int | None, value: bytes | None) -> int:
    """Do what `RecordStore.swap` does, in the connection's transaction."""
    current = find_row(connection, key)
    version = None if current is None else current.version
    if version != expected:
        raise Mismatch(key, expected=expected, current=current)
    if current is None and value is None:
        return 0
    connection.execute("UPDATE changes SET number = number + 1")
    if value is None:
        connection.execute("DELETE FROM records WHERE key = ?", (key,))
        return 0
    version = change_number(connection)
    if version <= (0 if current is None else current.version):  # else an old version of this key would come back
        raise damaged_rows(f"the number of the last change is {version - 1}, which was used before")
    connection.execute(
        "INSERT INTO records (key, version, value, sum) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value, sum = excluded.sum",
        (key, version, value, record_sum(key, version, value)),
    )
    return version


def replace_damaged_row(connection: sqlite3.Connection, key: str, value: bytes) -> int:
    """Do what `RecordStore.replace_damaged` does, in the connection's transaction."""
    try:
        current = find_row(connection, key)
    except RecordDamaged:
        connection.execute("DELETE FROM records WHERE key = ?", (key,))
        return swap_row(connection, key, None, value)
    raise Mismatch(key, expected=None, current=current)


def change_number(connection: sqlite3.Connection) -> int:
    """Return how often the store was changed."""
    row = connection.execute("SELECT number FROM changes").fetchone()
    return whole_number(row and row[0])


def prefix_number(connection: sqlite3.Connection, prefix: str) -> int:
    """Return a number that differs whenever the records of a prefix do.

    Whatever is written gets a version above all that were ever given. So the same newest version and the same count are
    the same records: nothing is newer, and a record that was taken away could only be made up for by a newer one.
    """
    condition, bounds = _under(prefix)
    question = f"SELECT max(version), count(*) FROM records WHERE {condition}"  # noqa: S608
    newest, count = connection.execute(question, bounds).fetchone()
    return (whole_number(newest or 0) << _COUNT_BITS) + int(count)


def list_rows(connection: sqlite3.Connection, prefix: str, after: str, limit: int) -> list[Record]:
    """Return the records of a prefix behind `after`, in order, at most `limit`. Raises as `checked_row`."""
    # One lower bound: SQLite begins at one and reads on from there, so with two each page read all pages before it.
    condition, bounds = _under(prefix) if after < prefix else _behind(prefix, after)
    rows = connection.execute(
        f"SELECT key, version, value, sum FROM records WHERE {condition} ORDER BY key LIMIT ?",  # noqa: S608
        (*bounds, limit),
    )
    return [checked_row(*row) for row in rows]


def _under(prefix: str) -> tuple[str, tuple[str, ...]]:
    """Return the condition that a key begins with a prefix, and its values."""
    # Two bounds instead of LIKE: they use the index, and no character of a key has a special meaning.
    return _from("key >= ?", prefix, behind(prefix))


def _behind(prefix: str, after: str) -> tuple[str, tuple[str, ...]]:
    """Return the condition that a key of a prefix sorts behind `after`, which is not before the prefix."""
    return _from("key > ?", after, behind(prefix))


def _from(begins: str, begin: str, end: str | None) -> tuple[str, tuple[str, ...]]:
    return (begins, (begin,)) if end is None else (f"{begins} AND key < ?", (begin, end))


def behind(prefix: str) -> str | None:
    """Return the first text that sorts behind all that start with `prefix`; None when nothing does."""
    kept = prefix.rstrip(chr(_CODE_POINT_MAX))
    if not kept:
        return None
    last = ord(kept[-1]) + 1
    if last in _SURROGATES:
        last = _SURROGATES.stop
    return kept[:-1] + chr(last)

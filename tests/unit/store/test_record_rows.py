from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.store.record_rows import list_rows, swap_row
from interlock.store.sqlite import SqliteStore
from interlock.store.sqlite_file import open_file

RECORDS = 2000
PAGE = 4


def key_of(number: int) -> str:
    return f"run/{number:06d}"


@pytest.fixture
def connection(path: Path, store: SqliteStore) -> Iterator[sqlite3.Connection]:
    connection = open_file(path, clock=SystemClock()).connect()
    for number in range(RECORDS):
        swap_row(connection, key_of(number), None, b"r")
    yield connection
    connection.close()


def steps_of_a_page(connection: sqlite3.Connection, after: str) -> tuple[list[str], int]:
    """Return the keys of a page, and how many steps of its machine SQLite took for it."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 1)
    found = list_rows(connection, "run/", after, PAGE)
    connection.set_progress_handler(None, 1)
    return [record.key for record in found], steps


@pytest.mark.parametrize(
    ("after", "first", "count"),
    [
        ("", 0, PAGE),
        ("quite another prefix", 0, PAGE),
        (key_of(RECORDS // 2), RECORDS // 2 + 1, PAGE),
        (key_of(RECORDS - 3), RECORDS - 2, 2),
        (key_of(RECORDS), RECORDS, 0),
        ("state/", RECORDS, 0),
    ],
)
def test_a_page_costs_the_same_wherever_it_begins(
    connection: sqlite3.Connection, after: str, first: int, count: int
) -> None:
    """SQLite begins at one lower bound and compares rows with the other: the last page read all that were before."""
    keys, steps = steps_of_a_page(connection, after)
    assert keys == [key_of(first + offset) for offset in range(count)]
    assert steps < RECORDS // 10

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.store import Record, RecordDamaged
from interlock.store.checksums import SUM_BYTES, check_record, record_sum
from interlock.store.record_rows import find_row
from interlock.store.sqlite import SqliteStore
from interlock.store.sqlite_file import APPLICATION_ID

VALUES = {
    "empty": b"",
    "a number": b"17",
    "no head": b'{"schema":1,"lock":{"token":0,"holders":[]},"head":null}',
    "a lock": b'{"schema":1,"lock":{"token":3,"holders":[{"ticket":"t","token":3}]},"head":{"number":7,"serial":9}}',
}


def _flips(whole: bytes) -> Iterator[bytes]:
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


@pytest.mark.promise("P3")
@pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
def test_each_flipped_bit_of_value_version_key_and_checksum_is_noticed(value: bytes) -> None:
    sum_ = record_sum("state/prod", 41, value)
    assert len(sum_) == SUM_BYTES
    assert check_record("state/prod", 41, value, sum_) == (41, value)
    damaged: list[tuple[object, object, object, object]] = [
        *(("state/prod", 41, flipped, sum_) for flipped in _flips(value)),
        *(("state/prod", 41, value, flipped) for flipped in _flips(sum_)),
        *(("state/prod", 41 ^ 1 << bit, value, sum_) for bit in range(63)),
        *((flipped.decode("latin-1"), 41, value, sum_) for flipped in _flips(b"state/prod")),
        ("state/prod", 41, value[:-1] if value else b"x", sum_),
        ("state/prod", 41, value, b""),
        ("state/prod", -41, value, sum_),
        ("state/prod", 41, value.decode(), sum_),
        ("state/prod", 41, 41, None),
        ("state/prod", 41, None, None),
        ("state/prod", "41", value, None),
        ("state/prod", None, value, None),
        (b"state/prod", 41, value, None),
    ]
    for row in damaged:
        with pytest.raises(RecordDamaged):
            check_record(*row)


def test_a_deleted_record_and_an_empty_one_have_different_checksums() -> None:
    assert record_sum("k", 1, None) != record_sum("k", 1, b"")


@pytest.mark.promise("P3")
async def test_each_flipped_bit_of_a_row_is_noticed(path: Path, store: SqliteStore) -> None:
    await store.records.swap("state/prod", expected=None, value=VALUES["a lock"])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        row = connection.execute("SELECT version, value, sum FROM records").fetchone()
        for column, whole in (("value", row[1]), ("sum", row[2])):
            for flipped in _flips(whole):
                connection.execute(f"UPDATE records SET {column} = ?", (flipped,))  # noqa: S608
                with pytest.raises(RecordDamaged):
                    find_row(connection, "state/prod")
            connection.execute(f"UPDATE records SET {column} = ?", (whole,))  # noqa: S608
        for bit in range(63):
            connection.execute("UPDATE records SET version = ?", (row[0] ^ 1 << bit,))
            with pytest.raises(RecordDamaged):
                find_row(connection, "state/prod")
        connection.execute("UPDATE records SET version = ?", (row[0],))
        assert find_row(connection, "state/prod") == Record(key="state/prod", version=row[0], value=row[1])


def _made_by_an_earlier_release(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(files("interlock.store.migrations").joinpath("sqlite_0001.sql").read_text())
        connection.execute("INSERT INTO records VALUES ('k', 1, ?)", (b"one",))
        connection.execute("UPDATE changes SET number = 1")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("PRAGMA user_version=1")
        connection.commit()


async def test_a_database_without_checksums_opens_and_gets_them_as_it_is_written(path: Path) -> None:
    _made_by_an_earlier_release(path)
    store = await SqliteStore.open(path, clock=SystemClock())
    assert await store.records.get("k") == Record(key="k", version=1, value=b"one")
    await store.records.swap("k", expected=1, value=b"two")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT sum FROM records").fetchall() == [(record_sum("k", 2, b"two"),)]
    await store.close()


async def test_a_process_of_an_earlier_release_may_go_on_beside_a_new_one(path: Path, store: SqliteStore) -> None:
    await store.records.swap("k", expected=None, value=b"one")
    with closing(sqlite3.connect(path)) as connection:  # what release 1 says, in its words
        connection.execute("UPDATE changes SET number = number + 1")
        connection.execute(
            "INSERT INTO records (key, version, value) VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value",
            ("k", 2, b"two"),
        )
        connection.commit()
    assert await store.records.get("k") == Record(key="k", version=2, value=b"two")
    await store.records.swap("k", expected=2, value=b"three")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE records SET value = ?", (b"thref",))
        connection.commit()
    with pytest.raises(RecordDamaged):
        await store.records.get("k")

"""Databases whose rows are not what was written: each use says so, and none fails in a way of its own."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable, InterlockError
from interlock.store import Mismatch, Record
from interlock.store.sqlite import SqliteStore

_BASE = b"".join(b'    "id": "%d", "type": "queue",\n' % number for number in range(300))
_WRONG = ["NULL", "'text'", "CAST(x'ff80' AS TEXT)", "-1", "x'00'", "9223372036854775807"]
_COLUMNS = [
    ("records", "key"),
    ("records", "version"),
    ("records", "value"),
    ("records", "sum"),
    ("changes", "number"),
    ("blobs", "digest"),
    ("blobs", "upload"),
    ("blobs", "plain_bytes"),
    ("blobs", "base"),
    ("parts", "upload"),
    ("parts", "number"),
    ("parts", "data"),
    ("uploads", "started_s"),
]


@dataclass(frozen=True, slots=True)
class _Sample:
    """A whole database; tests spoil copies of it."""

    path: Path
    first: str
    second: str

    def copy(self, path: Path) -> Path:
        path.parent.mkdir(exist_ok=True)
        return Path(shutil.copy(self.path, path))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> _Sample:
    path = tmp_path_factory.mktemp("sample") / "interlock.db"

    async def made() -> _Sample:
        store = await SqliteStore.open(path, clock=SystemClock())
        await store.records.swap("state/a", expected=None, value=b"one")
        first = await store.blobs.put(_BASE)
        second = await store.blobs.put(_BASE + b"more", like=first)
        await store.close()
        return _Sample(path, first, second)

    sample = asyncio.run(made())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO uploads (id, started_s) VALUES (99, 1)")
        connection.commit()
    return sample


def _spoil(path: Path, *statements: str) -> None:
    """Change the database as a failing disk would: without its own checks of what a column may hold."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table'")
        connection.commit()
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def _use(path: Path, sample: _Sample) -> list[InterlockError]:
    """Do everything that a store does; return the refusals."""
    store = await SqliteStore.open(path, clock=SystemClock())
    records, blobs, first, second = store.records, store.blobs, sample.first, sample.second
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: records.get("state/a"),
        lambda: records.list(""),
        lambda: records.watch("state/a", seen=1, timeout_s=0.03),
        lambda: records.watch_prefix("state/", seen=1, timeout_s=0.03),
        lambda: records.swap("state/a", expected=1, value=b"two"),
        lambda: records.swap("state/b", expected=None, value=b"new"),
        lambda: blobs.get(second),
        lambda: blobs.has(first),
        lambda: blobs.size(second),
        lambda: blobs.put(_BASE + b"more"),
        lambda: blobs.put(_BASE + b"other", like=second),
        lambda: blobs.delete(first),
        lambda: blobs.delete(second),
    ]
    refusals: list[InterlockError] = []
    for call in calls:
        try:
            await call()
        except InterlockError as error:
            refusals.append(error)
    await store.close()
    return refusals


@pytest.mark.parametrize(("table", "column"), _COLUMNS, ids=lambda name: name)
async def test_rows_of_the_wrong_kind_are_damage_and_never_a_failure_of_ours(
    path: Path, sample: _Sample, table: str, column: str
) -> None:
    for number, wrong in enumerate(_WRONG):
        own = sample.copy(path.with_name(f"{number}.db"))
        try:
            _spoil(own, f"UPDATE {table} SET {column} = {wrong}")  # noqa: S608
        except sqlite3.IntegrityError:  # two rows must differ there
            continue
        for refusal in await _use(own, sample):
            assert refusal.exit_status in {BackendUnavailable.exit_status, 1}, f"{wrong}: {refusal}"
            assert refusal.exit_status != 1 or refusal.code in {"mismatch", "blob-missing"}, f"{wrong}: {refusal}"
            assert refusal.why or refusal.fix


@pytest.mark.parametrize("table", ["records", "changes", "blobs", "parts", "uploads"])
async def test_a_missing_table_or_column_is_damage(path: Path, sample: _Sample, table: str) -> None:
    for number, statement in enumerate((f"DROP TABLE {table}", f"ALTER TABLE {table} RENAME TO gone")):
        own = sample.copy(path.with_name(f"{number}.db"))
        _spoil(own, statement)
        refusals = await _use(own, sample)
        assert refusals
        assert all(isinstance(refusal, BackendUnavailable) for refusal in refusals), refusals
        assert any("damaged" in refusal.what for refusal in refusals)


async def test_an_empty_counter_of_changes_is_damage(path: Path, sample: _Sample) -> None:
    _spoil(sample.copy(path), "DELETE FROM changes")
    assert all(isinstance(refusal, BackendUnavailable) for refusal in await _use(path, sample))


async def test_faults_names_each_damaged_record_and_goes_on(path: Path, sample: _Sample) -> None:
    store = await SqliteStore.open(sample.copy(path), clock=SystemClock())
    assert await store.faults() == ()
    for number in range(4):
        await store.records.swap(f"state/{number}", expected=None, value=b"x")
    await store.close()
    _spoil(
        path,
        "UPDATE records SET value = 'x' WHERE key = 'state/1'",
        "UPDATE records SET value = x'00' WHERE key = 'state/2'",
        "UPDATE records SET key = CAST(x'ff' AS TEXT) WHERE key = 'state/3'",
    )
    store = await SqliteStore.open(path, clock=SystemClock())
    faults = await store.faults()
    assert len(faults) == 3
    assert sorted(fault.key for fault in faults if fault.key) == ["state/1", "state/2", "\ufffd"]
    await store.close()


async def test_only_a_record_that_cannot_be_read_is_replaced(path: Path, sample: _Sample) -> None:
    store = await SqliteStore.open(sample.copy(path), clock=SystemClock())
    for key in ("state/a", "state/absent"):
        with pytest.raises(Mismatch):
            await store.records.replace_damaged(key, b"new")
    await store.close()
    _spoil(path, "UPDATE records SET value = x'00' WHERE key = 'state/a'")
    store = await SqliteStore.open(path, clock=SystemClock())
    version = await store.records.replace_damaged("state/a", b"new")
    assert await store.records.get("state/a") == Record(key="state/a", version=version, value=b"new")
    await store.close()

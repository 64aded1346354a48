from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable, InterlockError, UsageError
from interlock.store import sqlite_file
from interlock.store.sqlite import SqliteStore
from interlock.store.sqlite_file import APPLICATION_ID, SCHEMA_VERSION, open_file, translate


def _complete(error: InterlockError) -> bool:
    return bool(error.what and error.why and error.fix)


def _made(path: Path) -> Path:
    open_file(path, clock=SystemClock())
    return path


def test_the_file_and_its_folder_are_for_the_owner_alone(path: Path) -> None:
    _made(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_the_log_beside_it_is_for_the_owner_alone(path: Path, store: SqliteStore) -> None:
    await store.records.swap("k", expected=None, value=b"secret")
    for name in (f"{path}-wal", f"{path}-shm"):
        assert Path(name).stat().st_mode & 0o777 == 0o600


def test_an_existing_file_of_ours_is_closed_to_others(path: Path) -> None:
    _made(path).chmod(0o644)
    _made(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    _made(tmp_path / "interlock.db")
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    _made(tmp_path / "empty")
    with closing(sqlite3.connect(tmp_path / "empty")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_opening_again_changes_nothing(path: Path) -> None:
    with closing(sqlite3.connect(_made(path))) as connection:
        connection.execute("UPDATE changes SET number = 41")
        connection.commit()
    _made(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT number FROM changes").fetchone() == (41,)


async def test_many_may_create_it_at_once(path: Path) -> None:
    stores = await asyncio.gather(*(SqliteStore.open(path, clock=SystemClock()) for _ in range(6)))
    version = await stores[0].records.swap("k", expected=None, value=b"one")
    assert [(await store.records.get("k") or pytest.fail("absent")).version for store in stores] == [version] * 6
    for store in stores:
        await store.close()


def test_a_path_with_odd_characters_works(tmp_path: Path) -> None:
    path = _made(tmp_path / "wäh? rung#1%20&x" / "a b.db")
    assert path.stat().st_size > 0


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        _made(tmp_path)
    assert _complete(refusal.value)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"dear diary, " * 1000)
    with pytest.raises(UsageError) as refusal:
        _made(path)
    assert _complete(refusal.value)
    assert path.read_bytes() == b"dear diary, " * 1000


def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "foreign.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE records (mine TEXT)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="not Interlock's"):
        _made(path)
    assert path.read_bytes() == before


def test_a_newer_database_is_refused_and_left_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(_made(path))) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="newer"):
        _made(path)
    assert path.read_bytes() == before


def test_a_read_only_database_is_refused(open_folder: Path, unprivileged: None) -> None:
    path = open_folder / "interlock.db"
    mine = os.geteuid()
    if mine == os.getuid():
        _made(path).chmod(0o400)
        open_folder.chmod(0o500)
    else:
        os.seteuid(os.getuid())
        _made(path).chmod(0o444)
        os.seteuid(mine)
    with pytest.raises(UsageError, match="read-only") as refusal:
        _made(path)
    assert _complete(refusal.value)


def test_an_unreadable_database_is_reported(open_folder: Path, unprivileged: None) -> None:
    path = open_folder / "interlock.db"
    mine = os.geteuid()
    os.seteuid(os.getuid())
    path.touch(mode=0o000)
    os.seteuid(mine)
    with pytest.raises(BackendUnavailable) as refusal:
        _made(path)
    assert _complete(refusal.value)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackendUnavailable) as refusal:
        _made(tmp_path / "file" / "interlock.db")
    assert _complete(refusal.value)


def test_a_half_written_creation_is_completed(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:  # killed after the log was chosen, before the tables were made
        connection.execute("PRAGMA journal_mode=WAL")
    _made(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (0,)


@pytest.mark.promise("P3")
@pytest.mark.parametrize("begins", range(SCHEMA_VERSION))
def test_a_migration_killed_at_any_statement_is_finished_by_the_next_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins: int
) -> None:
    """At each statement the files are copied as a kill would leave them."""
    path = _begun(tmp_path / "whole" / "interlock.db", begins)
    copies: list[Path] = []

    def copying(place: Path) -> sqlite3.Connection:
        connection = connect(place)

        def copy(_statement: str) -> None:
            copies.append(tmp_path / f"killed{len(copies)}")
            shutil.copytree(path.parent, copies[-1])

        connection.set_trace_callback(copy)
        return connection

    connect = sqlite_file._connect
    monkeypatch.setattr(sqlite_file, "_connect", copying)
    _made(path)
    monkeypatch.setattr(sqlite_file, "_connect", connect)
    whole = _tables(path)
    assert len(copies) > 10
    for folder in copies:
        assert _tables(_made(folder / "interlock.db")) == whole, folder


def _begun(path: Path, version: int) -> Path:
    """Make a file as a release of that schema left it, with a record; 0 makes an empty one."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for number in range(1, version + 1):
            text = files("interlock.store.migrations").joinpath(f"sqlite_{number:04}.sql").read_text()
            connection.executescript(text)
            connection.execute(
                "INSERT INTO records (key, version, value) VALUES ('k', 1, x'01') ON CONFLICT DO NOTHING"
            )
        if version:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={version}")
    return path


def _tables(path: Path) -> tuple[list[tuple[str]], list[tuple[bytes]], int]:
    with closing(sqlite3.connect(path)) as connection:
        schema = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
        records = connection.execute("SELECT value FROM records").fetchall()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    return schema, records, version


async def test_a_damaged_database_is_reported_and_nothing_is_made_up(path: Path) -> None:
    store = await SqliteStore.open(path, clock=SystemClock())
    for number in range(200):
        await store.records.swap(f"k{number:03}", expected=None, value=b"x" * 1000)
    await store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + bytes(len(whole) - 8192))
    with pytest.raises(BackendUnavailable, match="damaged") as refusal:
        await _read_all(path)
    assert _complete(refusal.value)


async def test_a_truncated_database_is_reported(path: Path) -> None:
    store = await SqliteStore.open(path, clock=SystemClock())
    for number in range(200):
        await store.records.swap(f"k{number:03}", expected=None, value=b"x" * 1000)
    await store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackendUnavailable):
        await _read_all(path)


async def _read_all(path: Path) -> None:
    store = await SqliteStore.open(path, clock=SystemClock())
    try:
        await store.records.list("")
    finally:
        await store.close()


async def test_a_removed_database_acknowledges_nothing_more(path: Path, store: SqliteStore) -> None:
    version = await store.records.swap("k", expected=None, value=b"one")
    path.rename(path.with_suffix(".away"))
    for replaced in (False, True):
        if replaced:
            _made(path)
        with pytest.raises(BackendUnavailable, match="gone"):
            await store.records.swap("k", expected=version, value=b"two")
        with pytest.raises(BackendUnavailable, match="gone"):
            await store.records.get("k")


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (sqlite3.SQLITE_FULL, "full"),
        (sqlite3.SQLITE_BUSY, "busy"),
        (sqlite3.SQLITE_IOERR_FSYNC, "cannot be used"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "damaged"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "read-only"),
        (sqlite3.SQLITE_CANTOPEN, "opened"),
        (sqlite3.SQLITE_PERM, "opened"),
        (sqlite3.SQLITE_NOTADB, "not a database"),
        (999, "cannot be used"),
    ],
)
def test_each_failure_of_sqlite_has_three_parts(code: int, word: str) -> None:
    error = sqlite3.OperationalError("some words")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_X"
    said = translate(error, Path("/x/interlock.db"))
    assert word in said.what
    assert _complete(said)


def test_a_full_disk_is_named() -> None:
    assert "full" in translate(OSError(28, "No space left on device"), Path("/x")).what

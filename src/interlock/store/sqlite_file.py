"""The database file: creates it, opens connections, brings its schema up to date, names what is wrong with it.

A hand: it touches the disk. The file must be on a local disk, since SQLite's write-ahead log shares memory between
processes. Promises: the file is created with mode 0600 and its folder with 0700; every commit is on the disk before it
is acknowledged (`synchronous=FULL`); a database that is not ours, or is newer than this program, is never written to.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from interlock.clock import Clock
from interlock.errors import BackendUnavailable, InterlockError, UsageError
from interlock.store.ballast import give_up_ballast, is_full
from interlock.store.records import StoreGone
from interlock.trust.ownership import make_folder

BUSY_S_MAX = 30.0
"""Longest wait for another process that is writing. A write takes milliseconds; this long means it was stopped."""

APPLICATION_ID = 0x494C4B31  # "ILK1" in SQLite's header, so that a foreign database is recognised
SCHEMA_VERSION = 2
TORN_S_MAX = 2.0
"""Longest wait for the log of a database that is in use: whoever opens one makes it within milliseconds."""
_RETRY_S = 0.001  # far below SQLite's own 100 ms steps: the queue's hand-over is made of such waits
_RETRY_S_MAX = 0.008
_WAL_BYTES_KEPT = 64 * 1024 * 1024  # a longer log is cut back after a checkpoint
_BUSY_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

_T = TypeVar("_T")


class SqliteFile(Struct, frozen=True, kw_only=True):
    """One database file that was found usable.

    Attributes:
        path: Where it is.
        inodes: Device and inode of each file by its name, by which one that was removed or replaced is noticed: the
            database, and while an anchor is open also its log and the index of that.
        process: The process that opened it, by which a fork is noticed.
    """

    path: Path
    inodes: Mapping[str, tuple[int, int]]
    process: int
    clock: Clock

    def check_process(self) -> None:
        """Refuse to go on in a forked child: SQLite's connections and our threads do not survive a fork.

        Raises:
            UsageError: Another process opened the file.
        """
        if os.getpid() != self.process:
            raise UsageError(
                "the store belongs to another process",
                why="it was opened before a fork",
                fix="open the store in the new process",
            )

    def connect(self) -> sqlite3.Connection:
        """Open one more connection; each belongs to one thread at a time.

        Raises:
            InterlockError: The file cannot be opened.
        """
        with translated(self.path):
            return _connect(self.path)

    def anchored(self) -> tuple[SqliteFile, sqlite3.Connection]:
        """Open a connection that keeps the log and its index in place until it is closed, and note which they are.

        SQLite removes both when the last connection closes, and only then; while ours is open they never change.

        Raises:
            InterlockError: The file cannot be opened.
        """
        anchor = self.connect()
        try:
            with translated(self.path):
                _read_once(anchor)
                names = [str(self.path), *_names_beside(self.path)]
                return replace(self, inodes={name: _inode(name) for name in names}), anchor
        except BaseException:
            anchor.close()
            raise

    def check_in_place(self) -> None:
        """Refuse to go on when a file is no longer there: writes to it would be acknowledged and then lost.

        Without the log, another process that opens the database would not see what was written last, such as a grant.
        Three `stat` calls: 3 to 10 microseconds.

        Raises:
            StoreGone: One was removed or replaced.
        """
        for name, inode in self.inodes.items():
            try:
                found = _inode(name)
            except OSError:
                found = None
            if found != inode:
                raise StoreGone(
                    f"the database {self.path} is gone",
                    why=f"{name} was removed or replaced while it was in use",
                    fix="start again; nothing more is written to what was removed",
                    path=str(self.path),
                )

    def patiently(self, action: Callable[[], _T]) -> _T:
        """Repeat `action` while another process is writing, at most `BUSY_S_MAX` seconds."""
        return _patiently(action, clock=self.clock)


class translated:  # noqa: N801 - reads as a word in `with translated(path):`
    """Turns errors of SQLite and the disk into ours, at the hand that met them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Replace the error, keeping it as the cause."""
        if isinstance(error, sqlite3.Error | OSError):
            raise translate(error, self._path) from error


def open_file(path: Path, *, clock: Clock) -> SqliteFile:
    """Create the database if there is none, and bring its schema up to date.

    Raises:
        UsageError: It is a folder, another program's database, read-only, or newer than this program.
        BackendUnavailable: It cannot be reached, is damaged, or the disk is full.
    """
    path = path.absolute()
    try:
        return _opened(path, clock=clock)
    except BackendUnavailable as error:
        cause = error.__cause__
        if cause is None or not (is_full(cause, path) and give_up_ballast(path)):
            raise
    return _opened(path, clock=clock)


def _opened(path: Path, *, clock: Clock) -> SqliteFile:
    with translated(path):
        _create(path)
        _refuse_torn(path, clock=clock)
        connection = _connect(path)
        try:
            _prepare(connection, path, clock=clock)
        finally:
            connection.close()
        return SqliteFile(path=path, inodes={str(path): _inode(path)}, process=os.getpid(), clock=clock)


def translate(error: sqlite3.Error | OSError, path: Path) -> InterlockError:
    """Say what an error of SQLite or the disk means for the reader."""
    if isinstance(error, OSError):
        return _translate_os(error, path)
    if is_full(error, path):
        return _full(path, f"SQLite says: {error}")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    facts = {"path": str(path), "sqlite": getattr(error, "sqlite_errorname", type(error).__name__)}
    if code in _BUSY_CODES:
        return BackendUnavailable(
            f"the database {path} stayed busy",
            why=f"another process kept it locked for {BUSY_S_MAX:.0f} seconds; it may be stopped",
            fix=f"find it with: fuser -v {path}",
            **facts,
        )
    what, fix, kind = _FAULTS.get(code, _OTHER_FAULT)
    return kind(f"the database {path} {what}", why=f"SQLite says: {error}", fix=fix.format(path=path), **facts)


_FAULTS: dict[int, tuple[str, str, type[InterlockError]]] = {
    sqlite3.SQLITE_READONLY: (
        "is read-only",
        "give yourself write permission on the file and its folder: ls -ld {path}",
        UsageError,
    ),
    **dict.fromkeys(
        # No statement of ours is wrong, so these mean that the tables or their rows are not those that we made.
        (
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_ERROR,
            sqlite3.SQLITE_CONSTRAINT,
            sqlite3.SQLITE_MISMATCH,
            sqlite3.SQLITE_FORMAT,
            sqlite3.SQLITE_SCHEMA,
        ),
        ("is damaged", "interlock doctor", BackendUnavailable),
    ),
    sqlite3.SQLITE_NOTADB: (
        "is not a database",
        "name another file; this one was left as it is",
        UsageError,
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened",
        "check the path and your permission on the file and its folder: ls -ld {path}",
        BackendUnavailable,
    ),
    sqlite3.SQLITE_PERM: (
        "may not be opened",
        "check your permission on the file and its folder: ls -ld {path}",
        BackendUnavailable,
    ),
}
_OTHER_FAULT = (
    "cannot be used",
    "check the disk under {path}: is it full, failing or a network share?",
    BackendUnavailable,
)


def _full(path: Path, why: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"the database {path} could not grow: the disk is full",
        why=f"{why}; nothing that was acknowledged is lost",
        fix=f"df -h {path.parent}    free space there, then try again",
        path=str(path),
    )


def _translate_os(error: OSError, path: Path) -> InterlockError:
    if is_full(error, path):
        return _full(path, error.strerror or str(error))
    what, fix, kind = _FAULTS[sqlite3.SQLITE_CANTOPEN]
    why = error.strerror or "input/output error"
    return kind(f"the database {path} {what}", why=why, fix=fix.format(path=path), path=str(path))


def _create(path: Path) -> None:
    if path.is_dir():
        raise UsageError(
            f"the database {path} is a folder", why="a file is needed", fix=f"name a file, such as {path}/interlock.db"
        )
    if not path.parent.exists():
        make_folder(path.parent)
    try:
        # Never opens an existing file: closing that descriptor would drop the locks of our other connections to it.
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        _tighten(path)
        return
    os.close(descriptor)
    _sync_folder(path.parent)


def _tighten(path: Path) -> None:
    found = path.stat()
    if found.st_mode & 0o077 and found.st_uid == os.geteuid() and path.is_file():
        path.chmod(0o600)  # states hold secrets


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)  # else a power cut could forget the file with everything in it
    finally:
        os.close(descriptor)


def _connect(path: Path) -> sqlite3.Connection:
    # `mode=rw`: never creates, so a file that vanished is an error instead of an empty database.
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=BUSY_S_MAX,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for pragma in (
            "synchronous=FULL",
            "fullfsync=ON",  # macOS: a plain fsync stops in the drive's cache
            "checkpoint_fullfsync=ON",
            "trusted_schema=OFF",
            "cell_size_check=ON",
            f"journal_size_limit={_WAL_BYTES_KEPT}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, clock: Clock) -> None:
    # The questions about the schema are asked within one transaction each: between two of them, another process that
    # creates the same database may commit, and a half-seen database would look like somebody else's.
    with _transaction(connection, "BEGIN", clock=clock):
        is_current = _schema_version(connection, path) == SCHEMA_VERSION
    _patiently(lambda: _use_log(connection, path), clock=clock)
    if not is_current:
        with _transaction(connection, "BEGIN IMMEDIATE", clock=clock):
            _migrate(connection, _schema_version(connection, path))


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str, *, clock: Clock) -> Iterator[None]:
    _patiently(lambda: connection.execute(begin), clock=clock)
    try:
        yield
        _patiently(lambda: connection.execute("COMMIT"), clock=clock)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema's number, 0 for an empty database. Runs in a transaction.

    Raises:
        UsageError: The database is another program's, or newer.
    """
    owner = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    if owner != APPLICATION_ID:
        if owner == version == _number(connection, "SELECT count(*) FROM sqlite_master") == 0:
            return 0
        raise UsageError(
            f"the database {path} is not Interlock's",
            why="it is another program's SQLite database and was left as it is",
            fix="name another file, or let Interlock make a new one",
            path=str(path),
        )
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"the database {path} is newer than this program",
            why=f"its schema is version {version}, this program knows {SCHEMA_VERSION}",
            fix="upgrade Interlock: pip install --upgrade interlock",
            path=str(path),
        )
    return version


def _use_log(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise BackendUnavailable(
            f"the database {path} cannot be used",
            why=f"its disk does not allow a write-ahead log (mode {mode}); is it a network share?",
            fix="put it on a local disk, or use a server: interlock serve",
            path=str(path),
        )


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    from importlib.resources import files

    for number in range(version + 1, SCHEMA_VERSION + 1):
        text = files("interlock.store.migrations").joinpath(f"sqlite_{number:04}.sql").read_text(encoding="utf-8")
        for statement in text.split(";\n"):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _number(connection: sqlite3.Connection, question: str) -> int:
    (number,) = connection.execute(question).fetchone()
    return int(number)


def _inode(path: Path | str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - before and after every transaction, and twice as fast as Path.stat
    return found.st_dev, found.st_ino


def _names_beside(path: Path) -> tuple[str, str]:
    """Return the names of SQLite's log and of the index of that."""
    return f"{path}-wal", f"{path}-shm"


def _read_once(connection: sqlite3.Connection) -> None:
    """Make SQLite open its log, which it does not do before the first read."""
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _refuse_torn(path: Path, *, clock: Clock) -> None:
    """Refuse a database whose log somebody removed while another process uses it.

    We would make a new log, know nothing of what is in that of the other process, and grant a lock that it holds.
    Whoever uses the database keeps it locked against an exclusive reader, so one look tells; it is only needed when a
    file is missing, which is also so when nobody uses the database.

    Raises:
        BackendUnavailable: That is so.
    """
    pause = threading.Event()
    until = clock.monotonic() + TORN_S_MAX
    while path.stat().st_size and not all(map(os.path.exists, _names_beside(path))):
        if _is_unused(path):
            return
        if clock.monotonic() >= until:  # others that open it in this moment need far less
            raise BackendUnavailable(
                f"the log of the database {path} is gone",
                why="another process uses the database, and its -wal or -shm file was removed meanwhile",
                fix=f"fuser -v {path}    end those processes, then try again",
                path=str(path),
            )
        pause.wait(_RETRY_S_MAX)


def _is_unused(path: Path) -> bool:
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=0)) as connection:
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            _read_once(connection)
        except sqlite3.DatabaseError as error:
            return not is_busy(error)  # what else is wrong, the ordinary opening says
    return True


def _patiently(action: Callable[[], _T], *, clock: Clock) -> _T:
    try:
        return action()  # nearly always; every write of a lock passes here twice
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
    pause = threading.Event()
    wait_s = _RETRY_S
    until = clock.monotonic() + BUSY_S_MAX
    while True:
        pause.wait(wait_s)
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or clock.monotonic() >= until:
                raise
        wait_s = min(wait_s * 1.5, _RETRY_S_MAX)


def is_busy(error: sqlite3.Error) -> bool:
    """Say whether another connection merely was first."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY_CODES

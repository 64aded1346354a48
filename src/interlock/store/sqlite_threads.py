"""The threads that own SQLite connections: one that writes for everybody, one that reads.

A hand: it touches threads. A caller hands in a job (a function of a connection) and gets a future. The writer takes
all jobs that wait and commits them together, so that one wait for the disk serves many; each job still has its own
outcome.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from msgspec import Struct

from interlock.errors import InterlockError
from interlock.store.ballast import give_up_ballast, is_full
from interlock.store.sqlite_file import SqliteFile, translate

GROUP_MAX = 128
"""Most jobs in one commit: bounds what a failed commit has to repeat, and how long other processes wait."""

_T = TypeVar("_T")


class _Promise(Generic[_T]):
    """What a thread has of an answer that an event loop waits for. A `Future` of threads costs half of a short job."""

    __slots__ = ("_loop", "future")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[_T] = self._loop.create_future()

    def set_running_or_notify_cancel(self) -> bool:
        """See `Future`. Whoever leaves later leaves the job as it is."""
        return not self.future.cancelled()

    def set_result(self, result: _T) -> None:
        """See `Future`."""
        self._call(partial(_answer, self.future, result))

    def set_exception(self, error: BaseException) -> None:
        """See `Future`."""
        self._call(partial(_refuse, self.future, error))

    def _call(self, settle: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended, so nobody waits
            self._loop.call_soon_threadsafe(settle)


def _answer(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():
        future.set_result(result)


def _refuse(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


class _Job(Struct, Generic[_T], frozen=True, kw_only=True):
    work: Callable[[sqlite3.Connection], _T]
    future: Future[_T] | _Promise[_T]


class _Outcome(Struct, frozen=True, kw_only=True):
    value: Any = None
    refusal: InterlockError | None = None


class SqliteThread(ABC):
    """One thread with one connection; jobs are done in the order in which they were handed in."""

    def __init__(self, file: SqliteFile, *, name: str) -> None:
        self._file = file
        self._connection = self._connect()
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        # Daemonic: a program that ends without close() must not hang; whatever was acknowledged is on the disk.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[sqlite3.Connection], _T]) -> Future[_T]:
        """Hand in a job. Its future holds what `work` returned, or an `InterlockError`.

        A future that is cancelled before its turn is not done at all; later, cancelling does nothing.
        """
        future: Future[_T] = Future()
        self._jobs.put(_Job(work=work, future=future))
        return future

    def ask(self, work: Callable[[sqlite3.Connection], _T]) -> asyncio.Future[_T]:
        """Hand in a job, as `submit`, for the running event loop."""
        promise: _Promise[_T] = _Promise()
        self._jobs.put(_Job(work=work, future=promise))
        return promise.future

    def close(self) -> None:
        """Finish what was handed in, then end the thread and its connection. Blocks; calls come once."""
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _connect(self) -> sqlite3.Connection:
        return self._file.connect()

    def _loop(self) -> None:
        while self._take_turn():
            pass

    def _take_turn(self) -> bool:
        """Do the jobs that wait; False when the thread shall end."""
        job = self._jobs.get()
        if job is None:
            return False
        jobs = [job]
        ends = False
        while len(jobs) < GROUP_MAX and not ends:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            ends = job is None
            if job is not None:
                jobs.append(job)
        self._perform([job for job in jobs if job.future.set_running_or_notify_cancel()])
        return not ends

    @abstractmethod
    def _perform(self, jobs: list[_Job[Any]]) -> None:
        """Do the jobs and settle their futures; nothing may escape."""


class SqliteReader(SqliteThread):
    """Runs jobs that only read, each by itself."""

    def _perform(self, jobs: list[_Job[Any]]) -> None:
        for job in jobs:
            try:
                result = job.work(self._connection)
                self._file.check_in_place()  # once, afterwards: what was read from a removed file is never told
                job.future.set_result(result)
            except BaseException as error:  # noqa: BLE001 - the future carries it to the caller
                job.future.set_exception(_known(error, self._file))


class SqliteWriter(SqliteThread):
    """Runs jobs that write, as many as wait in one transaction."""

    def __init__(self, file: SqliteFile, *, name: str) -> None:
        super().__init__(file, name=name)
        self._is_broken = False

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.execute("PRAGMA busy_timeout=0")  # `patiently` waits in shorter steps than SQLite does
        return connection

    def _perform(self, jobs: list[_Job[Any]]) -> None:
        if not jobs:
            return
        try:
            outcomes = self._commit_with_room(jobs)
        except BaseException as error:  # noqa: BLE001 - the futures carry it to the callers
            self._perform_apart(jobs, error)
            return
        for job, outcome in zip(jobs, outcomes, strict=True):
            if outcome.refusal is None:
                job.future.set_result(outcome.value)
            else:
                job.future.set_exception(outcome.refusal)

    def _perform_apart(self, jobs: list[_Job[Any]], error: BaseException) -> None:
        """After a failed commit: let each job try alone, so that one that cannot succeed spoils none of the others."""
        if len(jobs) == 1:
            jobs[0].future.set_exception(_known(error, self._file))
            return
        for job in jobs:
            self._perform([job])

    def _commit_with_room(self, jobs: list[_Job[Any]]) -> list[_Outcome]:
        """Commit; on a full disk give up the ballast and commit again."""
        try:
            return self._commit_together(jobs)
        except (sqlite3.Error, OSError) as error:
            if not (is_full(error, self._file.path) and give_up_ballast(self._file.path)):
                raise
        return self._commit_together(jobs)

    def _commit_together(self, jobs: list[_Job[Any]]) -> list[_Outcome]:
        self._file.check_in_place()
        self._mend()
        self._file.patiently(lambda: self._connection.execute("BEGIN IMMEDIATE"))
        try:
            outcomes = [self._outcome(job) for job in jobs]
            self._file.patiently(lambda: self._connection.execute("COMMIT"))
        except BaseException:
            self._roll_back()
            raise
        self._file.check_in_place()  # else it was written to a log that nobody will find
        return outcomes

    def _outcome(self, job: _Job[Any]) -> _Outcome:
        try:
            return _Outcome(value=job.work(self._connection))
        except InterlockError as refusal:  # refused before anything was written; the others go on
            return _Outcome(refusal=refusal)

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:  # a full or failing disk
            self._is_broken = True

    def _mend(self) -> None:
        if self._is_broken:  # a fresh connection starts without the transaction that could not be rolled back
            self._connection.close()
            self._connection = self._connect()
            self._is_broken = False


def _known(error: BaseException, file: SqliteFile) -> BaseException:
    if not isinstance(error, sqlite3.Error | OSError):
        return error
    known = translate(error, file.path)
    known.__cause__ = error
    return known

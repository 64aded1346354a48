from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable, UsageError
from interlock.store.sqlite_file import open_file
from interlock.store.sqlite_threads import SqliteWriter

PATIENCE_S = 20.0


class _Bench:
    """A writer that can be held up, and the statements that it ran."""

    def __init__(self, path: Path) -> None:
        self.writer = SqliteWriter(open_file(path, clock=SystemClock()), name="test")
        self.statements: list[str] = []
        self.gate = threading.Event()
        self.entered = threading.Event()

    def hold(self) -> Future[None]:
        def wait(connection: sqlite3.Connection) -> None:
            self.entered.set()
            self.gate.wait(PATIENCE_S)
            connection.set_trace_callback(self.statements.append)

        held = self.writer.submit(wait)
        self.entered.wait(PATIENCE_S)
        return held

    def commits(self) -> int:
        return self.statements.count("COMMIT") - 1  # without that of the job which held the writer up


@pytest.fixture
def bench(path: Path) -> Iterator[_Bench]:
    bench = _Bench(path)
    yield bench
    bench.gate.set()
    bench.writer.close()


def _insert(key: str) -> Callable[[sqlite3.Connection], str]:
    def work(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO records (key, version, value) VALUES (?, 1, x'')", (key,))
        return key

    return work


def _refuse(_connection: sqlite3.Connection) -> str:
    raise UsageError("no", why="because", fix="do not")


def _fail(connection: sqlite3.Connection) -> str:
    return str(connection.execute("INSERT INTO nowhere VALUES (1)"))


def _keys(bench: _Bench) -> list[str]:
    return bench.writer.submit(
        lambda connection: [key for (key,) in connection.execute("SELECT key FROM records ORDER BY key")]
    ).result(PATIENCE_S)


def test_jobs_that_wait_together_share_one_commit(bench: _Bench) -> None:
    bench.hold()
    futures = [bench.writer.submit(_insert(f"k{number}")) for number in range(20)]
    bench.gate.set()
    assert [future.result(PATIENCE_S) for future in futures] == [f"k{number}" for number in range(20)]
    assert bench.commits() == 1


def test_a_refused_job_does_not_disturb_the_others(bench: _Bench) -> None:
    bench.hold()
    first, refused, last = (bench.writer.submit(job) for job in (_insert("a"), _refuse, _insert("b")))
    bench.gate.set()
    assert (first.result(PATIENCE_S), last.result(PATIENCE_S)) == ("a", "b")
    assert isinstance(refused.exception(PATIENCE_S), UsageError)
    assert bench.commits() == 1


def test_a_failing_job_does_not_disturb_the_others(bench: _Bench) -> None:
    bench.hold()
    first, failed, last = (bench.writer.submit(job) for job in (_insert("a"), _fail, _insert("b")))
    bench.gate.set()
    assert (first.result(PATIENCE_S), last.result(PATIENCE_S)) == ("a", "b")
    assert isinstance(failed.exception(PATIENCE_S), BackendUnavailable)
    assert _keys(bench) == ["a", "b"]


def test_a_job_cancelled_before_its_turn_is_not_done(bench: _Bench) -> None:
    bench.hold()
    kept, gone = (bench.writer.submit(_insert(key)) for key in ("kept", "gone"))
    assert gone.cancel()
    bench.gate.set()
    kept.result(PATIENCE_S)
    with pytest.raises(CancelledError):
        gone.result(PATIENCE_S)
    assert _keys(bench) == ["kept"]


def test_closing_finishes_what_was_handed_in(path: Path) -> None:
    bench = _Bench(path)
    bench.hold()
    futures = [bench.writer.submit(_insert(f"k{number}")) for number in range(5)]
    bench.gate.set()
    bench.writer.close()
    assert [future.result(0) for future in futures] == [f"k{number}" for number in range(5)]


def test_a_writer_goes_on_after_a_transaction_that_could_not_be_rolled_back(bench: _Bench) -> None:
    bench.writer._is_broken = True
    assert bench.writer.submit(_insert("a")).result(PATIENCE_S) == "a"
    assert _keys(bench) == ["a"]


async def test_an_event_loop_is_told_what_its_job_returned_or_why_it_was_refused(bench: _Bench) -> None:
    assert await bench.writer.ask(_insert("k")) == "k"
    with pytest.raises(UsageError, match="no"):
        await bench.writer.ask(_refuse)


async def test_a_job_that_an_event_loop_gave_up_before_its_turn_is_not_done(bench: _Bench) -> None:
    bench.hold()
    left, kept = bench.writer.ask(_insert("left")), bench.writer.ask(_insert("kept"))
    left.cancel()
    bench.gate.set()
    assert await kept == "kept"
    assert await asyncio.to_thread(_keys, bench) == ["kept"]


def test_a_job_whose_event_loop_has_ended_is_done_and_harms_no_other(bench: _Bench) -> None:
    async def hand_in() -> None:
        bench.writer.ask(_insert("k"))

    bench.hold()
    asyncio.run(hand_in())
    bench.gate.set()
    assert _keys(bench) == ["k"]

"""Tests of sending a run's journal while it grows."""

from __future__ import annotations

import asyncio
from pathlib import Path

from interlock.errors import BackendUnavailable
from interlock.run.order import Operation, Order, encode
from interlock.run.streaming import RETRY_S, Stream, send_ends
from interlock.run.summary import Summary, write_summary
from interlock.testing.clock import START, FakeClock, settle


class Record:
    """Keeps what it is told; may be away."""

    def __init__(self) -> None:
        self.journal = b""
        self.summary = b""
        self.ended = False
        self.is_away = False
        self.loses_answers = 0

    async def tell(self, run: str, state: str, summary: bytes, *, ended: bool) -> int:
        self._check()
        assert (run, state) == ("r", "prod")
        self.summary, self.ended = summary, ended
        return len(self.journal)

    async def append(self, run: str, state: str, offset: int, text: bytes) -> int:
        self._check()
        assert (run, state) == ("r", "prod")
        if offset == len(self.journal):
            self.journal += text
        if self.loses_answers:
            self.loses_answers -= 1
            raise BackendUnavailable("the answer was lost")
        return len(self.journal)

    def _check(self) -> None:
        if self.is_away:
            raise BackendUnavailable("away")


def begun(folder: Path, record: Record, clock: FakeClock) -> Stream:
    (folder / "summary.json").write_bytes(b'{"phase":"queued"}')
    (folder / "journal.jsonl").write_bytes(b'{"one":1}\n')
    return Stream(folder, run="r", state="prod", record=record, clock=clock)


def add(folder: Path, text: bytes) -> None:
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(text)


async def rung(stream: Stream, clock: FakeClock, seconds: float) -> None:
    sending = asyncio.create_task(stream.keep_sending())
    stream.ring()
    for _ in range(int(seconds * 10)):
        await asyncio.sleep(0.002)  # files are read in threads
        await clock.advance(0.1)
    sending.cancel()
    await settle()


async def test_what_a_journal_says_is_sent_in_whole_lines(tmp_path: Path) -> None:
    record, clock = Record(), FakeClock()
    stream = begun(tmp_path, record, clock)
    await stream.send()
    add(tmp_path, b'{"two":2}\n{"half')
    await stream.send()
    assert record.journal == b'{"one":1}\n{"two":2}\n'
    assert record.summary == b'{"phase":"queued"}'
    assert not record.ended


async def test_a_piece_whose_answer_was_lost_is_there_once(tmp_path: Path) -> None:
    record, clock = Record(), FakeClock()
    record.loses_answers = 1
    stream = begun(tmp_path, record, clock)
    await rung(stream, clock, RETRY_S + 1)
    assert record.journal == b'{"one":1}\n'


async def test_what_could_not_be_sent_is_sent_with_the_next_piece(tmp_path: Path) -> None:
    record, clock = Record(), FakeClock()
    stream = begun(tmp_path, record, clock)
    record.is_away = True
    await rung(stream, clock, 1)
    record.is_away = False
    add(tmp_path, b'{"two":2}\n')
    await rung(stream, clock, RETRY_S + 1)
    assert record.journal == b'{"one":1}\n{"two":2}\n'


async def test_the_end_is_told_after_the_whole_journal(tmp_path: Path) -> None:
    record, clock = Record(), FakeClock()
    stream = begun(tmp_path, record, clock)
    await stream.finish()
    assert (record.journal, record.ended) == (b'{"one":1}\n', True)


async def test_a_server_that_is_away_does_not_keep_a_run_that_has_ended(tmp_path: Path) -> None:
    record, clock = Record(), FakeClock()
    record.is_away = True
    await begun(tmp_path, record, clock).finish()
    assert not record.ended


def ended(runs: Path, *, server: str, exit_: int | None = 131) -> Path:
    folder = runs / "r"
    folder.mkdir(parents=True)
    order = Order(
        run="r", operation=Operation.APPLY, directory="/d", state="prod", who="me", home=str(runs.parent), server=server
    )
    (folder / "order.json").write_bytes(encode(order))
    (folder / "journal.jsonl").write_bytes(b'{"one":1}\n')
    summary = Summary(
        run="r", state="prod", operation="apply", who="me", directory="/d", phase="ended", started_at=START
    )
    summary.exit = exit_
    write_summary(folder, summary)
    return folder


async def test_an_end_that_its_run_could_not_tell_is_told_later_and_once(tmp_path: Path) -> None:
    record, clock = Record(), FakeClock()
    ended(tmp_path / "runs", server="https://s")
    record.is_away = True
    await send_ends(tmp_path / "runs", server="https://s", record=record, clock=clock)
    assert not record.ended
    record.is_away = False
    await send_ends(tmp_path / "runs", server="https://s", record=record, clock=clock)
    assert (record.ended, record.journal) == (True, b'{"one":1}\n')
    record.ended = False
    await send_ends(tmp_path / "runs", server="https://s", record=record, clock=clock)
    assert not record.ended, "it was sent already"


async def test_no_end_is_told_of_a_run_that_goes_on_or_is_of_another_server(tmp_path: Path) -> None:
    record, clock = Record(), FakeClock()
    ended(tmp_path / "runs", server="https://s", exit_=None)
    ended(tmp_path / "others", server="https://t")
    for runs in ("runs", "others", "none"):
        await send_ends(tmp_path / runs, server="https://s", record=record, clock=clock)
    assert (record.summary, record.journal) == (b"", b"")

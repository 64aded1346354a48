"""Tests of sending a run's journal while it grows."""

from __future__ import annotations

import asyncio
from pathlib import Path

from interlock.errors import BackendUnavailable
from interlock.run.streaming import RETRY_S, Stream
from interlock.testing.clock import FakeClock, settle


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

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from tests.unit.creations.test_creation import creation

from interlock.creations.book import CreationBook, key_of
from interlock.creations.creation import Creation
from interlock.errors import BackendUnavailable
from interlock.store import Mismatch
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import START, FakeClock


def of(run: str, number: str, **facts: str) -> Creation:
    return msgspec.structs.replace(creation(**facts), key=key_of(run, number), run=run)


def a_book() -> CreationBook:
    return CreationBook(MemoryRecords(clock=FakeClock()))


async def test_what_is_written_is_found_by_its_run_until_it_is_struck_out() -> None:
    book = a_book()
    first, second = of("r1", "1", id="I"), of("r2", "1", id="J")
    await book.write(first)
    await book.write(second)
    assert await book.all() == [first, second]
    assert await book.of_run("r2") == [second]
    await book.strike([first])
    await book.strike([first])
    assert await book.all() == [second]


async def test_a_later_word_replaces_an_earlier_one() -> None:
    book = a_book()
    await book.write(of("r1", "1", doubt="not heard"))
    await book.write(of("r1", "1", id="I"))
    assert await book.all() == [of("r1", "1", id="I")]


class Contended(MemoryRecords):
    """A store in which somebody else always was quicker."""

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:  # noqa: ARG002 - the protocol
        raise Mismatch(key, expected=expected, current=await self.get(key))


async def test_what_could_not_be_written_down_is_never_taken_for_written() -> None:
    with pytest.raises(BackendUnavailable):
        await CreationBook(Contended(clock=FakeClock())).write(of("r1", "1"))


async def test_creations_of_a_run_whose_record_is_gone_are_forgotten_but_not_of_one_that_just_began() -> None:
    book = a_book()
    for run in ("kept", "gone"):
        await book.write(of(run, "1"))
    await book.forget({"kept"}, now=START)
    assert len(await book.all()) == 2
    await book.forget({"kept"}, now=START + timedelta(days=2))
    assert [each.run for each in await book.all()] == ["kept"]


async def test_a_record_of_a_later_version_is_left_alone() -> None:
    records = MemoryRecords(clock=FakeClock())
    await records.swap(key_of("r1", "1"), expected=None, value=b'{"schema": 2}')
    book = CreationBook(records)
    assert await book.all() == []
    assert await records.get(key_of("r1", "1")) is not None


async def test_more_than_a_page_is_read() -> None:
    book = a_book()
    for number in range(1200):
        await book.write(of("r1", f"{number:04}"))
    assert len(await book.all()) == 1200

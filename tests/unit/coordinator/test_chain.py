from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from interlock.coordinator.chain import PAGE, Chain, _key
from interlock.errors import BackendUnavailable, StateInvalid
from interlock.state.history import Version, VersionKind, encode
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.clock import FakeClock

NOW = datetime(2026, 11, 24, tzinfo=UTC)
STATE = "prod/routing"


class CountingBlobs(MemoryBlobs):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def get(self, digest: str) -> bytes:
        self.reads += 1
        return await super().get(digest)


class Bench:
    def __init__(self) -> None:
        self.records = MemoryRecords(clock=FakeClock())
        self.blobs = CountingBlobs()
        self.chain = Chain(self.records, self.blobs)
        self.metas = [""]

    async def grow(self, count: int, *, remember: bool = True) -> None:
        for _ in range(count):
            number = len(self.metas)
            lineage = "old" if number < 10 else "l"
            version = Version(
                number=number,
                kind=VersionKind.PUSH,
                digest=f"{number:064x}",
                serial=number * 2,
                lineage=lineage,
                who="ann",
                written_at=NOW,
                size_bytes=1,
                parent=self.metas[-1],
            )
            self.metas.append(await self.blobs.put(encode(version)))
            if remember:
                await self.chain.extend(STATE, number, self.metas[-1])

    async def numbers(self) -> list[int]:
        return [version.number async for version in self.chain.walk(STATE, self.metas[-1])]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("count", [1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 7])
async def test_pages_say_what_the_chain_says(bench: Bench, count: int) -> None:
    await bench.grow(count)
    assert await bench.numbers() == list(range(count, 0, -1))
    for number in range(-1, count + 3):
        found = await bench.chain.find(STATE, bench.metas[-1], number)
        assert (found and found.number) == (number if 0 < number <= count else None)
    assert await bench.chain.highest_serial(STATE, bench.metas[-1], "old") == 2 * min(count, 9)
    assert await bench.chain.highest_serial(STATE, bench.metas[-1], "l") == (2 * count if count > 9 else 0)
    assert await bench.chain.highest_serial(STATE, bench.metas[-1], "unknown") == 0


async def test_a_long_history_is_searched_with_few_reads(bench: Bench) -> None:
    await bench.grow(60 * PAGE + 5)
    for number in (1, 2, 700, 30 * PAGE, 59 * PAGE, 60 * PAGE + 5):
        bench.blobs.reads = 0
        found = await bench.chain.find(STATE, bench.metas[-1], number)
        assert found is not None
        assert bench.blobs.reads < 30
    bench.blobs.reads = 0
    await bench.chain.highest_serial(STATE, bench.metas[-1], "l")
    assert bench.blobs.reads < 10
    bench.blobs.reads = 0
    assert len(await bench.numbers()) == 60 * PAGE + 5
    assert bench.blobs.reads < 80


async def test_a_chain_without_pages_is_walked_and_gets_them(bench: Bench) -> None:
    await bench.grow(10 * PAGE, remember=False)
    assert len(await bench.numbers()) == 10 * PAGE
    assert (await bench.chain.find(STATE, bench.metas[-1], 3) or pytest.fail("none")).number == 3
    bench.blobs.reads = 0
    assert (await bench.chain.find(STATE, bench.metas[-1], 4) or pytest.fail("none")).number == 4
    assert bench.blobs.reads < 30
    await bench.grow(PAGE)
    assert (await bench.chain.end(STATE) or pytest.fail("none")).page_number == 11 * PAGE


@pytest.mark.promise("P3")
@pytest.mark.parametrize("damage", ["missing", "damaged", "another state's", "none"])
async def test_wrong_pages_are_passed_over_link_by_link(bench: Bench, damage: str) -> None:
    await bench.grow(5 * PAGE)
    end = await bench.chain.end(STATE) or pytest.fail("none")
    if damage == "missing":
        await bench.blobs.delete(end.page)
    elif damage == "damaged":
        bench.blobs._blobs[end.page] = b"x"
    elif damage == "another state's":
        other = Bench()
        other.records, other.blobs, other.chain = bench.records, bench.blobs, bench.chain
        record = await bench.records.get(_key(STATE)) or pytest.fail("none")
        wrong = record.value.replace(end.page.encode(), (await bench.blobs.put(b"\x80")).encode())
        await bench.records.swap(_key(STATE), expected=record.version, value=wrong)
    assert await bench.numbers() == list(range(5 * PAGE, 0, -1))
    for number in (1, 100, 5 * PAGE):
        assert (await bench.chain.find(STATE, bench.metas[-1], number) or pytest.fail("none")).number == number
    assert await bench.chain.highest_serial(STATE, bench.metas[-1], "l") == 10 * PAGE
    await bench.chain.rebuild(STATE, bench.metas[-1])
    bench.blobs.reads = 0
    await bench.chain.find(STATE, bench.metas[-1], 2)
    assert bench.blobs.reads < 30


async def test_the_end_never_goes_back(bench: Bench) -> None:
    await bench.grow(5)
    await bench.chain.extend(STATE, 3, bench.metas[3])
    end = await bench.chain.end(STATE) or pytest.fail("none")
    assert (end.number, end.meta) == (5, bench.metas[5])


async def test_a_broken_link_is_told(bench: Bench) -> None:
    await bench.grow(3)
    version = replace(await bench.chain.describe(bench.metas[3]), number=9)
    with pytest.raises(StateInvalid):
        [version async for version in bench.chain.walk(STATE, await bench.blobs.put(encode(version)))]


@pytest.mark.parametrize("value", [b"", b"{}", b'{"number":1}', b"\xff", b"[]"])
async def test_a_record_of_the_end_that_cannot_be_read_is_damage(bench: Bench, value: bytes) -> None:
    await bench.records.swap(_key(STATE), expected=None, value=value)
    with pytest.raises(BackendUnavailable):
        await bench.chain.end(STATE)


@pytest.mark.promise("P3")
async def test_a_damaged_record_of_the_end_is_begun_anew_by_the_next_version_and_by_making_pages(bench: Bench) -> None:
    await bench.grow(PAGE + 3)
    bench.records._sums[_key(STATE)] = b"damaged"
    await bench.grow(1)
    end = await bench.chain.end(STATE)
    assert end is not None
    assert (end.number, end.meta) == (PAGE + 4, bench.metas[-1])
    assert await bench.numbers() == list(range(PAGE + 4, 0, -1))
    bench.records._sums[_key(STATE)] = b"damaged"
    await bench.chain.rebuild(STATE, bench.metas[-1])
    end = await bench.chain.end(STATE)
    assert end is not None
    assert (end.number, end.page_number) == (PAGE + 4, PAGE)
    assert await bench.numbers() == list(range(PAGE + 4, 0, -1))

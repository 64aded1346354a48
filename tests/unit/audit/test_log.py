from __future__ import annotations

import asyncio

import pytest

from interlock.audit import decode, encode
from interlock.audit.log import AuditLog
from interlock.errors import StateInvalid, UsageError
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def records(clock: FakeClock) -> MemoryRecords:
    return MemoryRecords(clock=clock)


@pytest.fixture
def log(records: MemoryRecords, clock: FakeClock) -> AuditLog:
    return AuditLog(records, clock)


async def _three(log: AuditLog) -> None:
    for number in range(3):
        await log.append("force-unlock", subject=f"s{number % 2}", by="ann@desk", facts={"verdict": "gone"})


async def test_entries_are_numbered_without_gaps_and_name_their_predecessor(log: AuditLog) -> None:
    await _three(log)
    entries = await log.entries()
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert [await log.entry(number) for number in (2, 4)] == [entries[1], None]
    assert entries[0].previous == ""
    assert len({entry.previous for entry in entries}) == 3
    assert await log.verify() == (3, "")


async def test_entries_of_one_subject_are_found(log: AuditLog) -> None:
    await _three(log)
    assert [entry.number for entry in await log.entries(subject="s0")] == [1, 3]


async def test_entries_written_at_once_all_arrive_in_one_chain(log: AuditLog) -> None:
    await asyncio.gather(*(log.append("x", subject=f"{n}", by="me", facts={}) for n in range(10)))
    assert (await log.verify()) == (10, "")
    assert {entry.subject for entry in await log.entries()} == {str(number) for number in range(10)}


async def test_a_changed_entry_is_noticed(log: AuditLog, records: MemoryRecords) -> None:
    await _three(log)
    stored = await records.get("audit/000000000002")
    assert stored is not None
    changed = stored.value.replace(b"ann@desk", b"bob@desk")
    await records.swap(stored.key, expected=stored.version, value=changed)
    count, fault = await log.verify()
    assert count == 2
    assert "one of the two was changed" in fault


async def test_a_missing_entry_is_noticed(log: AuditLog, records: MemoryRecords) -> None:
    await _three(log)
    stored = await records.get("audit/000000000002")
    assert stored is not None
    await records.swap(stored.key, expected=stored.version, value=None)
    assert await log.verify() == (1, "entry 3 stands where entry 2 is expected: entries were taken out")


@pytest.mark.promise("P5")
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_decisions_are_written_behind_a_damaged_entry_and_the_break_is_told(
    log: AuditLog, records: MemoryRecords, number: int
) -> None:
    await _three(log)
    records._sums[f"audit/{number:012d}"] = b"damaged"
    entry = await log.append("force-unlock", subject="s", by="me", facts={})
    assert entry.number == 4
    assert ("chain_broken" in entry.facts) == (number == 3)
    assert [each.number for each in await log.damaged()] == [number]
    assert [each.number for each in await log.entries()] == [n for n in (1, 2, 3, 4) if n != number]
    count, fault = await log.verify()
    assert count == number - 1
    assert f"entry {number} cannot be read" in fault
    assert (await log.append("force-unlock", subject="s", by="me", facts={})).number == 5


async def test_an_entry_that_is_no_entry_does_not_stop_the_log(log: AuditLog, records: MemoryRecords) -> None:
    await _three(log)
    stored = await records.get("audit/000000000003")
    assert stored is not None
    await records.swap(stored.key, expected=stored.version, value=b'{"by":"\xff"}')
    assert "chain_broken" in (await log.append("x", subject="s", by="me", facts={})).facts
    assert (await log.verify())[0] == 2


async def test_a_damaged_entry_behind_one_that_was_taken_out_hides_neither(
    log: AuditLog, records: MemoryRecords
) -> None:
    await _three(log)
    stored = await records.get("audit/000000000002")
    assert stored is not None
    await records.swap(stored.key, expected=stored.version, value=None)
    records._sums["audit/000000000003"] = b"damaged"
    assert (await log.append("x", subject="s", by="me", facts={})).number == 4
    assert [each.number for each in await log.entries()] == [1, 4]
    assert (await log.verify())[0] == 1


async def test_a_damaged_hint_is_written_anew(log: AuditLog, records: MemoryRecords) -> None:
    await _three(log)
    records._sums["audit-end"] = b"damaged"
    assert (await log.append("x", subject="s", by="me", facts={})).number == 4
    hint = await records.get("audit-end")
    assert hint is not None
    assert hint.value.startswith(b'{"number": 4, "digest": "')


async def test_a_hint_that_lags_behind_does_not_matter(log: AuditLog, records: MemoryRecords) -> None:
    await _three(log)
    hint = await records.get("audit-end")
    assert hint is not None
    await records.swap(hint.key, expected=hint.version, value=b"1")
    assert (await log.append("x", subject="s", by="me", facts={})).number == 4
    assert await log.verify() == (4, "")


async def test_a_repeated_write_of_the_same_entry_is_one_entry(log: AuditLog, records: MemoryRecords) -> None:
    entry = await log.append("x", subject="s", by="me", facts={"list": ["a"], "none": None})
    assert await log._write(entry)
    assert len(await log.entries()) == 1
    assert decode(encode(entry)) == entry


async def test_an_entry_that_is_too_large_is_refused_and_nothing_is_written(log: AuditLog) -> None:
    with pytest.raises(UsageError, match="too large"):
        await log.append("x", subject="s", by="me", facts={"reason": "a" * 70_000})
    assert await log.entries() == ()


def test_what_is_no_entry_is_refused() -> None:
    with pytest.raises(StateInvalid, match="cannot be read"):
        decode(b"{}")
    entry = b'{"number":1,"at":"2026-11-24T00:00:00Z","action":"a","subject":"s","by":"b","schema":99}'
    with pytest.raises(StateInvalid, match="newer Interlock"):
        decode(entry)

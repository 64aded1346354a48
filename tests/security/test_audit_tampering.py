"""Every way to change a stored log by one step is found, and every way to change an exported file."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from interlock.audit import decode
from interlock.audit.export import Filter, export_fault
from interlock.audit.log import AuditLog
from interlock.audit.signing import AuditKey
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock

pytestmark = pytest.mark.promise("P5")
KEY = AuditKey(secret=b"k" * 32)
COUNT = 5
Log = dict[str, bytes]


async def made(key: AuditKey | None = None) -> Log:
    clock = FakeClock()
    records = MemoryRecords(clock=clock)
    log = AuditLog(records, clock, key=key)
    for number in range(COUNT):
        facts = {"request": f"r{number}", "digest": "d", "via": "cli"}
        await log.append("approved", subject=f"s{number % 2}", by="ann@desk", facts=facts)
        clock.pass_time(60)
    return {record.key: record.value for record in await records.list("audit")}


async def fault_of(stored: Log, key: AuditKey | None = None) -> str:
    clock = FakeClock()
    records = MemoryRecords(clock=clock)
    for name, value in stored.items():
        await records.swap(name, expected=None, value=value)
    return (await AuditLog(records, clock, key=key).verify())[1]


def changed(stored: Log) -> Iterator[tuple[str, Log]]:
    """Yield every log that differs by one step from what is stored: what happened, and the log."""
    entries = sorted(name for name in stored if name.startswith("audit/"))
    for name in entries:
        yield f"{name} removed", {key: value for key, value in stored.items() if key != name}
        said = json.loads(stored[name])
        for field in said:
            edited = {**said, field: f"{said[field]}x" if isinstance(said[field], str) else None}
            yield f"{field} of {name} changed", {**stored, name: json.dumps(edited, separators=(",", ":")).encode()}
        for at in range(0, len(stored[name]), 7):
            flipped = bytes(byte ^ (1 if place == at else 0) for place, byte in enumerate(stored[name]))
            yield f"byte {at} of {name} flipped", {**stored, name: flipped}
    for one, other in itertools.combinations(entries, 2):
        yield f"{one} and {other} swapped", {**stored, one: stored[other], other: stored[one]}
        yield f"{one} replaced by {other}", {**stored, one: stored[other]}
    for kept in range(COUNT):
        cut = {key: value for key, value in stored.items() if key not in entries[kept:]}
        yield f"cut behind {kept}", cut
        if kept > 1:  # of a log of one entry the end may be missing without anybody's doing
            yield f"cut behind {kept}, end too", {key: cut[key] for key in cut if key != "audit-end"}
    yield "without an end", {key: stored[key] for key in entries}


@pytest.mark.parametrize("key", [None, KEY], ids=["unsigned", "signed"])
async def test_every_single_change_to_a_stored_log_is_found(key: AuditKey | None) -> None:
    stored = await made(key)
    assert await fault_of(stored, key) == ""
    missed = [what for what, log in changed(stored) if log != stored and not await fault_of(log, key)]
    assert missed == []


async def lines(key: AuditKey | None = KEY, wanted: Filter | None = None) -> list[bytes]:
    stored = await made()
    clock = FakeClock()
    records = MemoryRecords(clock=clock)
    for name, value in stored.items():
        await records.swap(name, expected=None, value=value)
    log = AuditLog(records, clock, key=key)
    return list(await log.export(wanted or Filter(), by="ann"))


async def test_an_exported_log_is_checked_without_the_store() -> None:
    exported = await lines()
    assert [decode(line).number for line in exported[:-1]] == [1, 2, 3, 4, 5]
    assert export_fault(exported, seal=KEY.seal) == (COUNT, "")
    assert export_fault(await lines(key=None), seal=None) == (COUNT, "")
    assert export_fault(exported, seal=AuditKey(secret=b"o" * 32).seal)[1]
    assert export_fault(await lines(key=None), seal=KEY.seal)[1], "a file without a signature is not one of this key"


async def test_every_change_to_an_exported_file_is_found() -> None:
    exported = await lines()
    wrong: list[list[bytes]] = [[], *(exported[:count] for count in range(len(exported)))]
    for at, line in enumerate(exported):
        wrong += [[*exported[:at], *exported[at + 1 :]], [*exported[: at + 1], line, *exported[at + 1 :]]]
        wrong += [
            [*exported[:at], bytes(b ^ (1 if p == place else 0) for p, b in enumerate(line)), *exported[at + 1 :]]
            for place in range(0, len(line), 5)
        ]
    for one, other in itertools.combinations(range(len(exported)), 2):
        swapped = list(exported)
        swapped[one], swapped[other] = swapped[other], swapped[one]
        wrong.append(swapped)
    assert [each for each in wrong if not export_fault(each, seal=KEY.seal)[1]] == []


async def test_a_filtered_file_has_what_was_asked_and_says_that_it_is_not_whole() -> None:
    wanted = Filter(subjects=frozenset({"s1"}))
    exported = await lines(wanted=wanted)
    assert [decode(line).number for line in exported[:-1]] == [2, 4]
    assert json.loads(exported[-1])["whole"] is False
    assert export_fault(exported, seal=KEY.seal) == (2, "")
    assert export_fault([exported[1], exported[0], exported[2]], seal=KEY.seal)[1]
    assert export_fault([exported[0], exported[2]], seal=KEY.seal)[1]


async def test_entries_are_found_by_who_what_and_when() -> None:
    start = decode((await lines())[0]).at
    for wanted, numbers in (
        (Filter(who="ann"), [1, 2, 3, 4, 5]),
        (Filter(who="bob"), []),
        (Filter(action="approved", since=start.replace(minute=start.minute + 2)), [3, 4, 5]),
        (Filter(until=start.replace(minute=start.minute + 2)), [1, 2]),
        (Filter(since=datetime(2100, 1, 1, tzinfo=UTC)), []),
    ):
        assert [decode(line).number for line in (await lines(wanted=wanted))[:-1]] == numbers

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from interlock.drift.decisions import Ledger, with_flows
from interlock.drift.finding import Scan
from interlock.drift.ledger import LedgerBook
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.clock import FakeClock


def book() -> tuple[LedgerBook, MemoryBlobs]:
    blobs = MemoryBlobs()
    return LedgerBook(MemoryRecords(clock=FakeClock()), blobs), blobs


async def test_what_is_remembered_of_one_state_is_not_that_of_another() -> None:
    kept, _ = book()
    await kept.change("a", lambda ledger: with_flows(ledger, {"f": "1"}))
    assert (await kept.read("a")).flows == {"f": "1"}
    assert await kept.read("a/b") == Ledger()


async def test_changes_at_once_are_all_kept() -> None:
    kept, _ = book()
    changes = [kept.change("a", lambda ledger, n=n: with_flows(ledger, {f"f{n}": "1"})) for n in range(10)]  # type: ignore[misc]
    await asyncio.gather(*changes)
    assert len((await kept.read("a")).flows) == 10


async def test_the_last_scan_takes_the_place_of_the_one_before(now: datetime) -> None:
    kept, blobs = book()
    first = Scan(state="a", run="r1", at=now, salt="1")
    second = Scan(state="a", run="r2", at=now + timedelta(hours=1), salt="2")
    assert await kept.last_scan("a") is None
    await kept.keep(first, lambda ledger: ledger)
    mark = (await kept.read("a")).scan
    assert mark is not None
    await kept.keep(second, lambda ledger: with_flows(ledger, {"f": "1"}))
    assert await kept.last_scan("a") == second
    assert (await kept.read("a")).flows == {"f": "1"}
    assert not await blobs.has(mark.blob)

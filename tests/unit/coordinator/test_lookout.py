from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from interlock.coordinator.local import LocalCoordinator
from interlock.coordinator.lookout import RECORDS_KNOWN, Lookout, Stored
from interlock.coordinator.record import NEW_STATE, StateRecord, encode
from interlock.lock import Lock, Requested
from interlock.store.records import Record
from interlock.testing.clock import FakeClock, settle
from interlock.testing.ids import CountingIds

Ask = Callable[..., Requested]


async def test_many_waiters_of_one_state_share_one_watch(
    coordinator: LocalCoordinator, records: Any, clock: FakeClock, ask: Ask
) -> None:
    other = LocalCoordinator(records, clock, CountingIds())
    for n in range(20):
        await coordinator.request("prod", ask(f"t{n}"))
    waiting = [asyncio.create_task(coordinator.await_grant("prod", f"t{n}", timeout_s=None)) for n in range(1, 20)]
    await settle()
    reads = records.reads
    await other.renew("prod", "t0", 1)
    await other.release("prod", "t0", 1)
    await settle()
    assert waiting[0].done()
    assert records.reads - reads <= 4
    for task in waiting:
        task.cancel()
    await settle()
    assert clock.sleepers() == 0, "nobody watches for nobody"


async def test_a_reply_that_took_long_does_not_hide_what_was_learned_meanwhile(records: Any, clock: FakeClock) -> None:
    lookout = Lookout(records, clock)
    old = Record(key="state/prod", version=1, value=encode(NEW_STATE))
    newer = Record(key="state/prod", version=2, value=encode(StateRecord(lock=Lock(token=7))))
    assert lookout.learn("prod", newer, before=None).record.lock.token == 7
    assert lookout.learn("prod", old, before=None).version == 1, "the caller gets what it read"
    known = lookout.known("prod")
    assert known is not None
    assert known.version == 2


async def test_a_record_of_the_known_version_is_not_read_again(records: Any, clock: FakeClock) -> None:
    lookout = Lookout(records, clock)
    stored = lookout.learn("prod", Record(key="k", version=1, value=encode(NEW_STATE)), before=None)
    assert lookout.learn("prod", Record(key="k", version=1, value=b"never looked at"), before=None) is stored


async def test_what_is_known_is_bounded(records: Any, clock: FakeClock) -> None:
    lookout = Lookout(records, clock)
    for n in range(RECORDS_KNOWN + 1):
        lookout.learn(f"s{n}", Record(key="k", version=1, value=encode(NEW_STATE)), before=None)
    assert lookout.known("s0") is None
    assert lookout.known("s1") is not None


async def test_an_absent_record_is_a_new_state(records: Any, clock: FakeClock) -> None:
    assert await Lookout(records, clock).load("prod") == Stored(None, NEW_STATE)


class _Slow:
    """Records whose first reply is on its way until it is let go; then it says what was newest by that time."""

    def __init__(self) -> None:
        self.version = 1
        self.let_go = asyncio.Event()
        self._asked = 0

    async def get(self, key: str) -> Record:
        self._asked += 1
        if self._asked == 1:
            await self.let_go.wait()
        return Record(key=key, version=self.version, value=encode(NEW_STATE))

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record:
        del timeout_s
        if self.version == seen:
            await asyncio.Event().wait()
        return await self.get(key)


@pytest.mark.promise("P2")
async def test_a_change_that_crossed_two_replies_is_seen_by_all_who_wait() -> None:
    store = _Slow()
    lookout = Lookout(store, FakeClock())
    with lookout.watched("s", "a"):
        await settle()  # the watch has asked, and its reply is on its way
        await lookout.load("s")  # another asks, and is told version 1
        store.version = 2
        store.let_go.set()
        await settle()
        known = lookout.known("s")
        assert known is not None
        assert known.version == 2

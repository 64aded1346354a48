"""Laws of suspect versions: an apply is never refused for its deletions, and nothing odd goes unseen (P6)."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.coordinator.archive import StateArchive, Writer
from interlock.coordinator.local import LocalCoordinator
from interlock.lock import Requested
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

_STATE = "prod"
_NAMES = st.frozensets(st.sampled_from("abcd"))


@pytest.mark.promise("P6")
@settings(max_examples=60, deadline=None)
@given(first=_NAMES, allowed=_NAMES, writes=st.lists(_NAMES, max_size=5))
def test_every_write_of_an_apply_is_current_and_suspect_exactly_while_something_is_missing_without_a_reason(
    first: frozenset[str], allowed: frozenset[str], writes: list[frozenset[str]]
) -> None:
    asyncio.run(_apply(first, allowed, writes))


async def _apply(first: frozenset[str], allowed: frozenset[str], writes: list[frozenset[str]]) -> None:
    clock = FakeClock()
    records = MemoryRecords(clock=clock)
    coordinator = LocalCoordinator(records, clock, CountingIds())
    archive = StateArchive(coordinator, records, MemoryBlobs(), clock)
    standing = await coordinator.request(_STATE, Requested(ticket="t", who="w", lease_s=60, patience_s=40))
    assert standing.token
    named = frozenset(f"t.{name}" for name in allowed)
    writer = Writer(who="w", run="r", ticket="t", token=standing.token, allowed_deletions=named, keeps_suspect=True)
    await archive.write(_STATE, _body(1, first), writer=writer)
    base = first
    for serial, names in enumerate(writes, start=2):
        written = await archive.write(_STATE, _body(serial, names), writer=writer)
        lost = base - names - allowed
        assert written.version.suspect == tuple(sorted(f"t.{name}" for name in lost))
        found = await archive.current(_STATE)
        assert found is not None
        assert found[1] == _body(serial, names)
        assert ((await coordinator.view(_STATE)).lock.pause is not None) == bool(lost)
        base = base if lost else names
    assert await archive.quarantined(_STATE) == ()


def _body(serial: int, names: frozenset[str]) -> bytes:
    rows = [
        {"mode": "managed", "type": "t", "name": name, "provider": "provider.p", "instances": [{"attributes": {}}]}
        for name in sorted(names)
    ]
    return json.dumps({"version": 4, "serial": serial, "lineage": "l", "resources": rows}).encode()

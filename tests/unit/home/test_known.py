"""What a home remembers of states is a hint: strange or damaged, it never means another state (promise P11)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from interlock.home.known import KnownState, KnownStates
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock

pytestmark = pytest.mark.promise("P11")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def known(queue: str = "prod", address: str = "interlock:prod", **facts: object) -> KnownState:
    return msgspec.structs.replace(KnownState(queue=queue, address=address, seen_at=NOW), **facts)


async def book(**records: bytes) -> KnownStates:
    store = MemoryRecords(clock=FakeClock())
    for name, value in records.items():
        await store.swap(f"known/{name}", expected=None, value=value)
    return KnownStates(store)


@pytest.mark.parametrize(
    "strange",
    [
        known(queue="other", address="interlock:other"),
        known(address="interlock:other"),
        known(queue=""),
    ],
)
async def test_a_record_that_names_another_state_than_it_is_kept_under_says_nothing(strange: KnownState) -> None:
    states = await book(prod=msgspec.json.encode(strange))
    assert await states.find("prod") is None
    assert await states.find("interlock:other") is None
    assert await states.all() == []
    await states.remember(known())
    assert await states.find("prod") == known()


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"\xff", b'{"queue":"prod","address":null}', b"null"])
async def test_a_damaged_record_says_nothing_and_the_next_use_writes_it_again(value: bytes) -> None:
    states = await book(prod=value)
    assert await states.find("prod") is None
    await states.remember(known())
    assert await states.find("prod") == known()


async def test_a_record_of_a_newer_format_is_read_as_far_as_it_is_understood(tmp_path: Path) -> None:
    newer = {**msgspec.to_builtins(known()), "schema": 7, "colour": "red"}
    states = await book(prod=msgspec.json.encode(newer))
    found = await states.find("prod")
    assert found is not None
    assert found.queue == "prod"

"""Records under a prefix keep the rules of every store, and never meet the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from interlock.clock import SystemClock
from interlock.errors import UsageError
from interlock.store.memory import MemoryRecords
from interlock.store.namespaced import NamespacedRecords
from interlock.store.records import KEY_BYTES_MAX, RecordStore
from interlock.testing.store_contract import RecordStoreContract, Rewrite

PREFIX = "elsewhere/"


class TestNamespacedRecords(RecordStoreContract):
    @pytest.fixture
    def below(self) -> MemoryRecords:
        return MemoryRecords(clock=SystemClock())

    @pytest.fixture
    async def record_store(self, below: MemoryRecords) -> NamespacedRecords:
        return NamespacedRecords(below, PREFIX)

    @pytest.fixture
    def rewrite_record(self, below: MemoryRecords) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            record = below._records[PREFIX + key]
            below._records[PREFIX + key] = replace(record, value=change(record.value))

        return rewrite

    async def test_the_longest_key_works(self, record_store: RecordStore) -> None:
        """It is shorter by the prefix; names of states, which are kept so, have 200 characters at most."""
        key = "k" * (KEY_BYTES_MAX - len(PREFIX))
        await record_store.swap(key, expected=None, value=b"v")
        assert (await record_store.list(key))[0].key == key

    async def test_a_closed_store_refuses_politely(self, record_store: RecordStore) -> None:
        """The store below stays open, and ends who waits in it when it is closed itself."""
        await record_store.close()
        for call in (record_store.get("k"), record_store.list(""), record_store.watch("k", seen=None, timeout_s=0)):
            with pytest.raises(UsageError):
                await call


async def test_two_spaces_of_one_store_never_meet() -> None:
    below = MemoryRecords(clock=SystemClock())
    one, two = NamespacedRecords(below, "one/"), NamespacedRecords(below, "two/")
    await one.swap("k", expected=None, value=b"1")
    assert await two.get("k") is None
    assert [record.key for record in await one.list("")] == ["k"]
    assert [record.key for record in await below.list("")] == ["one/k"]
    assert await two.list("") == []

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from interlock.clock import SystemClock
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.store_contract import BlobStoreContract, RecordStoreContract, Rewrite


class TestMemoryRecords(RecordStoreContract):
    @pytest.fixture
    async def record_store(self) -> MemoryRecords:
        return MemoryRecords(clock=SystemClock())

    @pytest.fixture
    def rewrite_record(self, record_store: MemoryRecords) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            record = record_store._records[key]
            record_store._records[key] = replace(record, value=change(record.value))

        return rewrite


class TestMemoryBlobs(BlobStoreContract):
    @pytest.fixture
    async def blob_store(self) -> MemoryBlobs:
        return MemoryBlobs()

    @pytest.fixture
    def rewrite_blob(self, blob_store: MemoryBlobs) -> Rewrite:
        async def rewrite(digest: str, change: Callable[[bytes], bytes]) -> None:
            blob_store._blobs[digest] = change(blob_store._blobs[digest])

        return rewrite

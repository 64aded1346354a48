from __future__ import annotations

import pytest

from interlock.clock import SystemClock
from interlock.store import BlobStore, RecordStore
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.store_contract import BlobStoreContract, RecordStoreContract


class TestMemoryRecords(RecordStoreContract):
    @pytest.fixture
    async def record_store(self) -> RecordStore:
        return MemoryRecords(clock=SystemClock())


class TestMemoryBlobs(BlobStoreContract):
    @pytest.fixture
    async def blob_store(self) -> BlobStore:
        return MemoryBlobs()

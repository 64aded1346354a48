from __future__ import annotations

from collections.abc import Callable

import pytest

from interlock.clock import SystemClock
from interlock.store import RecordStore
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.store_contract import BlobStoreContract, RecordStoreContract, Rewrite


class TestMemoryRecords(RecordStoreContract):
    @pytest.fixture
    async def record_store(self) -> RecordStore:
        return MemoryRecords(clock=SystemClock())


class TestMemoryBlobs(BlobStoreContract):
    @pytest.fixture
    async def blob_store(self) -> MemoryBlobs:
        return MemoryBlobs()

    @pytest.fixture
    def rewrite_blob(self, blob_store: MemoryBlobs) -> Rewrite:
        async def rewrite(digest: str, change: Callable[[bytes], bytes]) -> None:
            blob_store._blobs[digest] = change(blob_store._blobs[digest])

        return rewrite

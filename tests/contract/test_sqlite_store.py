from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.store import BlobStore, RecordStore
from interlock.store.sqlite import SqliteStore
from interlock.testing.store_contract import BlobStoreContract, RecordStoreContract


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "interlock.db", clock=SystemClock())
    yield store
    await store.close()


@pytest.fixture
async def peer(store: SqliteStore, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    peer = await SqliteStore.open(tmp_path / "interlock.db", clock=SystemClock())
    yield peer
    await peer.close()


class TestSqliteRecords(RecordStoreContract):
    @pytest.fixture
    async def record_store(self, store: SqliteStore) -> RecordStore:
        return store.records

    @pytest.fixture
    async def record_store_peer(self, peer: SqliteStore) -> RecordStore:
        return peer.records


class TestSqliteBlobs(BlobStoreContract):
    @pytest.fixture
    async def blob_store(self, store: SqliteStore) -> BlobStore:
        return store.blobs

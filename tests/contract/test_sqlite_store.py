from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.behind_the_back import blob_in_sqlite, record_in_sqlite

from interlock.clock import SystemClock
from interlock.store import BlobStore, RecordStore
from interlock.store.sqlite import SqliteStore
from interlock.testing.store_contract import BlobStoreContract, RecordStoreContract, Rewrite


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

    @pytest.fixture
    def rewrite_record(self, tmp_path: Path) -> Rewrite:
        return record_in_sqlite(tmp_path / "interlock.db")


class TestSqliteBlobs(BlobStoreContract):
    @pytest.fixture
    async def blob_store(self, store: SqliteStore) -> BlobStore:
        return store.blobs

    @pytest.fixture
    def rewrite_blob(self, tmp_path: Path) -> Rewrite:
        return blob_in_sqlite(tmp_path / "interlock.db")

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

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
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            with closing(sqlite3.connect(tmp_path / "interlock.db")) as connection:
                ((value,),) = connection.execute("SELECT value FROM records WHERE key = ?", (key,))
                connection.execute("UPDATE records SET value = ? WHERE key = ?", (change(value), key))
                connection.commit()

        return rewrite


class TestSqliteBlobs(BlobStoreContract):
    @pytest.fixture
    async def blob_store(self, store: SqliteStore) -> BlobStore:
        return store.blobs

    @pytest.fixture
    def rewrite_blob(self, tmp_path: Path) -> Rewrite:
        async def rewrite(digest: str, change: Callable[[bytes], bytes]) -> None:
            with closing(sqlite3.connect(tmp_path / "interlock.db")) as connection:
                ((upload,),) = connection.execute("SELECT upload FROM blobs WHERE digest = ?", (digest,))
                rows = connection.execute("SELECT data FROM parts WHERE upload = ? ORDER BY number", (upload,))
                stored = b"".join(data for (data,) in rows)
                connection.execute("DELETE FROM parts WHERE upload = ?", (upload,))
                connection.execute("INSERT INTO parts VALUES (?, 0, ?)", (upload, change(stored)))
                connection.commit()

        return rewrite

"""The store suites, through encryption: nobody who uses a store notices that it is encrypted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.behind_the_back import blob_in_postgres, blob_in_sqlite, record_in_postgres, record_in_sqlite

from interlock.clock import SystemClock
from interlock.store import BlobStore, RecordStore
from interlock.store import vault as sealing_layer
from interlock.store.opening import Store, open_store
from interlock.store.records import VALUE_BYTES_MAX
from interlock.store.sealing import VALUE_BYTES, MasterKey, master_key
from interlock.store.vault import with_encryption
from interlock.testing.postgres import PostgresServer, why_not
from interlock.testing.store_contract import BlobStoreContract, RecordStoreContract, Rewrite

KEY: MasterKey = master_key(bytes(range(32)))


@pytest.fixture(autouse=True)
def _every_record_is_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing_layer, "SEALED_PREFIXES", ("t",))  # the suite's keys begin with it


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(str(tmp_path / "interlock.db"), clock=SystemClock())
    yield await with_encryption(opened, [KEY], clock=SystemClock())
    await opened.close()


@pytest.fixture
async def peer(store: Store, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(str(tmp_path / "interlock.db"), clock=SystemClock())
    yield await with_encryption(opened, [KEY], clock=SystemClock())
    await opened.close()


@pytest.mark.slow
class SealedRecordsContract(RecordStoreContract):
    async def test_the_largest_value_reads_back_and_a_larger_one_is_refused(self, record_store: RecordStore) -> None:
        value = bytes(VALUE_BYTES_MAX - VALUE_BYTES)
        await record_store.swap("t-largest", expected=None, value=value)
        record = await record_store.get("t-largest")
        assert record is not None
        assert record.value == value


class TestSealedSqliteRecords(SealedRecordsContract):
    @pytest.fixture
    async def record_store(self, store: Store) -> RecordStore:
        return store.records

    @pytest.fixture
    async def record_store_peer(self, peer: Store) -> RecordStore:
        return peer.records

    @pytest.fixture
    def rewrite_record(self, tmp_path: Path) -> Rewrite:
        return record_in_sqlite(tmp_path / "interlock.db")


class TestSealedSqliteBlobs(BlobStoreContract):
    @pytest.fixture
    async def blob_store(self, store: Store) -> BlobStore:
        return store.blobs

    @pytest.fixture
    def rewrite_blob(self, tmp_path: Path) -> Rewrite:
        return blob_in_sqlite(tmp_path / "interlock.db")


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
class TestSealedPostgresBlobs(BlobStoreContract):
    @pytest.fixture
    async def sealed(self, postgres: PostgresServer) -> AsyncIterator[Store]:
        opened = await open_store(f"{postgres.url}&schema=sealed", clock=SystemClock())
        yield await with_encryption(opened, [KEY], clock=SystemClock())
        await opened.close()

    @pytest.fixture
    async def blob_store(self, sealed: Store) -> BlobStore:
        return sealed.blobs

    @pytest.fixture
    def rewrite_blob(self, postgres: PostgresServer) -> Rewrite:
        return blob_in_postgres(postgres.url, "sealed")


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
class TestSealedPostgresRecords(SealedRecordsContract):
    @pytest.fixture
    async def record_store(self, postgres: PostgresServer) -> AsyncIterator[RecordStore]:
        opened = await open_store(f"{postgres.url}&schema=sealed", clock=SystemClock())
        yield (await with_encryption(opened, [KEY], clock=SystemClock())).records
        await opened.close()

    @pytest.fixture
    def rewrite_record(self, postgres: PostgresServer) -> Rewrite:
        return record_in_postgres(postgres.url, "sealed")

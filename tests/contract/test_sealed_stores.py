"""The store suites, through encryption: nobody who uses a store notices that it is encrypted."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

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
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            with closing(sqlite3.connect(tmp_path / "interlock.db")) as connection:
                ((value,),) = connection.execute("SELECT value FROM records WHERE key = ?", (key,))
                connection.execute("UPDATE records SET value = ? WHERE key = ?", (change(value), key))
                connection.commit()

        return rewrite


class TestSealedSqliteBlobs(BlobStoreContract):
    @pytest.fixture
    async def blob_store(self, store: Store) -> BlobStore:
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
        async def rewrite(digest: str, change: Callable[[bytes], bytes]) -> None:
            blobs, parts = (sql.Identifier("sealed", table) for table in ("blobs", "parts"))
            async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
                row = await connection.execute(
                    sql.SQL("SELECT upload FROM {} WHERE digest = %s").format(blobs), (digest,)
                )
                ((upload,),) = await row.fetchall()
                rows = await connection.execute(
                    sql.SQL("DELETE FROM {} WHERE upload = %s RETURNING number, data").format(parts), (upload,)
                )
                stored = b"".join(data for _, data in sorted(await rows.fetchall()))
                insert = sql.SQL("INSERT INTO {} VALUES (%s, 0, %s)").format(parts)
                await connection.execute(insert, (upload, change(stored)))

        return rewrite


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
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            table = sql.Identifier("sealed", "records")
            async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
                row = await connection.execute(sql.SQL("SELECT value FROM {} WHERE key = %s").format(table), (key,))
                ((value,),) = await row.fetchall()
                update = sql.SQL("UPDATE {} SET value = %s WHERE key = %s").format(table)
                await connection.execute(update, (change(bytes(value)), key))

        return rewrite

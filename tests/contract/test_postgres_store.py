from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.behind_the_back import blob_in_postgres, record_in_postgres

from interlock.clock import SystemClock
from interlock.coordinator.interface import HeadKeeper
from interlock.coordinator.local import LocalCoordinator
from interlock.ids import RandomIds
from interlock.store import BlobStore, RecordStore
from interlock.store.opening import open_store
from interlock.store.postgres import PostgresStore
from interlock.testing.coordinator_contract import HeadContract
from interlock.testing.postgres import PostgresServer, why_not
from interlock.testing.store_contract import BlobStoreContract, RecordStoreContract, Rewrite

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")


WAYS = {"listening": "", "looking": "&listen=off", "unprepared": "&prepared=off"}


@pytest.fixture(params=["listening", *(pytest.param(way, marks=pytest.mark.slow) for way in ("looking", "unprepared"))])
def url(postgres: PostgresServer, request: pytest.FixtureRequest) -> str:
    """One schema for each way to use it: the suites use keys of their own."""
    return f"{postgres.url}&schema={request.param}{WAYS[request.param]}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    store = await open_store(url, clock=SystemClock())
    assert isinstance(store, PostgresStore)
    yield store
    await store.close()


@pytest.fixture
async def peer(store: PostgresStore, url: str) -> AsyncIterator[PostgresStore]:
    peer = await open_store(url, clock=SystemClock())
    assert isinstance(peer, PostgresStore)
    yield peer
    await peer.close()


class TestPostgresRecords(RecordStoreContract):
    @pytest.fixture
    async def record_store(self, store: PostgresStore) -> RecordStore:
        return store.records

    @pytest.fixture
    async def record_store_peer(self, peer: PostgresStore) -> RecordStore:
        return peer.records

    @pytest.fixture
    def rewrite_record(self, postgres: PostgresServer, store: PostgresStore) -> Rewrite:
        return record_in_postgres(postgres.url, store.place.schema)


class TestPostgresBlobs(BlobStoreContract):
    @pytest.fixture
    async def blob_store(self, store: PostgresStore) -> BlobStore:
        return store.blobs

    @pytest.fixture
    def rewrite_blob(self, postgres: PostgresServer, store: PostgresStore) -> Rewrite:
        return blob_in_postgres(postgres.url, store.place.schema)


class TestCoordinatorOverPostgres(HeadContract):
    @pytest.fixture
    async def coordinator(self, store: PostgresStore) -> HeadKeeper:
        return LocalCoordinator(store.records, store.clock, RandomIds())

    @pytest.fixture
    async def coordinator_peer(self, peer: PostgresStore) -> HeadKeeper:
        return LocalCoordinator(peer.records, peer.clock, RandomIds())

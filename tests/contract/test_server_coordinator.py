"""The coordinator of a server, over a socket, does what one at its store does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.served import line_to, served

from interlock.clock import SystemClock
from interlock.coordinator import Coordinator
from interlock.coordinator.local import LocalCoordinator
from interlock.home.server_coordinator import ServerCoordinator
from interlock.ids import RandomIds
from interlock.server.api.locks import lock_endpoints
from interlock.store.namespaced import NamespacedRecords
from interlock.store.opening import open_store
from interlock.store.sqlite import SqliteStore
from interlock.testing.coordinator_contract import CoordinatorContract
from interlock.testing.postgres import PostgresServer, why_not


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    clock = SystemClock()
    store = await SqliteStore.open(tmp_path / "interlock.db", clock=clock)
    own = LocalCoordinator(store.records, clock, RandomIds())
    beside = LocalCoordinator(NamespacedRecords(store.records, "elsewhere/"), clock, RandomIds())
    async with served(lock_endpoints(own, beside)) as address:
        yield address
    await store.close()


class TestOverHttp(CoordinatorContract):
    @pytest.fixture
    async def coordinator(self, url: str) -> AsyncIterator[Coordinator]:
        async with line_to(url) as line:
            yield ServerCoordinator(line, SystemClock(), RandomIds())

    @pytest.fixture
    async def coordinator_peer(self, url: str) -> AsyncIterator[Coordinator]:
        async with line_to(url) as line:
            yield ServerCoordinator(line, SystemClock(), RandomIds())


class TestOverHttpBesideAState(CoordinatorContract):
    @pytest.fixture
    async def coordinator(self, url: str) -> AsyncIterator[Coordinator]:
        async with line_to(url) as line:
            yield ServerCoordinator(line, SystemClock(), RandomIds(), beside=True)


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
class TestOverHttpOnPostgres(CoordinatorContract):
    """Two servers on one database, and a client of each."""

    @pytest.fixture
    async def coordinator(self, postgres: PostgresServer) -> AsyncIterator[Coordinator]:
        async with _on_postgres(postgres) as coordinator:
            yield coordinator

    @pytest.fixture
    async def coordinator_peer(self, postgres: PostgresServer) -> AsyncIterator[Coordinator]:
        async with _on_postgres(postgres) as coordinator:
            yield coordinator


@asynccontextmanager
async def _on_postgres(postgres: PostgresServer) -> AsyncIterator[Coordinator]:
    store = await open_store(f"{postgres.url}&schema=served", clock=SystemClock())
    own = LocalCoordinator(store.records, store.clock, RandomIds())
    async with served(lock_endpoints(own, own)) as url, line_to(url) as line:
        yield ServerCoordinator(line, SystemClock(), RandomIds())
    await store.close()

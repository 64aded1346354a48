from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.coordinator.interface import HeadKeeper
from interlock.coordinator.local import LocalCoordinator
from interlock.ids import RandomIds
from interlock.store import RecordStore
from interlock.store.memory import MemoryRecords
from interlock.store.sqlite import SqliteStore
from interlock.testing.coordinator_contract import HeadContract


class TestOverMemory(HeadContract):
    @pytest.fixture
    async def records(self) -> RecordStore:
        return MemoryRecords(clock=SystemClock())

    @pytest.fixture
    async def coordinator(self, records: RecordStore) -> HeadKeeper:
        return LocalCoordinator(records, SystemClock(), RandomIds())

    @pytest.fixture
    async def coordinator_peer(self, records: RecordStore) -> HeadKeeper:
        return LocalCoordinator(records, SystemClock(), RandomIds())


class TestOverSqlite(HeadContract):
    @pytest.fixture
    async def coordinator(self, tmp_path: Path) -> AsyncIterator[HeadKeeper]:
        async with _opened(tmp_path) as coordinator:
            yield coordinator

    @pytest.fixture
    async def coordinator_peer(self, tmp_path: Path) -> AsyncIterator[HeadKeeper]:
        async with _opened(tmp_path) as coordinator:
            yield coordinator


@asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[HeadKeeper]:
    store = await SqliteStore.open(folder / "interlock.db", clock=SystemClock())
    yield LocalCoordinator(store.records, SystemClock(), RandomIds())
    await store.close()

"""A home in memory, for tests of what works in one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interlock.clock import Clock
from interlock.coordinator.local import LocalCoordinator
from interlock.home.embedded import EmbeddedHome
from interlock.home.interface import Told
from interlock.ids import Ids
from interlock.settings.values import Settings
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.store.opening import MemoryStore
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds


def memory_home(
    folder: Path,
    *,
    clock: Clock | None = None,
    ids: Ids | None = None,
    environ: Mapping[str, str] | None = None,
    told: Told | None = None,
) -> EmbeddedHome:
    """Return a home whose records and states are in memory; runs and kept states are files in `folder`.

    Args:
        folder: The home's folder; it is not made.
        clock: By default one that stands still.
        ids: By default they count.
        environ: See `EmbeddedHome`.
        told: See `EmbeddedHome`.
    """
    clock, ids = clock or FakeClock(), ids or CountingIds()
    store = MemoryStore(records=MemoryRecords(clock=clock), blobs=MemoryBlobs(), clock=clock)
    coordinator = LocalCoordinator(store.records, clock, ids)
    return EmbeddedHome(Settings(home=folder), store, coordinator, clock=clock, ids=ids, environ=environ, told=told)

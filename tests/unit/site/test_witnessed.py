"""A state that somebody saw stored is not forgotten when it is deleted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from interlock.errors import LeaseLost
from interlock.existing import StoredState
from interlock.lock import Requested
from interlock.site.witnessed import find_lost, known_of_head, remember
from interlock.testing.existing import MemoryBackend
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state

pytestmark = pytest.mark.promise("P3")


async def stored(backend: MemoryBackend) -> StoredState:
    found = await backend.read_state()
    assert found is not None
    return found


async def test_what_a_holder_stored_is_written_beside_the_lock_and_missed_when_it_is_deleted(tmp_path: Path) -> None:
    home, backend = memory_home(tmp_path), MemoryBackend()
    request = Requested(ticket="r1", run="r1", who="me", lease_s=30.0, patience_s=15.0)
    grant = await home.coordinator.acquire("q", request, timeout_s=1.0)
    backend.bodies = [state(1, "a"), state(2, "a", "b")]
    now = home.clock.now()
    await remember(home.coordinator, "q", await stored(backend), before=None, run="r1", token=grant.token, now=now)
    known = list(known_of_head((await home.coordinator.view("q")).head))
    assert [(one.serial, one.source) for one in known] == [(2, "run r1, by the queue")]
    assert await find_lost(backend, await stored(backend), known) is None
    backend.bodies.pop()
    lost = await find_lost(backend, await stored(backend), known)
    assert lost is not None
    assert lost.serial == 2


async def test_only_who_holds_may_say_what_was_stored(tmp_path: Path) -> None:
    home, backend = memory_home(tmp_path), MemoryBackend()
    backend.bodies = [state(1, "a")]
    now = home.clock.now()
    with pytest.raises(LeaseLost):
        await remember(home.coordinator, "q", await stored(backend), before=None, run="r1", token=1, now=now)


async def test_a_bucket_that_keeps_no_versions_says_nothing_of_what_was_deleted() -> None:
    class Unversioned(MemoryBackend):
        async def history(self):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            return tuple(replace(version, id="null") for version in await super().history())

    backend = Unversioned()
    backend.bodies = [state(1, "a")]
    now = await stored(backend)
    later = list(known_of_head(None))
    assert later == []
    from interlock.recovery.known import Known

    at = now.modified_at + timedelta(hours=1) if now.modified_at else None
    seen = Known(lineage="one", serial=5, digest="f" * 64, at=at, source="run r1")
    assert await find_lost(backend, now, [seen]) is None

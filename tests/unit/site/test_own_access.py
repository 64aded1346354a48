"""A run's own way to its state: HTTP on a loopback port, under an address that only the run knows."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from interlock.lock import Requested
from interlock.run.surroundings import Seat
from interlock.site.own_access import open_access
from interlock.site.own_door import OwnDoor
from interlock.site.own_versions import OwnVersions
from interlock.site.which import own_ref
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state


async def got(address: str) -> bytes:
    def ask() -> bytes:
        with urllib.request.urlopen(address, timeout=10) as answer:
            body: bytes = answer.read()
            return body

    return await asyncio.to_thread(ask)


@pytest.mark.promise("P4", "P10")
async def test_terraform_reads_the_state_at_the_runs_address_and_at_no_other(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    await OwnVersions(own_ref("prod"), home).push(state(1, "a"), force=False)
    opened = open_access(home.coordinator, home.archive, ids=home.ids, state="prod", run="r1", who="me")
    async with opened as access:
        assert access.backend is not None
        address = access.backend.address
        assert await got(address) == state(1, "a")
        with pytest.raises(urllib.error.HTTPError):
            await got(address.replace("/run/", "/run/x"))
        assert (access.lock, access.workspace, access.accepted(), access.refused()) == (None, "", None, None)


async def test_who_comes_before_the_state_is_served_waits_for_the_answer(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    await OwnVersions(own_ref("prod"), home).push(state(1, "a"), force=False)
    door = OwnDoor(home.ids.secret())
    assert door.backend is not None
    asked = asyncio.create_task(got(door.backend.address))
    await asyncio.sleep(0)
    opened = open_access(home.coordinator, home.archive, ids=home.ids, state="prod", run="r1", who="me", door=door)
    async with opened as access:
        assert access.backend == door.backend
        assert await asked == state(1, "a")
    with pytest.raises(urllib.error.URLError, match="refused"):
        await got(door.backend.address)


@pytest.mark.promise("P6")
async def test_a_state_that_terraform_left_is_pushed_under_the_grant_of_the_run(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    request = Requested(ticket="r1", run="r1", who="me", lease_s=30.0, patience_s=15.0)
    grant = await home.coordinator.acquire("prod", request, timeout_s=0.0)
    opened = open_access(home.coordinator, home.archive, ids=home.ids, state="prod", run="r1", who="me")
    async with opened as access:
        access.admit(Seat(ticket="r1", token=grant.token))
        assert (await access.current()).serial == 0
        assert (await access.push(state(4, "a"), frozenset())).serial == 4
        assert await access.stored() == state(4, "a")
    (version,) = await home.archive.history("prod", limit=5)
    assert (version.run, version.token) == ("r1", grant.token)

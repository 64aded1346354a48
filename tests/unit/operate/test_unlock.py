"""A lock, examined and broken on proof, wherever it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interlock.errors import LockHeld, UsageError
from interlock.existing import Found, Reference, render_reference
from interlock.lock import Requested
from interlock.operate import unlock
from interlock.operate.unlock import Asked, GrantCase, TerraformLockCase, look, open_case
from interlock.recovery.terraform_lock import Override
from interlock.site.existing import ExistingSite
from interlock.site.own_versions import OwnVersions
from interlock.site.ref import Existing, StateRef
from interlock.site.which import own_ref
from interlock.terraform.lockinfo import LockInfo
from interlock.testing.existing import MemoryBackend
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state

pytestmark = pytest.mark.promise("P5")
ASKED = Asked(window_s=0.0)


async def test_a_grant_held_by_hand_is_broken_only_by_who_takes_responsibility(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    await OwnVersions(own_ref("prod"), home).push(state(1, "a"), force=False)
    request = Requested(ticket="t", who="bob", info="by hand: upgrade", lease_s=3600.0, patience_s=15.0)
    grant = await home.coordinator.acquire("prod", request, timeout_s=0.0)
    async with open_case("prod", ASKED, home, {}) as case:
        assert isinstance(case, GrantCase)
        found = await asyncio.wait_for(case.examine(), 10)
        assert found.verdict is not None
        assert (found.backend, found.verdict.conclusion.value) == ("interlock", "undecided")
        with pytest.raises(LockHeld):
            await case.break_(None)
        assert (await home.coordinator.view("prod")).lock.holders != ()
        freed = await case.break_(Override(operator="Ann Lee", reason="bob is on holiday"))
    assert (freed.snapshot, freed.findings) == ("version 1 of prod", ())
    assert (await home.coordinator.view("prod")).lock.holders == ()
    actions = [(entry.action, entry.facts.get("token")) for entry in await home.audit.entries()]
    assert ("force-unlock-decided", grant.token) in actions
    assert actions[-1] == ("force-unlock", grant.token)


async def test_nobody_to_break_is_said_with_a_command(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    await home.coordinator.pause("prod", by="ann", reason="maintenance")
    async with open_case("prod", ASKED, home, {}) as case:
        assert (await case.examine()).verdict is None
        with pytest.raises(UsageError, match="is not locked") as raised:
            await case.break_(None)
    assert raised.value.fix == "interlock lock show prod"
    ref, view, locks = await look("prod", home, {})
    assert (ref.queue, view is not None, locks) == ("prod", True, ())


@pytest.mark.parametrize(
    ("holder", "terraforms", "expected"),
    [
        ("", "", TerraformLockCase),
        ("r1", "", GrantCase),
        ("r1", "r1", GrantCase),
        ("r1", "plain", TerraformLockCase),
        ("", "plain", TerraformLockCase),
        ("r1", "r0", TerraformLockCase),
    ],
)
async def test_of_two_locks_on_one_state_the_one_in_the_way_is_examined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: str, terraforms: str, expected: type
) -> None:
    home, backend = memory_home(tmp_path / "home"), MemoryBackend()
    where = Existing(found=Found(type="s3"))
    ref = StateRef(queue="s3/states/app", address=backend.address, where=where, directory=tmp_path)

    class Queue:
        coordinator = home.coordinator

    async def resolve(*_: object) -> StateRef:
        return ref

    @asynccontextmanager
    async def opened(ref: StateRef, home: object, subject: str) -> AsyncIterator[ExistingSite]:
        yield ExistingSite(ref, home, backend, Queue(), subject=subject)  # type: ignore[arg-type]

    monkeypatch.setattr(unlock, "resolve", resolve)
    monkeypatch.setattr(unlock, "open_site", opened)
    if holder:
        request = Requested(ticket=holder, run=holder, who="me", lease_s=30.0, patience_s=15.0)
        await home.coordinator.acquire(ref.queue, request, timeout_s=0.0)
    if terraforms:
        info = "" if terraforms == "plain" else render_reference(Reference(run=terraforms, job=""))
        created = home.clock.now().isoformat()
        backend.hold(LockInfo(id="l", operation="apply", info=info, who="x", version="1", created=created, path=""))
    async with open_case("./app", ASKED, home, {}) as case:
        assert type(case) is expected

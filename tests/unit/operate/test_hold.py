"""Holding a state by hand for maintenance, wherever it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.errors import LockHeld, UsageError
from interlock.existing import Found
from interlock.lock import Requested
from interlock.operate import hold
from interlock.recovery.terraform_lock import BY_HAND
from interlock.site.existing import ExistingSite
from interlock.site.ref import Existing, StateRef
from interlock.terraform.lockinfo import build_lock_info
from interlock.testing.existing import MemoryBackend
from interlock.testing.home import memory_home

REF = StateRef(queue="http/x", address="http://x", where=Existing(found=Found(type="http")), directory=Path("/d"))


@pytest.mark.promise("P1")
async def test_a_state_of_ours_is_held_under_a_token_and_given_back_by_the_same_words(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    held = await hold.acquire("prod", home, {}, reason="upgrade", lease="1h", wait="0s")
    (holder,) = (await home.coordinator.view("prod")).lock.holders
    assert (holder.token, holder.info, holder.lease.lease_s) == (held.token, "by hand: upgrade", 3600.0)
    assert (await hold.release("prod", home, {})).token == held.token
    with pytest.raises(UsageError, match="is not locked"):
        await hold.release("prod", home, {})


@pytest.mark.promise("P5")
async def test_a_runs_grant_is_not_given_back_by_hand(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    request = Requested(ticket="r1", run="r1", who="me", lease_s=30.0, patience_s=15.0)
    await home.coordinator.acquire("prod", request, timeout_s=0.0)
    with pytest.raises(LockHeld) as raised:
        await hold.release("prod", home, {})
    assert raised.value.fix == "interlock runs cancel r1"
    assert (await home.coordinator.view("prod")).lock.holders != ()


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> MemoryBackend:
    """A state on a backend whose lock outlives a command."""
    backend = MemoryBackend()

    async def resolve(*_: object) -> StateRef:
        return REF

    @asynccontextmanager
    async def opened(ref: StateRef, home: object, subject: str) -> AsyncIterator[ExistingSite]:
        yield ExistingSite(ref, home, backend, None, subject=subject)  # type: ignore[arg-type]

    monkeypatch.setattr(hold, "resolve", resolve)
    monkeypatch.setattr(hold, "open_site", opened)
    return backend


@pytest.mark.promise("P1")
async def test_elsewhere_terraforms_own_lock_is_taken_and_only_ours_is_given_back(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    home = memory_home(tmp_path)
    held = await hold.acquire("./app", home, {}, reason="upgrade", lease="1h", wait="0s")
    (lock,) = await backend.read_locks()
    assert (lock.id, lock.operation, held.token) == (held.id, BY_HAND, None)
    assert (await hold.release("./app", home, {})).id == held.id
    now = home.clock.now() - timedelta(hours=1)
    backend.hold(build_lock_info(id="l", operation="OperationTypeApply", who="bob@desk", version="1", now=now))
    with pytest.raises(LockHeld, match="held by bob@desk"):
        await hold.release("./app", home, {})
    with pytest.raises(LockHeld):
        await hold.acquire("./app", home, {}, reason="upgrade", lease="1h", wait="0s")


async def test_a_lock_that_would_end_with_the_command_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text('terraform {\n  backend "local" {\n    path = "x.tfstate"\n  }\n}\n')
    home = memory_home(tmp_path / "home")
    with pytest.raises(UsageError, match="cannot be held by hand") as raised:
        await hold.acquire(str(tmp_path), home, {"PATH": ""}, reason="upgrade", lease="1h", wait=None)
    assert f"interlock lock show {tmp_path}" in raised.value.fix

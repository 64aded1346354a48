"""What is stored of a state elsewhere, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import BackendUnavailable, UsageError
from interlock.existing import Found
from interlock.site.existing_history import ExistingHistory
from interlock.site.existing_versions import keep_of
from interlock.site.ref import Existing, StateRef
from interlock.terraform.lockinfo import build_lock_info
from interlock.testing.existing import MemoryBackend
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def history(backend: MemoryBackend, tmp_path: Path) -> ExistingHistory:
    home = memory_home(tmp_path / "home")
    ref = StateRef(queue="q", address=backend.address, where=Existing(found=Found(type="s3")), directory=tmp_path)
    keep = keep_of(home.settings)
    return ExistingHistory(subject="./app", ref=ref, backend=backend, home=home, keep=keep, log=home.audit)


async def test_copies_of_ours_come_after_the_versions_of_the_store_and_only_when_it_lacks_them(
    backend: MemoryBackend, history: ExistingHistory
) -> None:
    backend.bodies = [state(1, "a"), state(2, "b")]
    for body in (state(1, "a"), state(9, "z")):
        history.keep.save(backend.address, body, now=history.home.clock.now())
    found = await history.history()
    assert [(one.serial, one.number) for one in found] == [(2, 2), (1, 1), (9, 0)]
    assert (await history.version(None)).serial == 2
    assert (await history.version("v1")).serial == 1
    with pytest.raises(UsageError, match="has no version 77"):
        await history.version("77")


async def test_a_state_that_is_gone_is_named_so_when_a_copy_of_it_is_kept(
    backend: MemoryBackend, history: ExistingHistory
) -> None:
    assert [finding.code for finding in await history.findings(None)] == ["no-state"]
    history.keep.save(backend.address, state(1, "a"), now=history.home.clock.now())
    (lost,) = await history.findings(None)
    assert lost.code == "state-gone"
    assert "our newest copy" in lost.message


async def test_who_holds_it_is_a_note_and_a_lock_that_cannot_be_read_too(
    backend: MemoryBackend, history: ExistingHistory
) -> None:
    backend.bodies = [state(1, "a")]
    now = history.home.clock.now()
    backend.hold(build_lock_info(id="l", operation="apply", who="bob@desk", version="1", now=now))
    (held,) = [finding for finding in await history.findings(None) if finding.code == "locked"]
    assert "bob@desk" in held.message
    backend.failures = [BackendUnavailable("no answer")]
    assert "lock-unknown" in [finding.code for finding in await history.findings(None)]

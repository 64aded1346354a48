"""What a dead run left of a state elsewhere: its unsaved state, and Terraform's own lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.existing import Reference, render_reference
from interlock.home.embedded import EmbeddedHome
from interlock.lock import Holder, Requested
from interlock.run.summary import Summary, write_summary
from interlock.run.workspace import ERRORED
from interlock.site.existing_leftovers import ExistingLeftovers
from interlock.site.witnessed import note_last
from interlock.state import REVIEWER
from interlock.terraform.lockinfo import LockInfo
from interlock.testing.clock import START
from interlock.testing.existing import MemoryBackend
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state

QUEUE = "s3/states/app"


class Dead:
    """A run that died while it held the state."""

    def __init__(self, folder: Path) -> None:
        self.home: EmbeddedHome = memory_home(folder)
        self.backend = MemoryBackend()
        self.backend.bodies = [state(1, "a")]
        self.folder = self.home.runs / "r1"
        self.folder.mkdir(parents=True)
        summary = Summary(
            run="r1", state=QUEUE, operation="apply", who="me", directory="/d", phase="applying", started_at=START
        )
        write_summary(self.folder, summary)

    async def holder(self) -> Holder:
        request = Requested(ticket="r1", run="r1", who="me", lease_s=30.0, patience_s=15.0)
        await self.home.coordinator.acquire(QUEUE, request, timeout_s=0.0)
        (holder,) = (await self.home.coordinator.view(QUEUE)).lock.holders
        return holder

    def lock(self, run: str) -> None:
        info = render_reference(Reference(run=run, job=""))
        self.backend.hold(LockInfo(id="l", operation="apply", info=info, who="x", version="1", created="", path=""))

    async def salvage(self) -> str:
        home = self.home
        leftovers = ExistingLeftovers(
            runs=home.runs, archive=home.archive, clock=home.clock, backend=self.backend, coordinator=home.coordinator
        )
        return await leftovers.salvage(QUEUE, await self.holder())


@pytest.mark.promise("P3", "P5")
@pytest.mark.parametrize("whose", ["r1", ""])
async def test_what_it_could_not_save_is_stored_under_its_own_lock_or_one_of_ours(tmp_path: Path, whose: str) -> None:
    """Where Terraform's lock ends with its process, as with a file, it is free by now."""
    dead = Dead(tmp_path)
    if whose:
        dead.lock(whose)
    else:
        note_last(dead.folder, await dead.backend.read_state())
    (dead.folder / ERRORED).write_bytes(state(2, "a", "b"))
    done = await dead.salvage()
    assert "stored as serial 2" in done
    assert dead.backend.bodies[-1] == state(2, "a", "b")
    assert not dead.backend.locks
    head = (await dead.home.coordinator.view(QUEUE)).head
    assert head is not None
    assert (head.serial, head.run) == (2, "r1")


@pytest.mark.promise("P3")
async def test_what_somebody_stored_when_its_lock_had_ended_is_not_replaced_whatever_the_serials_say(
    tmp_path: Path,
) -> None:
    dead = Dead(tmp_path)
    note_last(dead.folder, await dead.backend.read_state())
    dead.backend.bodies.append(state(2, "a", "theirs"))
    (dead.folder / ERRORED).write_bytes(state(9, "a", "theirs", "b"))
    assert "is kept" in await dead.salvage()
    assert dead.backend.bodies[-1] == state(2, "a", "theirs")
    assert (dead.folder / ERRORED).exists()
    assert not dead.backend.locks


@pytest.mark.promise("P1", "P3")
async def test_nothing_is_stored_under_the_lock_of_somebody_else(tmp_path: Path) -> None:
    dead = Dead(tmp_path)
    dead.lock("r2")
    (dead.folder / ERRORED).write_bytes(state(2, "a", "b"))
    assert "is kept" in await dead.salvage()
    assert (dead.folder / ERRORED).read_bytes() == state(2, "a", "b")
    assert dead.backend.bodies[-1] != state(2, "a", "b")
    assert dead.backend.locks


@pytest.mark.promise("P6")
async def test_one_that_drops_what_no_plan_took_out_is_stored_and_held_for_review(tmp_path: Path) -> None:
    dead = Dead(tmp_path)
    dead.lock("r1")
    (dead.folder / ERRORED).write_bytes(state(2, "b"))
    assert "suspect" in await dead.salvage()
    pause = (await dead.home.coordinator.view(QUEUE)).lock.pause
    assert pause is not None
    assert (pause.by, "interlock state accept /d" in pause.reason) == (REVIEWER, True)


@pytest.mark.promise("P3")
async def test_one_of_another_lineage_is_kept_and_said(tmp_path: Path) -> None:
    dead = Dead(tmp_path)
    dead.lock("r1")
    (dead.folder / ERRORED).write_bytes(state(2, "a", lineage="two"))
    assert "could not be stored and is kept" in await dead.salvage()
    assert dead.backend.bodies == [state(1, "a")]
    assert (dead.folder / ERRORED).is_file()
    assert dead.backend.locks == {}, "plain Terraform can go on"

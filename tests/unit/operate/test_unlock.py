"""A lock, examined and broken on proof, wherever it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from interlock.api.runs import ToldRun
from interlock.errors import LockHeld, UsageError
from interlock.existing import Found, Reference, render_reference
from interlock.home.embedded import EmbeddedHome
from interlock.host import ProcessName, name_process
from interlock.lock import Requested
from interlock.operate import unlock
from interlock.operate.unlock import Asked, GrantCase, TerraformLockCase, look, open_case
from interlock.recovery import Evidence, Says
from interlock.recovery.terraform_lock import Override
from interlock.run.summary import Summary
from interlock.site.existing import ExistingSite
from interlock.site.own_versions import OwnVersions
from interlock.site.ref import Existing, StateRef
from interlock.site.which import own_ref
from interlock.terraform.lockinfo import LockInfo
from interlock.testing.clock import FakeClock
from interlock.testing.existing import MemoryBackend
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state

pytestmark = pytest.mark.promise("P5")
ASKED = Asked(window_s=0.0)
RUN = "1m8pfjgf9tbp6nb4"


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


class Quick(FakeClock):
    """Time passes at once for whoever waits."""

    async def sleep(self, wait_s: float) -> None:
        self.pass_time(wait_s)


class AtServer(EmbeddedHome):
    """A home at a server, whose runs tell of themselves from other machines and other homes of this one."""

    told: ToldRun | None = None

    @property
    def team_runs(self) -> Any:
        return self

    async def recent(self, *, limit: int, state: str = "", begins: str = "") -> list[ToldRun]:
        assert limit
        assert not state
        return [self.told] if self.told is not None and self.told.run.startswith(begins) else []


async def told_by_run(folder: Path, run: str, **processes: ProcessName) -> list[Evidence]:
    """Return what is found of the processes of a run that holds, and told a server of these."""
    near = memory_home(folder, clock=Quick())
    home = AtServer(near.settings, near.store, near.coordinator, clock=near.clock, ids=near.ids)
    summary = Summary(
        run=run,
        state="prod",
        operation="apply",
        who="bob",
        directory="/infra",
        phase="applying",
        started_at=near.clock.now(),
        processes=processes,
        starting="",
    )
    raw = msgspec.Raw(msgspec.json.encode(summary))
    home.told = ToldRun(run=run, state="prod", summary=raw, size=0, ended=False)
    asked = Requested(ticket=run, who="bob", run=run, lease_s=1.0, patience_s=1.0)
    await home.coordinator.acquire("prod", asked, timeout_s=0.0)
    async with open_case("prod", ASKED, home, {}) as case:
        found = await asyncio.wait_for(case.examine(), 10)
    assert found.verdict is not None
    assert found.verdict.conclusion.value in {"undecided", "alive"}, "what a server was told proves no death"
    return [each for each in found.evidence if each.witness == "process"]


async def test_a_process_of_this_machine_of_which_the_server_was_told_is_seen_alive(tmp_path: Path) -> None:
    (seen,) = await told_by_run(tmp_path, RUN, supervisor=name_process(os.getpid()))
    assert seen.says is Says.ALIVE


@pytest.mark.parametrize(
    "difference", [{"host": "laptop0"}, {"boot": "another"}, {"namespace": "another"}, {"boot": ""}]
)
async def test_a_process_number_of_another_machine_says_nothing_here(
    tmp_path: Path, difference: dict[str, str]
) -> None:
    (seen,) = await told_by_run(tmp_path, RUN, supervisor=replace(name_process(os.getpid()), **difference))
    assert seen.says is Says.NOTHING
    assert "interlock lock explain" in seen.how_to


async def test_that_what_was_told_of_has_ended_here_is_no_proof_since_more_may_have_begun(tmp_path: Path) -> None:
    (seen,) = await told_by_run(tmp_path, RUN, supervisor=replace(name_process(os.getpid()), started="0"))
    assert seen.says is Says.NOTHING
    assert "may be older" in seen.text

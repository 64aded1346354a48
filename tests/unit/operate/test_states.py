"""The states of a home in a list, and the bytes of their old versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.home.known import KnownState
from interlock.operate.states import prune_state, stored_states
from interlock.settings.values import Settings, StateSettings
from interlock.site.own_versions import OwnVersions
from interlock.site.which import own_ref
from interlock.state import Retention
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state


@pytest.mark.promise("P11")
async def test_states_with_content_and_those_elsewhere_that_were_used_are_listed(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    await OwnVersions(own_ref("prod"), home).push(state(1, "a"), force=False)
    await home.coordinator.pause("empty", by="me", reason="nothing was ever stored")
    now = home.clock.now()
    await home.states.remember(KnownState(queue="s3/b/k", address="s3://b/k", type="s3", seen_at=now))
    await home.states.remember(KnownState(queue="prod", address="interlock:prod", seen_at=now))
    found = await stored_states(home, {})
    assert [(one.state, one.address, one.head is None) for one in found] == [
        ("prod", "", False),
        ("s3/b/k", "s3://b/k", True),
    ]


@pytest.mark.promise("P11")
async def test_roots_of_interlock_yaml_that_nobody_used_are_listed_and_what_cannot_be_found_is_said(
    tmp_path: Path,
) -> None:
    for name, text in (("own", ""), ("there", 'terraform {\n  backend "local" {\n    path = "x"\n  }\n}\n')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.tf").write_text(text)
    folders = {"fresh": "own", "elsewhere": "there", "gone": "gone", "prod": None}
    states = {name: StateSettings(directory=tmp_path / to if to else None) for name, to in folders.items()}
    home = memory_home(tmp_path)
    home.settings = Settings(home=tmp_path, states=states)
    await OwnVersions(own_ref("prod"), home).push(state(1, "a"), force=False)
    found = {one.state: one for one in await stored_states(home, {})}
    assert found["prod"].head is not None
    assert (found["fresh"].head, found["fresh"].address, found["fresh"].trouble) == (None, "", "")
    assert "holds no configuration here" in found["gone"].trouble
    (there,) = (one for one in found.values() if one.address)
    assert there.address == str(tmp_path / "there" / "x")
    assert len(found) == 4


@pytest.mark.promise("P3")
async def test_pruning_is_planned_first_and_never_takes_what_is_current(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    own = OwnVersions(own_ref("prod"), home)
    for serial in (1, 2, 3):
        await own.push(state(serial, f"r{serial}"), force=False)
    home.clock.jump(86_400.0 * 9000)  # type: ignore[attr-defined] # the fake one
    policy = Retention(newest=1, all_for_s=0.0, daily_for_s=0.0, weekly_for_s=0.0)
    planned = await prune_state(own, policy, dry_run=True)
    assert await own.body("serial:1") == state(1, "r1"), "nothing went yet"
    assert await prune_state(own, policy, dry_run=False) == planned
    assert {version.number for version in planned} == {1, 2}
    assert await own.body(None) == state(3, "r3")
    assert (await home.coordinator.view("prod")).lock.holders == ()

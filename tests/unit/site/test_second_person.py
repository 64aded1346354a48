"""Force-unlock, restore and push where policies want two persons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interlock.errors import PolicyGate
from interlock.home.embedded import EmbeddedHome
from interlock.lock import Requested
from interlock.operate.approving import decide
from interlock.operate.unlock import Asked, open_case
from interlock.policy import Policy
from interlock.policy.approval import Verdict
from interlock.recovery.terraform_lock import Override
from interlock.site.own import OwnSite
from interlock.site.own_versions import OwnVersions
from interlock.site.second_person import agree_to_push
from interlock.site.which import own_ref
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state

pytestmark = pytest.mark.promise("P5")
ANN = Override(operator="Ann Lee", reason="bob is on holiday")


async def home_with(folder: Path, **said: Any) -> EmbeddedHome:
    home = memory_home(folder)
    await home.policies.replace((Policy(name="careful", states="prod", **said),))
    return home


async def agree(home: EmbeddedHome, refusal: PolicyGate, who: str = "") -> None:
    request = refusal.facts["approval"]
    assert refusal.fix.startswith(f"interlock approve {request} --reason TEXT")
    await decide(str(request), Verdict.APPROVE, home, reason="seen", who=who or f"ben@{home.person.rpartition('@')[2]}")


async def actions(home: EmbeddedHome) -> list[str]:
    return [entry.action for entry in await home.audit.entries()]


async def test_a_lock_is_broken_only_when_another_person_agreed_to_exactly_this(tmp_path: Path) -> None:
    home = await home_with(tmp_path, two_persons=True)
    await OwnVersions(own_ref("s"), home).push(state(1, "a"), force=False)
    for token in (1, 2):
        request = Requested(ticket=f"t{token}", who="bob", lease_s=3600.0, patience_s=15.0)
        await home.coordinator.acquire("prod", request, timeout_s=0.0)
        async with open_case("prod", Asked(window_s=0.0), home, {}) as case:
            await case.examine()
            with pytest.raises(PolicyGate, match="another person must agree") as refusal:
                await case.break_(ANN)
            assert (await home.coordinator.view("prod")).lock.holders
            with pytest.raises(PolicyGate, match="may not approve"):
                await agree(home, refusal.value, home.person)
            await agree(home, refusal.value)
            await case.break_(ANN)
        assert not (await home.coordinator.view("prod")).lock.holders
    assert (await actions(home)).count("approval-used") == 2, "each grant is agreed to by itself"


async def test_another_reason_is_another_question(tmp_path: Path) -> None:
    home = await home_with(tmp_path, two_persons=True)
    await home.coordinator.acquire(
        "prod", Requested(ticket="t", who="bob", lease_s=3600.0, patience_s=15.0), timeout_s=0.0
    )
    async with open_case("prod", Asked(window_s=0.0), home, {}) as case:
        await case.examine()
        with pytest.raises(PolicyGate) as refusal:
            await case.break_(ANN)
        await agree(home, refusal.value)
        with pytest.raises(PolicyGate, match="another person must agree"):
            await case.break_(Override(operator="Ann Lee", reason="I am in a hurry"))
    assert (await home.coordinator.view("prod")).lock.holders


async def test_a_version_is_restored_only_when_another_person_agreed(tmp_path: Path) -> None:
    home = await home_with(tmp_path)
    versions = OwnVersions(own_ref("prod"), home)
    for serial in (1, 2):
        await versions.push(state(serial, "a"), force=False)
    await home.policies.replace((Policy(name="careful", states="prod", two_persons=True),))
    planned = await versions.plan_restore("serial:1")
    with pytest.raises(PolicyGate) as refusal:
        await versions.restore(planned)
    assert len(await home.archive.history("prod")) == 2
    await agree(home, refusal.value)
    assert await versions.restore(planned) == 3
    with pytest.raises(PolicyGate, match="another person"):
        await versions.restore(await versions.plan_restore("serial:1"))


async def test_a_push_by_hand_is_agreed_to_by_its_bytes(tmp_path: Path) -> None:
    home = await home_with(tmp_path, two_persons=True)
    site = OwnSite(own_ref("prod"), home)
    with pytest.raises(PolicyGate) as refusal:
        await agree_to_push(site, state(1, "a"))
    await agree(home, refusal.value)
    with pytest.raises(PolicyGate):
        await agree_to_push(site, state(1, "b"))
    await agree_to_push(site, state(1, "a"))


async def test_nobody_is_asked_where_no_policy_wants_it(tmp_path: Path) -> None:
    home = await home_with(tmp_path, approvals=2)
    await agree_to_push(OwnSite(own_ref("prod"), home), state(1, "a"))
    other = await home_with(tmp_path, two_persons=True)
    await agree_to_push(OwnSite(own_ref("test"), other), state(1, "a"))
    assert await actions(other) == []

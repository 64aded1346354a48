"""Holding a state of ours for a person's command."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import WaitTimeout
from interlock.lock import Requested
from interlock.settings.values import Settings
from interlock.site.holding import holding, is_review, settling
from interlock.state import REVIEWER
from interlock.testing.home import memory_home


@pytest.mark.promise("P1")
async def test_a_state_is_held_for_the_command_and_given_back(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    async with holding(home, "prod", "state push") as seat:
        (holder,) = (await home.coordinator.view("prod")).lock.holders
        assert (holder.ticket, holder.token, holder.who, holder.info) == (
            seat.ticket,
            seat.token,
            home.me,
            "state push",
        )
    assert (await home.coordinator.view("prod")).lock.holders == ()


@pytest.mark.promise("P2")
async def test_it_waits_its_turn_and_no_longer_than_the_settings_say(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    home.settings = Settings(home=tmp_path, wait_s=0.0)
    request = Requested(ticket="r1", run="r1", who="bob", lease_s=30.0, patience_s=15.0)
    await home.coordinator.acquire("prod", request, timeout_s=0.0)
    with pytest.raises(WaitTimeout):
        async with holding(home, "prod", "state push"):
            pass
    assert (await home.coordinator.view("prod")).lock.waiters == ()


@pytest.mark.promise("P6")
async def test_what_settles_a_review_stands_before_those_who_wait_for_its_end(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    await home.coordinator.pause("prod", by=REVIEWER, reason="a suspect version")
    await home.coordinator.request("prod", Requested(ticket="r1", run="r1", who="bob", lease_s=30.0, patience_s=3600.0))
    async with settling(home, "prod", "state accept", is_review) as seat:
        lock = (await home.coordinator.view("prod")).lock
        assert [holder.ticket for holder in lock.holders] == [seat.ticket]
        assert [waiter.ticket for waiter in lock.waiters] == ["r1"]

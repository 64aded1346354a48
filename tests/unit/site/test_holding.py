"""Holding a state of ours for a person's command."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from interlock.errors import BackendUnavailable, WaitTimeout
from interlock.home.embedded import EmbeddedHome
from interlock.lock import Requested
from interlock.recovery.breaker import Breaker, Cannot, Noticed, Tell
from interlock.settings.values import Settings
from interlock.site.hold_record import find_hold
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


@pytest.mark.parametrize(("run", "by"), [("r1", "bob, run r1"), ("", "bob")])
async def test_who_waits_for_a_command_hears_for_what(tmp_path: Path, run: str, by: str) -> None:
    said: list[str] = []
    home, heard = memory_home(tmp_path), asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        heard.set()

    home.say = say
    request = Requested(ticket="t1", run=run, who="bob", lease_s=30.0, patience_s=15.0)
    grant = await home.coordinator.acquire("prod", request, timeout_s=0.0)
    moving = asyncio.create_task(_held_once(home))
    await heard.wait()
    await home.coordinator.release("prod", ticket=grant.ticket, token=grant.token)
    await moving
    assert said == [f"waiting for state prod: held by {by}    interlock lock explain prod"]


async def _held_once(home: EmbeddedHome) -> None:
    async with holding(home, "prod", "state push"):
        pass


async def test_who_waits_behind_a_pause_hears_of_it(tmp_path: Path) -> None:
    said: list[str] = []
    home = memory_home(tmp_path)
    home.say = said.append
    home.settings = Settings(home=tmp_path, wait_s=0.0)
    await home.coordinator.pause("prod", by="ann", reason="holidays")
    with pytest.raises(WaitTimeout):
        await _held_once(home)
    assert said == ["waiting for state prod: its queue is paused: holidays    interlock queue ls prod"]


async def test_who_looks_after_a_holder_in_vain_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    home = memory_home(tmp_path)
    home.say = said.append
    request = Requested(ticket="t1", who="bob", lease_s=30.0, patience_s=15.0)
    grant = await home.coordinator.acquire("prod", request, timeout_s=0.0)

    async def fails(self: Breaker, state: str, tell: Tell, cannot: Cannot) -> None:
        cannot(BackendUnavailable("the server is away"))
        tell(Noticed(verdict="alive", token=1, run="r1", text="holder r1 is alive"))
        await home.coordinator.release(state, ticket=grant.ticket, token=grant.token)

    monkeypatch.setattr(Breaker, "attend", fails)
    await _held_once(home)
    assert {"cannot look after the holder: the server is away", "holder r1 is alive"} <= set(said)


@pytest.mark.promise("P5")
async def test_a_command_whose_server_is_away_at_its_end_leaves_what_shows_that_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = memory_home(tmp_path)
    seats = []

    async def work(state: str, error: Exception, *, goes: bool) -> None:
        with monkeypatch.context() as away:
            async with holding(home, state, "state push") as seat:
                seats.append(seat)
                for name in ("release", "view") if goes else ():
                    away.setattr(home.coordinator, name, _is_away)
                raise error

    with pytest.raises(BackendUnavailable, match="in the middle"):
        await work("prod", BackendUnavailable("in the middle"), goes=True)
    with pytest.raises(ValueError, match="its own"):
        await work("other", ValueError("its own"), goes=False)
    assert [find_hold(tmp_path, seat.ticket) is not None for seat in seats] == [True, False]


@pytest.mark.promise("P2")
async def test_a_grant_is_given_back_though_ctrl_c_comes_before_who_attended_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends late where the answer to a break is slow, and the break gave the state to us."""
    home, called_off, ends = memory_home(tmp_path), asyncio.Event(), asyncio.Event()
    other = Requested(ticket="r1", run="r1", who="bob", lease_s=30.0, patience_s=15.0)
    grant = await home.coordinator.acquire("prod", other, timeout_s=0.0)

    async def attend(*_: object) -> None:
        await home.coordinator.release("prod", "r1", grant.token)
        try:
            await asyncio.Event().wait()
        finally:
            called_off.set()
            await ends.wait()

    async def hold() -> None:
        async with holding(home, "prod", "state push"):
            raise AssertionError("it was stopped before")

    monkeypatch.setattr(Breaker, "attend", attend)
    command = asyncio.create_task(hold())
    await called_off.wait()
    held = (await home.coordinator.view("prod")).lock.holders
    command.cancel()
    ends.set()
    await asyncio.wait({command})
    assert (len(held), command.cancelled()) == (1, True)
    assert (await home.coordinator.view("prod")).lock.holders == ()


async def _is_away(*_: object, **__: object) -> None:
    raise BackendUnavailable("the server is away")


@pytest.mark.promise("P6")
async def test_what_settles_a_review_stands_before_those_who_wait_for_its_end(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    await home.coordinator.pause("prod", by=REVIEWER, reason="a suspect version")
    await home.coordinator.request("prod", Requested(ticket="r1", run="r1", who="bob", lease_s=30.0, patience_s=3600.0))
    async with settling(home, "prod", "state accept", is_review) as seat:
        lock = (await home.coordinator.view("prod")).lock
        assert [holder.ticket for holder in lock.holders] == [seat.ticket]
        assert [waiter.ticket for waiter in lock.waiters] == ["r1"]

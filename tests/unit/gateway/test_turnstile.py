from __future__ import annotations

import asyncio

import pytest

from interlock.gateway import admission as admission_module
from interlock.gateway.admission import Admission, Ask, Finished, Full, Grant
from interlock.gateway.concurrency import Concurrency
from interlock.gateway.rules import Rules
from interlock.gateway.turnstile import Turnstile
from interlock.genesys import rate_limits
from interlock.lock import Priority
from interlock.testing.clock import FakeClock


class Gate:
    """A turnstile with a clock that the test moves, and a count of wishes for tokens."""

    def __init__(self, *, in_flight: int = 10) -> None:
        self.clock = FakeClock()
        self.wishes = 0
        limit = Concurrency(limit=in_flight, ceiling=in_flight)
        self.admission = Admission(Rules(rate_limits()), hold_s=8.0, concurrency=limit)
        self.turnstile = Turnstile(self.admission, self.clock, self.wish)

    def wish(self) -> None:
        self.wishes += 1

    def ask(self) -> Ask:
        now_s = self.clock.monotonic()
        return Ask(
            flow="r/1",
            priority=Priority.APPLY,
            needs=self.admission.rules.needs("GET", "/api/v2/users", ""),
            arrived_s=now_s,
            deadline_s=now_s + 8.0,
        )

    async def enter(self) -> asyncio.Task[Grant | int | Full]:
        task = asyncio.create_task(self.turnstile.enter(self.ask()))
        await asyncio.sleep(0)
        return task


@pytest.fixture
async def gate() -> Gate:
    return Gate()


async def test_who_may_go_goes_at_once(gate: Gate) -> None:
    gate.admission.open_slot(0, 0.0)
    assert isinstance(await gate.turnstile.enter(gate.ask()), Grant)
    gate.turnstile.close()


async def test_who_waits_goes_when_somebody_leaves() -> None:
    gate = Gate(in_flight=1)
    gate.admission.open_slot(0, 0.0)
    first = await gate.turnstile.enter(gate.ask())
    assert isinstance(first, Grant)
    second = await gate.enter()
    assert not second.done()
    gate.turnstile.leave(first, Finished(status=200))
    assert isinstance(await second, Grant)


async def test_a_missing_token_is_wished_for(gate: Gate) -> None:
    task = await gate.enter()
    assert gate.wishes == 1
    gate.turnstile.close()
    assert await task == 1


async def test_who_waited_until_the_deadline_is_told_when_to_come_back(gate: Gate) -> None:
    task = await gate.enter()
    await gate.clock.advance(8.0)
    gate.turnstile.pump()
    told = await task
    assert isinstance(told, int)
    assert 1 <= told <= 180


async def test_who_is_cancelled_while_waiting_is_forgotten() -> None:
    gate = Gate(in_flight=1)
    gate.admission.open_slot(0, 0.0)
    first = await gate.turnstile.enter(gate.ask())
    assert isinstance(first, Grant)
    second = await gate.enter()
    second.cancel()
    await asyncio.wait({second})
    assert len(gate.admission.turns) == 0
    gate.turnstile.leave(first, Finished(status=200))
    assert gate.admission.flying == 0


async def test_who_is_cancelled_in_the_instant_of_the_grant_gives_it_back() -> None:
    gate = Gate(in_flight=1)
    gate.admission.open_slot(0, 0.0)
    first = await gate.turnstile.enter(gate.ask())
    assert isinstance(first, Grant)
    second = await gate.enter()
    gate.turnstile.leave(first, Finished(status=200))
    second.cancel()
    await asyncio.wait({second})
    assert second.cancelled()
    assert gate.admission.flying == 0


async def test_a_full_house_is_told_at_once(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "WAITING_MAX", 0)
    assert await gate.turnstile.enter(gate.ask()) is Full.HOUSE


async def test_after_closing_nobody_is_let_through(gate: Gate) -> None:
    task = await gate.enter()
    gate.turnstile.close()
    gate.admission.open_slot(0, 0.0)
    gate.turnstile.pump()
    assert await task == 1
    assert gate.admission.flying == 0


async def test_who_comes_after_the_end_is_sent_away_at_once(gate: Gate) -> None:
    """A write that paused, or whose object is looked at, asks again: it would wait for ever."""
    gate.admission.open_slot(0, 0.0)
    gate.turnstile.close()
    async with asyncio.timeout(5.0):
        assert await gate.turnstile.enter(gate.ask()) == 1
    assert not len(gate.admission.turns)

"""One clock that was ahead, or went back, delays nobody for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from interlock.lock import Elapsed, Released, Renewed
from interlock.lock.belief import is_believable, latest

if TYPE_CHECKING:
    Scene = Any

DAY_S = 86_400.0
T0 = datetime(2026, 11, 24, tzinfo=UTC)


def test_an_instant_is_believed_up_to_a_bound() -> None:
    assert is_believable(T0 + timedelta(seconds=40), T0, ahead_s=40)
    assert not is_believable(T0 + timedelta(seconds=41), T0, ahead_s=40)
    assert is_believable(T0 - timedelta(days=9), T0, ahead_s=40)


def test_the_later_instant_counts_unless_it_is_not_believable() -> None:
    ahead = T0 + timedelta(seconds=10)
    assert latest(ahead, T0, ahead_s=40) == ahead
    assert latest(ahead, T0, ahead_s=5) == T0
    assert latest(T0, ahead, ahead_s=5) == ahead


@pytest.mark.promise("P2")
def test_a_waiter_that_spoke_by_a_clock_a_day_ahead_is_dropped_in_its_patience(scene: Scene) -> None:
    for ticket in ("a", "dead", "c"):
        scene.ask(ticket)
    scene.tell(Renewed(ticket="dead"), at_s=DAY_S)
    for at_s in range(10, 120, 10):
        scene.tell(Renewed(ticket="c"), at_s=at_s)
    assert scene.waiters() == ["c"]
    scene.tell(Released(ticket="a"), at_s=121)
    assert scene.holders() == ["c"]


@pytest.mark.promise("P2")
def test_a_doubt_by_a_clock_a_day_ahead_keeps_no_dead_waiter(scene: Scene) -> None:
    for ticket in ("a", "dead", "c"):
        scene.ask(ticket)
    scene.tell(Elapsed(), at_s=DAY_S)
    for at_s in range(10, 120, 10):
        scene.tell(Renewed(ticket="c"), at_s=at_s)
    assert scene.waiters() == ["c"]


@pytest.mark.promise("P2")
def test_a_living_waiter_survives_a_clock_that_went_back_by_a_day(scene: Scene) -> None:
    for ticket in ("a", "b"):
        scene.ask(ticket, at_s=DAY_S)
    for at_s in range(0, 300, 10):
        scene.tell(Elapsed(), at_s=at_s)
        scene.tell(Renewed(ticket="b"), at_s=at_s)
    assert scene.waiters() == ["b"]
    scene.tell(Released(ticket="a"), at_s=300)
    assert scene.holders() == ["b"]

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from interlock.lock import Elapsed, Grant, Queued, Released, Requested, StillWaiting

if TYPE_CHECKING:
    Scene = Any


def _poll(ticket: str, *, patience_s: float = 40.0) -> Requested:
    return Requested(ticket=ticket, who="w", lease_s=60.0, patience_s=patience_s, lock_id=ticket, polls=True)


def test_a_polling_party_is_granted_at_once_when_nothing_is_in_the_way(scene: Scene) -> None:
    assert [type(effect) for effect in scene.tell(_poll("a")).effects] == [Grant]


def test_a_polling_party_is_not_granted_behind_its_back(scene: Scene) -> None:
    scene.ask("a")
    scene.tell(_poll("b"))
    assert not [effect for effect in scene.tell(Released(ticket="a"), at_s=3).effects if isinstance(effect, Grant)]
    assert (scene.holders(), scene.waiters()) == ([], ["b"])
    assert [type(effect) for effect in scene.tell(_poll("b"), at_s=4).effects] == [Grant]


def test_a_polling_party_keeps_its_place_between_polls(scene: Scene) -> None:
    scene.ask("a")
    scene.tell(_poll("b"))
    late = scene.ask("c", at_s=2)
    assert [effect.position for effect in late.effects if isinstance(effect, Queued)] == [2]
    scene.tell(_poll("b"), at_s=16)
    assert scene.waiters() == ["b", "c"]


@pytest.mark.promise("P2")
def test_a_free_lock_is_granted_to_whoever_is_there(scene: Scene) -> None:
    scene.ask("a")
    scene.tell(_poll("b"))
    scene.tell(Released(ticket="a"), at_s=1)
    scene.tell(_poll("c"), at_s=2)
    assert (scene.holders(), scene.waiters()) == (["c"], ["b"])


@pytest.mark.promise("P2")
def test_a_client_that_asks_under_a_new_id_each_time_is_never_refused_by_its_own_ghosts(scene: Scene) -> None:
    scene.ask("other")
    for n in range(4):
        assert not scene.tell(_poll(f"try{n}"), at_s=3.0 * n).refused
    scene.tell(Released(ticket="other"), at_s=10)
    assert [type(effect) for effect in scene.tell(_poll("try4"), at_s=12).effects] == [Grant]


@pytest.mark.promise("P2")
def test_when_a_server_starts_no_plain_client_is_granted_until_it_speaks(scene: Scene) -> None:
    for ticket in ("x", "dead", "alive"):
        scene.tell(Requested(ticket=ticket, who="w", lease_s=60.0, patience_s=40.0, lock_id=ticket, attempt=ticket))
    scene.ask("run")
    scene.tell(Elapsed(doubts_clients=True), at_s=1)
    assert [waiter.doubted_at is None for waiter in scene.lock.waiters] == [False, False, True]
    scene.tell(StillWaiting(tickets=frozenset({"alive"})), at_s=1)
    scene.tell(Released(ticket="x"), at_s=2)
    assert (scene.holders(), scene.waiters()) == (["alive"], ["dead", "run"])


def test_a_poll_may_bring_a_longer_patience(scene: Scene) -> None:
    scene.ask("a")
    scene.tell(_poll("b", patience_s=8.0))
    scene.tell(_poll("b", patience_s=40.0), at_s=1)
    [waiter] = scene.lock.waiters
    assert waiter.patience_s == 40.0
    assert waiter.doubted_at - waiter.joined_at == timedelta(seconds=1)

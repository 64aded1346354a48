from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from interlock.lock import Grant, Queued, Released, Renewed, Requested

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
    scene.tell(Released(ticket="a"), at_s=1)
    late = scene.ask("c", at_s=2)
    assert [effect.position for effect in late.effects if isinstance(effect, Queued)] == [2]
    scene.tell(_poll("b"), at_s=16)
    assert scene.holders() == ["b"]


def test_a_polling_party_that_never_comes_back_is_passed_over(scene: Scene) -> None:
    scene.ask("a")
    scene.tell(_poll("b", patience_s=8.0))
    scene.ask("c", at_s=1)
    scene.tell(Released(ticket="a"), at_s=2)
    scene.tell(Renewed(ticket="c"), at_s=7)
    assert scene.holders() == []
    scene.tell(Renewed(ticket="c"), at_s=9)
    assert scene.holders() == ["c"]


def test_a_poll_may_bring_a_longer_patience(scene: Scene) -> None:
    scene.ask("a")
    scene.tell(_poll("b", patience_s=8.0))
    scene.tell(_poll("b", patience_s=40.0), at_s=1)
    [waiter] = scene.lock.waiters
    assert waiter.patience_s == 40.0
    assert waiter.doubted_at - waiter.joined_at == timedelta(seconds=1)

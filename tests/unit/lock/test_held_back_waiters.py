from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from interlock.lock import Bumped, HeldBack, RefuseReason, Released, from_data, to_data

Scene = Any  # tests/unit/lock/conftest.py
QueueOf = Callable[..., Scene]


@pytest.mark.promise("P2")
def test_one_that_is_held_back_keeps_its_place_and_holds_up_nobody(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c", "d")
    scene.tell(HeldBack(ticket="b", reason="window"))
    scene.tell(Released(ticket="a", token=1))
    assert scene.holders() == ["c"]
    assert scene.waiters() == ["b", "d"]
    scene.tell(HeldBack(ticket="b"))
    assert scene.holders() == ["c"]
    scene.tell(Released(ticket="c", token=2))
    assert scene.holders() == ["b"], "it is before d, as it came"


def test_one_that_joins_held_back_is_not_granted_a_free_lock_until_it_wants_it(scene: Scene) -> None:
    scene.ask("a", held="window")
    assert scene.holders() == []
    scene.ask("a", at_s=1)
    assert scene.holders() == [], "asking again says nothing of what holds it back"
    scene.tell(HeldBack(ticket="a"), at_s=2)
    assert scene.holders() == ["a"]


def test_bumping_does_not_let_go_of_what_is_held_back(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c")
    scene.tell(HeldBack(ticket="c", reason="freeze"))
    scene.tell(Bumped(ticket="c"))
    scene.tell(Released(ticket="a", token=1))
    assert scene.holders() == ["b"]


def test_a_holder_cannot_be_held_back(queue_of: QueueOf) -> None:
    scene = queue_of("a")
    assert scene.tell(HeldBack(ticket="a", reason="window")).refused.reason is RefuseReason.NOT_WAITING
    assert scene.tell(HeldBack(ticket="b", reason="window")).refused.reason is RefuseReason.NOT_WAITING


def test_what_holds_a_waiter_back_is_kept_in_its_record(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    plain = to_data(scene.lock)
    assert all("held" not in waiter for waiter in plain["waiters"]), "records of earlier releases have none"
    scene.tell(HeldBack(ticket="b", reason="window"))
    assert from_data(json.loads(msgspec.json.encode(to_data(scene.lock)))) == scene.lock

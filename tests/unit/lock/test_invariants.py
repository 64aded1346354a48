from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from interlock.lock import Bumped, LockBroken, assert_follows, assert_whole
from interlock.lock.invariants import broken_rules, broken_steps

QueueOf = Callable[..., Any]


def test_a_lock_in_order_passes(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c")
    assert assert_whole(scene.lock) is scene.lock


@pytest.mark.promise("P1")
def test_two_holders_with_conflicting_claims_are_found(queue_of: QueueOf) -> None:
    lock = queue_of("a").lock
    twin = replace(lock.holders[0], ticket="z", token=2)
    with pytest.raises(LockBroken, match="promise") as caught:
        assert_whole(replace(lock, holders=(*lock.holders, twin), token=2))
    assert "P1" in caught.value.why


def test_every_other_broken_rule_is_found(queue_of: QueueOf) -> None:
    lock = queue_of("a", "b", "c").lock
    holder, waiters = lock.holders[0], lock.waiters
    broken = {
        "not among those granted": replace(lock, token=0),
        "out of order": replace(lock, waiters=waiters[::-1]),
        "never given out": replace(lock, arrivals=1),
        "appears twice": replace(lock, waiters=(replace(waiters[0], ticket="a"), waiters[1])),
        "one lock id": replace(lock, waiters=tuple(replace(waiter, lock_id="L") for waiter in waiters)),
        "below zero": replace(lock, holders=(), waiters=(), token=-1),
        "one token": replace(lock, holders=(holder, replace(holder, ticket="z"))),
    }
    for words, wrong in broken.items():
        assert any(words in rule for rule in broken_rules(wrong)), words


@pytest.mark.promise("P4")
def test_tokens_and_arrivals_never_fall(queue_of: QueueOf) -> None:
    lock = queue_of("a", "b").lock
    with pytest.raises(LockBroken):
        assert_follows(replace(lock, token=5), lock)
    with pytest.raises(LockBroken):
        assert_follows(replace(lock, arrivals=5), lock)


@pytest.mark.promise("P4")
def test_an_old_token_is_never_granted_again(queue_of: QueueOf) -> None:
    lock = queue_of("a").lock
    after = replace(lock, holders=(replace(lock.holders[0], ticket="b"),))
    assert any("old token" in rule for rule in broken_steps(lock, after))


@pytest.mark.promise("P2")
def test_waiters_keep_their_order_unless_promoted(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c", "d")
    swapped = replace(scene.lock, waiters=scene.lock.waiters[::-1])
    assert any("changed places" in rule for rule in broken_steps(scene.lock, swapped))
    before = scene.lock
    scene.tell(Bumped(ticket="d"))
    assert not list(broken_steps(before, scene.lock))

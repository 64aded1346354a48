"""What is called off is one attempt, never what another attempt of the same ticket was told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from interlock.lock import (
    Bumped,
    Disconnected,
    Elapsed,
    LockIdBound,
    Notice,
    Released,
    Renewed,
    Requested,
    StillWaiting,
)
from interlock.lock.effects import Announce
from interlock.lock.ticket import ATTEMPTS_MAX

if TYPE_CHECKING:
    Scene = Any

pytestmark = pytest.mark.promise("P4")


def _ask(ticket: str, attempt: str, *, polls: bool = False, patience_s: float = 40.0) -> Requested:
    return Requested(ticket=ticket, who="w", lease_s=60.0, patience_s=patience_s, polls=polls, attempt=attempt)


def _gone(ticket: str, attempt: str) -> Disconnected:
    return Disconnected(ticket=ticket, attempt=attempt, patience_s=5.0)


def test_a_copy_that_fails_takes_nothing_from_the_attempt_that_was_told(scene: Scene) -> None:
    scene.tell(_ask("a", "A1"))
    scene.tell(_ask("a", "A2"))
    scene.tell(_gone("a", "A2"))
    scene.tell(_gone("a", "A2"))
    assert scene.holders() == ["a"]


def test_a_grant_of_which_every_attempt_failed_goes_back_to_its_place(scene: Scene) -> None:
    scene.tell(_ask("a", "A1"))
    scene.tell(_ask("a", "A2"))
    scene.tell(_ask("b", "B1", polls=True))
    scene.tell(_gone("a", "A1"))
    assert scene.holders() == ["a"]
    decision = scene.tell(_gone("a", "A2"))
    assert Announce(notice=Notice.RETURNED, ticket="a", token=1) in decision.effects
    assert (scene.holders(), scene.waiters()) == ([], ["a", "b"]), "b polls, so it is not there either"
    scene.tell(_ask("a", "A3"))
    assert scene.holders() == ["a"]
    assert scene.lock.token == 2, "the grant that came to nothing spent its token"


def test_a_grant_that_came_to_nothing_is_handed_to_whoever_is_there(scene: Scene) -> None:
    scene.tell(_ask("a", "A1"))
    scene.tell(_ask("b", "B1"))
    scene.tell(_gone("a", "A1"))
    assert (scene.holders(), scene.waiters()) == (["b"], ["a"])


def test_a_bumped_grant_that_came_to_nothing_is_still_promoted(scene: Scene) -> None:
    for ticket in ("x", "b", "a"):
        scene.tell(_ask(ticket, ticket))
    scene.tell(Bumped(ticket="a"))
    scene.tell(Released(ticket="x"))
    scene.tell(_gone("a", "a"))
    assert (scene.holders(), scene.waiters()) == (["b"], ["a"])
    scene.tell(_ask("c", "c"))
    assert scene.waiters() == ["a", "c"]


@pytest.mark.parametrize("seen", [Renewed(ticket="a", token=1), LockIdBound(ticket="a", token=1, lock_id="L")])
def test_a_holder_that_was_seen_to_act_is_not_called_off(scene: Scene, seen: Any) -> None:
    scene.tell(_ask("a", "A1"))
    scene.tell(seen)
    scene.tell(_gone("a", "A1"))
    assert scene.holders() == ["a"]


def test_a_waiter_whose_connection_broke_keeps_its_place_and_is_not_granted_meanwhile(scene: Scene) -> None:
    scene.tell(_ask("x", "x"))
    for ticket in ("a", "b"):
        scene.tell(_ask(ticket, f"{ticket}1"))
    scene.tell(_gone("a", "a1"))
    scene.tell(StillWaiting(tickets=frozenset({"a", "b"})))
    scene.tell(Released(ticket="x"))
    assert (scene.holders(), scene.waiters()) == (["b"], ["a"]), "a sign of life from nobody revives nobody"
    scene.tell(_ask("a", "a2"))
    scene.tell(Released(ticket="b"))
    assert scene.holders() == ["a"]


def test_a_copy_that_fails_leaves_the_waiter_that_still_listens_in_the_queue(scene: Scene) -> None:
    scene.tell(_ask("x", "x"))
    scene.tell(_ask("a", "a1"))
    scene.tell(_ask("a", "a2", polls=True, patience_s=8.0))
    scene.tell(_ask("a", "a3"))
    scene.tell(_gone("a", "a3"))
    scene.tell(Released(ticket="x"))
    assert scene.holders() == ["a"]
    scene.tell(_gone("a", "a1"))
    assert scene.holders() == [], "the only one that would have been told is gone"


def test_with_too_many_attempts_only_a_release_gives_the_grant_back(scene: Scene) -> None:
    for n in range(ATTEMPTS_MAX + 1):
        scene.tell(_ask("a", f"A{n}"))
    for n in range(ATTEMPTS_MAX + 1):
        scene.tell(_gone("a", f"A{n}"))
    assert scene.holders() == ["a"]
    assert scene.lock.holders[0].attempts == ("",)


def test_one_sign_of_life_counts_for_many_and_only_for_those_who_wait(scene: Scene) -> None:
    for ticket in ("a", "b", "c", "d"):
        scene.ask(ticket)
    scene.tell(StillWaiting(tickets=frozenset({"b", "c", "nobody"})), at_s=20)
    assert [(w.ticket, w.doubted_at is None) for w in scene.lock.waiters] == [("b", True), ("c", True), ("d", False)]
    assert scene.tell(StillWaiting(tickets=frozenset({"nobody"})), at_s=20).lock is scene.lock


def test_a_copy_that_polls_does_not_make_the_attempt_that_listens_absent(scene: Scene) -> None:
    scene.tell(_ask("x", "x"))
    scene.tell(_ask("a", "a1"))
    scene.tell(_ask("a", "a2", polls=True))
    assert scene.lock.waiters[0].doubted_at is None
    scene.tell(Released(ticket="x"))
    assert scene.holders() == ["a"]


def test_a_copy_with_less_patience_does_not_cut_short_the_attempt_that_listens(scene: Scene) -> None:
    scene.tell(_ask("x", "x"))
    scene.tell(_ask("a", "a1", patience_s=40.0))
    scene.tell(_ask("a", "a2", patience_s=8.0))
    assert scene.lock.waiters[0].patience_s == 40.0


def test_a_poll_without_a_listener_sets_the_patience_with_the_next_silence(scene: Scene) -> None:
    scene.tell(_ask("x", "x"))
    scene.tell(_ask("a", "a1", polls=True, patience_s=40.0))
    scene.tell(_ask("a", "a2", polls=True, patience_s=8.0))
    assert scene.lock.waiters[0].patience_s == 8.0


@pytest.mark.parametrize(("patience_s", "left_s"), [(40.0, 5.0), (3.0, 3.0)])
def test_a_broken_connection_never_lengthens_the_patience_with_a_waiter(
    scene: Scene, patience_s: float, left_s: float
) -> None:
    scene.tell(_ask("x", "x"))
    for attempt in ("a1", "a2"):
        scene.tell(_ask("a", attempt, patience_s=patience_s))
    scene.tell(_gone("a", "a1"))
    assert scene.lock.waiters[0].patience_s == left_s, "the other attempt may be on a server that died"


def test_a_bumped_grant_that_came_to_nothing_still_leads_those_that_came_before_it(scene: Scene) -> None:
    for ticket in ("x", "b", "c", "a"):
        scene.tell(_ask(ticket, ticket))
    scene.tell(Bumped(ticket="a"))
    scene.tell(Released(ticket="x"))
    scene.tell(_gone("a", "a"))
    assert (scene.holders(), scene.waiters()) == (["b"], ["a", "c"])


@pytest.mark.parametrize("sign", [StillWaiting(tickets=frozenset({"a"})), Renewed(ticket="a"), _ask("a", "a")])
def test_who_speaks_is_never_swept_away_for_the_silence_before(scene: Scene, sign: Any) -> None:
    for ticket in ("x", "a", "b"):
        scene.tell(_ask(ticket, ticket))
    scene.tell(Elapsed(), at_s=21)
    scene.tell(sign, at_s=100)
    assert (scene.holders(), scene.waiters()) == (["x"], ["a"])
    assert scene.lock.waiters[0].doubted_at is None

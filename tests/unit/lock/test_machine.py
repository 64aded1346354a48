from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest

from interlock.lock import (
    NEW_LOCK,
    Announce,
    Broken,
    Bumped,
    Elapsed,
    Event,
    Grant,
    LockIdBound,
    LockIdUnbound,
    Notice,
    Paused,
    Priority,
    Queued,
    Refuse,
    RefuseReason,
    Released,
    Renewed,
    Resumed,
    Revoke,
    Stage,
    StillWaiting,
    Wake,
    Withdrawn,
    claim_of,
    departure_of,
    holder_of,
    may_write,
    stage_of,
)
from interlock.lock.lock import DEPARTED_KEPT, PARTIES_MAX
from interlock.lock.machine import TRANSITIONS

Scene = Any  # tests/unit/lock/conftest.py
QueueOf = Callable[..., Scene]


def notices(decision: Any) -> list[Notice]:
    return [effect.notice for effect in decision.effects if isinstance(effect, Announce)]


def refusal(decision: Any) -> RefuseReason | None:
    return decision.refused.reason if decision.refused else None


def test_the_first_to_ask_is_granted(scene: Scene) -> None:
    assert scene.ask("a").effects == (Grant(ticket="a", token=1),)
    assert scene.holders() == ["a"]
    assert may_write(scene.lock, 1)


@pytest.mark.promise("P1")
def test_the_second_waits_and_is_told_its_position(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    assert scene.ask("c").effects == (Queued(ticket="c", position=2, ahead=("b",)),)
    assert scene.holders() == ["a"]


@pytest.mark.promise("P2")
def test_release_hands_over_to_the_next_in_order(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c")
    decision = scene.tell(Released(ticket="a", token=1))
    assert decision.effects == (
        Announce(notice=Notice.RELEASED, ticket="a", token=1),
        Grant(ticket="b", token=2),
    )
    assert scene.waiters() == ["c"]


@pytest.mark.promise("P4")
def test_a_revoked_holder_cannot_write_state(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    decision = scene.tell(Broken(ticket="a", token=1, by="anna", reason="process gone"))
    assert decision.effects[0] == Revoke(ticket="a", token=1, reason="process gone")
    assert not may_write(scene.lock, 1)
    assert scene.lock.token == 3, "breaking spends a token of its own"
    assert holder_of(scene.lock, ticket="b", token=3) is not None


@pytest.mark.promise("P5")
def test_breaking_names_the_exact_grant(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    assert refusal(scene.tell(Broken(ticket="a", token=9, by="x", reason=""))) is RefuseReason.STALE_TOKEN
    assert refusal(scene.tell(Broken(ticket="b", token=1, by="x", reason=""))) is RefuseReason.NOT_HOLDING
    assert scene.holders() == ["a"]


def test_breaking_twice_is_the_same_as_once(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    event = Broken(ticket="a", token=1, by="x", reason="")
    scene.tell(event)
    before = scene.lock
    assert notices(scene.tell(event)) == [Notice.UNCHANGED]
    assert scene.lock is before


def test_a_holder_that_asks_again_gets_the_same_token(scene: Scene) -> None:
    scene.ask("a")
    before = scene.lock
    assert scene.ask("a", at_s=5).effects == (Grant(ticket="a", token=1),)
    assert scene.lock is before


@pytest.mark.promise("P2")
def test_a_waiter_that_asks_again_keeps_its_place(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c")
    assert scene.ask("b", at_s=5).effects == (Queued(ticket="b", position=1, ahead=()),)
    assert scene.waiters() == ["b", "c"]
    assert scene.lock.arrivals == 3


def test_the_same_lock_id_under_another_ticket_is_the_same_party(scene: Scene) -> None:
    scene.ask("a", lock_id="L1")
    scene.ask("b", lock_id="L2")
    assert scene.ask("a2", lock_id="L1").effects == (Grant(ticket="a", token=1),)
    assert scene.ask("b2", lock_id="L2").effects == (Queued(ticket="b", position=1, ahead=()),)


def test_the_same_ticket_with_another_lock_id_is_refused(scene: Scene) -> None:
    scene.ask("a", lock_id="L1")
    scene.ask("b", lock_id="L2")
    assert refusal(scene.ask("a", lock_id="L9")) is RefuseReason.OTHER_LOCK_ID
    assert refusal(scene.ask("b", lock_id="L9")) is RefuseReason.OTHER_LOCK_ID


def test_who_would_not_wait_is_refused_with_the_names_in_the_way(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    decision = scene.ask("c", queue=False)
    assert decision.effects == (Refuse(ticket="c", reason=RefuseReason.HELD, blockers=("a", "b")),)
    assert scene.lock.arrivals == 2


def test_who_would_not_wait_is_granted_a_free_lock(scene: Scene) -> None:
    assert scene.ask("a", queue=False).effects == (Grant(ticket="a", token=1),)


@pytest.mark.promise("P2")
def test_better_classes_go_first_and_each_class_in_order(scene: Scene) -> None:
    scene.ask("holder")
    for ticket, priority in [
        ("drift1", Priority.DRIFT),
        ("plan1", Priority.PLAN),
        ("apply1", Priority.APPLY),
        ("plan2", Priority.PLAN),
        ("apply2", Priority.APPLY),
    ]:
        scene.ask(ticket, priority=priority)
    assert scene.waiters() == ["apply1", "apply2", "plan1", "plan2", "drift1"]


@pytest.mark.promise("P2")
def test_a_plan_is_overtaken_by_four_later_applies_at_most(scene: Scene) -> None:
    scene.ask("holder")
    scene.ask("plan", priority=Priority.PLAN)
    for n in range(8):
        scene.ask(f"apply{n}")
    assert scene.waiters().index("plan") == 4


@pytest.mark.promise("P1")
def test_disjoint_claims_hold_side_by_side(scene: Scene) -> None:
    scene.ask("a", claim=claim_of(writes=["x.a"]))
    assert scene.ask("b", claim=claim_of(writes=["x.b"])).effects == (Grant(ticket="b", token=2),)
    assert may_write(scene.lock, 1)
    assert may_write(scene.lock, 2)


@pytest.mark.promise("P2")
def test_nobody_is_overtaken_by_somebody_in_its_way(scene: Scene) -> None:
    scene.ask("a", claim=claim_of(writes=["x.a"]))
    scene.ask("whole")
    decision = scene.ask("b", claim=claim_of(writes=["x.b"]))
    assert decision.effects == (Queued(ticket="b", position=2, ahead=("whole",)),)


def test_a_later_waiter_passes_those_it_does_not_disturb(scene: Scene) -> None:
    scene.ask("a", claim=claim_of(writes=["x.a"]))
    scene.ask("a2", claim=claim_of(writes=["x.a"]))
    assert Grant(ticket="c", token=2) in scene.ask("c", claim=claim_of(writes=["x.c"])).effects


def test_one_release_may_grant_several(scene: Scene) -> None:
    scene.ask("whole")
    for name in ("x", "y", "z"):
        scene.ask(name, claim=claim_of(writes=[f"r.{name}"]))
    scene.tell(Released(ticket="whole", token=1))
    assert scene.holders() == ["x", "y", "z"]
    assert [holder.token for holder in scene.lock.holders] == [2, 3, 4]


def test_a_heartbeat_extends_the_lease_and_beats(scene: Scene) -> None:
    scene.ask("a")
    assert scene.tell(Renewed(ticket="a", token=1), at_s=30).effects == ()
    assert scene.lock.holders[0].lease.beat == 1


def test_a_heartbeat_with_another_token_is_refused(scene: Scene) -> None:
    scene.ask("a")
    assert refusal(scene.tell(Renewed(ticket="a", token=2))) is RefuseReason.STALE_TOKEN


def test_a_waiter_that_was_granted_unaware_learns_it_from_its_sign_of_life(scene: Scene) -> None:
    scene.ask("a")
    assert scene.tell(Renewed(ticket="a")).effects == (Grant(ticket="a", token=1),)


def test_a_heartbeat_after_the_end_is_refused(queue_of: QueueOf) -> None:
    scene = queue_of("a")
    scene.tell(Broken(ticket="a", token=1, by="x", reason=""))
    assert refusal(scene.tell(Renewed(ticket="a", token=1))) is RefuseReason.ENDED
    assert refusal(scene.tell(Renewed(ticket="never"))) is RefuseReason.NOT_HOLDING


def test_a_release_is_named_by_ticket_or_lock_id(scene: Scene) -> None:
    scene.ask("a", lock_id="L1")
    assert notices(scene.tell(Released(lock_id="L1"))) == [Notice.RELEASED]
    assert scene.holders() == []


def test_a_release_that_does_not_match_is_refused(scene: Scene) -> None:
    scene.ask("a", lock_id="L1")
    assert refusal(scene.tell(Released(ticket="a", token=2))) is RefuseReason.STALE_TOKEN
    assert refusal(scene.tell(Released(ticket="a", lock_id="L2"))) is RefuseReason.OTHER_LOCK_ID
    assert refusal(scene.tell(Released(lock_id="L2"))) is RefuseReason.NOT_HOLDING
    assert scene.holders() == ["a"]


def test_a_repeated_release_is_acknowledged_and_changes_nothing(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    scene.tell(Released(ticket="a", token=1))
    before = scene.lock
    assert notices(scene.tell(Released(ticket="a", token=1))) == [Notice.UNCHANGED]
    assert scene.lock is before


def test_a_late_request_of_an_ended_ticket_is_refused(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    scene.tell(Released(ticket="a", token=1))
    scene.tell(Withdrawn(ticket="c"))
    assert refusal(scene.ask("a")) is RefuseReason.ENDED
    assert refusal(scene.ask("c")) is RefuseReason.ENDED, "the withdrawal overtook its request"


def test_endings_are_remembered_up_to_a_bound(scene: Scene) -> None:
    for n in range(DEPARTED_KEPT + 5):
        scene.ask(f"t{n}", lock_id=f"L{n}")
        scene.tell(Released(ticket=f"t{n}"))
    assert len(scene.lock.departed) == DEPARTED_KEPT
    assert departure_of(scene.lock, ticket="t0") is None


@pytest.mark.promise("P4")
def test_a_finished_ticket_is_not_granted_again_however_many_ended_since(scene: Scene) -> None:
    for n in range(200):
        scene.ask(f"t{n}", lock_id=f"L{n}")
        scene.tell(Released(ticket=f"t{n}"))
    assert stage_of(scene.lock, "t0") is Stage.ENDED
    assert refusal(scene.ask("t0", lock_id="L0")) is RefuseReason.ENDED
    assert refusal(scene.ask("fresh", lock_id="L0")) is RefuseReason.ENDED, "its lock id ended too"
    assert refusal(scene.tell(Released(ticket="t0"))) is RefuseReason.ENDED
    assert scene.holders() == []


@pytest.mark.promise("P4")
def test_waiters_that_fell_silent_do_not_push_out_the_endings_of_others(scene: Scene) -> None:
    scene.ask("done")
    scene.tell(Released(ticket="done"))
    scene.ask("holder")
    for n in range(100):
        scene.ask(f"ghost{n}", at_s=100.0 * n)
        scene.tell(Elapsed(), at_s=100.0 * n + 30)
        scene.tell(Elapsed(), at_s=100.0 * n + 60)
    assert scene.waiters() == []
    assert stage_of(scene.lock, "done") is Stage.RELEASED
    assert stage_of(scene.lock, "ghost99") is Stage.SILENT
    assert scene.lock.spent == NEW_LOCK.spent


def test_withdrawing_leaves_the_queue(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c")
    decision = scene.tell(Withdrawn(ticket="b", by="anna", reason="superseded"))
    assert notices(decision) == [Notice.WITHDRAWN]
    assert scene.waiters() == ["c"]
    ending = departure_of(scene.lock, ticket="b")
    assert ending is not None
    assert (ending.how, ending.by, ending.reason) == (Stage.WITHDRAWN, "anna", "superseded")


def test_an_operator_cannot_withdraw_a_holder(scene: Scene) -> None:
    scene.ask("a")
    assert refusal(scene.tell(Withdrawn(ticket="a", by="anna"))) is RefuseReason.NOT_WAITING


def test_a_party_that_leaves_at_the_moment_of_its_grant_strands_nothing(queue_of: QueueOf) -> None:
    scene = queue_of()
    scene.ask("a", attempt="A")
    scene.ask("b")
    scene.tell(Withdrawn(ticket="a", attempt="A"))
    assert scene.holders() == ["b"]
    assert not may_write(scene.lock, 1)


def test_a_paused_lock_grants_nothing_and_its_holder_goes_on(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    scene.tell(Paused(by="anna", reason="maintenance"))
    scene.tell(Renewed(ticket="a", token=1))
    scene.tell(Released(ticket="a", token=1))
    assert scene.holders() == []
    assert refusal(scene.ask("c", queue=False)) is RefuseReason.PAUSED, "a waiter in front holds nothing"
    scene.tell(Withdrawn(ticket="b"))
    assert refusal(scene.ask("c", queue=False)) is RefuseReason.PAUSED


@pytest.mark.promise("P1", "P2")
def test_a_pause_lets_through_only_who_settles_it_in_order_and_one_at_a_time(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    scene.tell(Paused(by="anna", reason="moving"))
    scene.tell(Released(ticket="a", token=1))
    scene.ask("c", through="another pause")
    assert scene.holders() == []
    scene.ask("d", through="moving")
    scene.ask("e", through="moving")
    assert (scene.holders(), scene.waiters()) == (["d"], ["b", "c", "e"])
    scene.tell(Released(ticket="d"))
    assert scene.holders() == ["e"]
    scene.tell(Released(ticket="e"))
    assert scene.holders() == []
    scene.tell(Resumed(by="anna"))
    assert scene.holders() == ["b"]


def test_a_pause_without_a_reason_lets_nobody_through(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    scene.tell(Paused(by="anna", reason=""))
    scene.tell(Released(ticket="a", token=1))
    assert scene.holders() == []


def test_a_pause_is_replaced_in_one_step_and_ended_by_who_names_it(scene: Scene) -> None:
    scene.tell(Paused(by="anna", reason="moving"))
    scene.tell(Paused(by="anna", reason="moved", instead_of="something else"))
    assert scene.lock.pause.reason == "moving"
    scene.tell(Paused(by="anna", reason="moved", instead_of="moving"))
    assert scene.lock.pause.reason == "moved"
    scene.tell(Resumed(by="anna", reason="moving"))
    assert scene.lock.pause.reason == "moved"
    scene.tell(Resumed(by="anna", reason="moved"))
    assert scene.lock.pause is None


def test_thawing_grants_those_who_waited(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    scene.tell(Paused(by="anna", reason="maintenance"))
    scene.tell(Released(ticket="a", token=1))
    assert scene.tell(Resumed(by="anna")).effects == (
        Announce(notice=Notice.RESUMED, by="anna"),
        Grant(ticket="b", token=2),
    )


def test_freezing_twice_keeps_the_first_reason_and_thawing_twice_is_fine(scene: Scene) -> None:
    scene.tell(Paused(by="anna", reason="first"))
    assert notices(scene.tell(Paused(by="bob", reason="second"))) == [Notice.UNCHANGED]
    assert scene.lock.pause.reason == "first"
    scene.tell(Resumed(by="bob"))
    assert notices(scene.tell(Resumed(by="bob"))) == [Notice.UNCHANGED]


def test_a_bumped_waiter_goes_to_the_front(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c", "d")
    scene.tell(Bumped(ticket="d", by="anna"))
    assert scene.waiters() == ["d", "b", "c"]
    scene.tell(Bumped(ticket="c"))
    assert scene.waiters() == ["c", "d", "b"]
    scene.ask("e")
    assert scene.waiters() == ["c", "d", "b", "e"]


@pytest.mark.promise("P2")
def test_promoting_the_first_outlives_later_arrivals_of_every_class(scene: Scene) -> None:
    scene.ask("a")
    scene.ask("plan", priority=Priority.PLAN)
    assert notices(scene.tell(Bumped(ticket="plan"))) == [Notice.BUMPED]
    scene.ask("apply")
    assert scene.waiters() == ["plan", "apply"]


def test_promoting_twice_changes_nothing_and_promoting_a_holder_is_refused(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    scene.tell(Bumped(ticket="b"))
    assert notices(scene.tell(Bumped(ticket="b"))) == [Notice.UNCHANGED]
    assert refusal(scene.tell(Bumped(ticket="a"))) is RefuseReason.NOT_WAITING


@pytest.mark.promise("P5")
def test_a_lapsed_lease_is_announced_and_takes_nothing_away(scene: Scene) -> None:
    scene.ask("a")
    assert scene.tell(Elapsed(), at_s=59).effects == ()
    decision = scene.tell(Elapsed(), at_s=100_000)
    assert decision.effects == (Announce(notice=Notice.LAPSED, ticket="a", token=1),)
    assert may_write(scene.lock, 1)
    scene.tell(Renewed(ticket="a", token=1), at_s=100_001)
    assert scene.tell(Elapsed(), at_s=100_002).effects == ()


def test_a_silent_waiter_is_woken_then_dropped(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c")
    assert scene.tell(Renewed(ticket="c"), at_s=20).effects[0] == Wake(ticket="b")
    assert scene.waiters() == ["b", "c"]
    scene.tell(Renewed(ticket="c"), at_s=35)
    decision = scene.tell(Elapsed(), at_s=40)
    assert Announce(notice=Notice.DROPPED, ticket="b") in decision.effects
    assert scene.waiters() == ["c"]
    assert stage_of(scene.lock, "b") is Stage.SILENT


def test_a_doubted_waiter_keeps_its_place_but_is_not_granted_until_it_speaks(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b")
    scene.tell(Elapsed(), at_s=20)
    scene.tell(Released(ticket="a", token=1), at_s=21)
    assert scene.holders() == []
    assert scene.tell(Renewed(ticket="b"), at_s=22).effects == (Grant(ticket="b", token=2),)


@pytest.mark.promise("P2")
def test_the_absent_do_not_block_the_present_when_nobody_holds(queue_of: QueueOf) -> None:
    scene = queue_of("a", "absent", "c", "d")
    for ticket in ("c", "d"):
        scene.tell(Renewed(ticket=ticket), at_s=20)
    scene.tell(Released(ticket="a", token=1), at_s=21)
    assert (scene.holders(), scene.waiters()) == (["c"], ["absent", "d"]), "the first of those who are there"
    scene.tell(Renewed(ticket="absent"), at_s=22)
    scene.tell(Released(ticket="c", token=2), at_s=23)
    assert scene.holders() == ["absent"], "it kept its place"


@pytest.mark.promise("P2")
def test_an_absent_waiter_that_has_to_wait_for_a_holder_is_not_starved_by_smaller_claims(scene: Scene) -> None:
    scene.ask("a", claim=claim_of(writes=["x.a"]))
    scene.ask("whole")
    scene.tell(Elapsed(), at_s=20)
    scene.ask("b", claim=claim_of(writes=["x.b"]), at_s=21)
    assert (scene.holders(), scene.waiters()) == (["a"], ["whole", "b"])
    scene.tell(Released(ticket="a"), at_s=22)
    assert scene.holders() == ["b"], "now nobody holds, and the absent block nobody"


def test_when_everybody_was_stopped_the_first_to_speak_takes_no_place_away(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c", "d")
    scene.tell(Released(ticket="a", token=1))
    for ticket in ("d", "c", "b"):
        scene.tell(Renewed(ticket=ticket, token=2 if ticket == "b" else None), at_s=3600)
    assert scene.holders() == ["b"]
    assert scene.waiters() == ["c", "d"]


def test_a_dropped_waiter_may_come_back_at_the_end(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c")
    scene.tell(Renewed(ticket="c"), at_s=20)
    scene.tell(Renewed(ticket="c"), at_s=40)
    assert refusal(scene.tell(Renewed(ticket="b"), at_s=41)) is RefuseReason.NOT_WAITING
    assert scene.ask("b", at_s=41).effects == (Queued(ticket="b", position=2, ahead=("c",)),)


def test_a_dropped_waiter_cannot_come_back_with_the_lock_id_of_another(queue_of: QueueOf) -> None:
    scene = queue_of("a", "b", "c")
    scene.tell(LockIdBound(ticket="a", token=1, lock_id="L1"))
    scene.tell(Renewed(ticket="c"), at_s=20)
    scene.tell(Renewed(ticket="c"), at_s=40)
    assert refusal(scene.ask("b", at_s=41, lock_id="L1")) is RefuseReason.OTHER_LOCK_ID


def test_terraforms_lock_id_is_bound_once_and_given_back(scene: Scene) -> None:
    scene.ask("a")
    bound = LockIdBound(ticket="a", token=1, lock_id="L1")
    assert notices(scene.tell(bound)) == [Notice.LOCK_ID_BOUND]
    assert notices(scene.tell(bound)) == [Notice.UNCHANGED]
    assert holder_of(scene.lock, lock_id="L1") is not None
    other = LockIdBound(ticket="a", token=1, lock_id="L2")
    assert refusal(scene.tell(other)) is RefuseReason.OTHER_LOCK_ID
    assert refusal(scene.tell(LockIdUnbound(ticket="a", token=1, lock_id="L2"))) is RefuseReason.OTHER_LOCK_ID
    assert notices(scene.tell(LockIdUnbound(ticket="a", token=1, lock_id="L1"))) == [Notice.LOCK_ID_UNBOUND]
    assert notices(scene.tell(LockIdUnbound(ticket="a", token=1, lock_id="L1"))) == [Notice.UNCHANGED]
    assert scene.holders() == ["a"]
    assert notices(scene.tell(other)) == [Notice.LOCK_ID_BOUND]


def test_a_lock_id_is_bound_only_under_the_current_token(scene: Scene) -> None:
    scene.ask("a")
    for event in (
        LockIdBound(ticket="a", token=9, lock_id="L1"),
        LockIdUnbound(ticket="a", token=9, lock_id="L1"),
    ):
        assert refusal(scene.tell(event)) is RefuseReason.STALE_TOKEN


def test_a_lock_id_of_another_party_is_not_bound(scene: Scene) -> None:
    scene.ask("a")
    scene.ask("b", lock_id="L1")
    assert refusal(scene.tell(LockIdBound(ticket="a", token=1, lock_id="L1"))) is RefuseReason.OTHER_LOCK_ID


def test_a_full_queue_refuses_instead_of_growing(scene: Scene) -> None:
    for n in range(PARTIES_MAX):
        scene.ask(f"t{n}")
    assert refusal(scene.ask("one-too-many")) is RefuseReason.QUEUE_FULL


def test_the_table_answers_every_event_in_every_stage() -> None:
    assert set(TRANSITIONS) == set(get_args(Event))
    for event, row in TRANSITIONS.items():
        stages = {Stage.ABSENT} if event in (Elapsed, Paused, Resumed, StillWaiting) else set(Stage)
        assert set(row) == stages, event.__name__

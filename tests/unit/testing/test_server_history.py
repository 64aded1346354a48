"""The judge of server histories finds what it is there to find."""

from __future__ import annotations

from dataclasses import replace

from tests.server_history import Presence, Run, Stored, Turn, in_order, judge, judge_runs

FIRST = Turn(state="s", lock_id="a", granted_s=1, released_s=2, read=0, wrote=1, digest="one", is_acknowledged=True)
SECOND = Turn(state="s", lock_id="b", granted_s=3, released_s=4, read=1, wrote=2, digest="two", is_acknowledged=True)
STORED = frozenset({"one", "two"})


def test_a_history_in_which_all_held_is_not_blamed() -> None:
    assert judge([SECOND, FIRST], finals={"s": 2}, stored=STORED) == []
    unsure = replace(SECOND, is_acknowledged=False)
    assert judge([FIRST, unsure], finals={"s": 2}, stored=STORED) == []
    assert judge([FIRST, unsure], finals={"s": 1}, stored=STORED) == []


def test_two_holders_at_once_are_found() -> None:
    assert "P1" in judge([FIRST, replace(SECOND, granted_s=1.5)], finals={"s": 2}, stored=STORED)[0]


def test_a_lost_update_is_found_by_the_next_reader_and_at_the_end() -> None:
    assert "P3" in judge([FIRST, replace(SECOND, read=0)], finals={"s": 2}, stored=STORED)[0]
    assert "P3" in judge([FIRST, SECOND], finals={"s": 1}, stored=STORED)[0]


def test_an_acknowledged_write_that_is_not_stored_is_found() -> None:
    assert "not stored" in judge([FIRST, SECOND], finals={"s": 2}, stored=frozenset({"one"}))[0]


def test_a_history_in_which_nothing_happened_is_no_proof() -> None:
    assert "nothing was checked" in judge([], finals={"s": 0}, stored=STORED)[0]


# -- runs: order, fencing, outcomes ----

EARLY = Run(
    turn=FIRST, asked_s=0.1, group="APPLY", presences=(Presence(from_s=0.2, until_s=1),), zombie="late", token=1
)
LATE = Run(turn=SECOND, asked_s=0.5, group="APPLY", presences=(Presence(from_s=0.6, until_s=3),), token=2)
KEPT = {"s": [Stored(digest="one", serial=1, token=1), Stored(digest="two", serial=2, token=2)]}


def test_runs_in_which_all_held_are_not_blamed() -> None:
    assert judge_runs([LATE, EARLY], KEPT) == []
    assert [(early.turn.lock_id, late.turn.lock_id) for early, late, _ in in_order([LATE, EARLY])] == [("a", "b")]


def _overtaking(**there: float) -> list[str]:
    """Judge a run that came second and held first, while the other was there from then to then."""
    first = replace(LATE, turn=replace(SECOND, granted_s=1, released_s=2, read=0, wrote=1))
    second = replace(EARLY, turn=replace(FIRST, granted_s=3, released_s=4, read=1, wrote=2))
    kept = {"s": [Stored(digest="two", serial=1, token=1), Stored(digest="one", serial=2, token=2)]}
    return judge_runs([first, replace(second, presences=(Presence(**there),))], kept)


def test_who_overtakes_one_that_was_there_all_the_time_is_found() -> None:
    assert "b was granted before a" in _overtaking(from_s=0.2, until_s=3)[0]


def test_who_overtakes_one_that_was_away_or_not_known_yet_is_not_blamed() -> None:
    assert _overtaking(from_s=0.2, until_s=0.9) == []
    assert _overtaking(from_s=0.55, until_s=3) == []


def test_another_class_and_another_state_have_orders_of_their_own() -> None:
    assert not list(in_order([EARLY, replace(LATE, group="PLAN")]))
    assert not list(in_order([EARLY, replace(LATE, turn=replace(SECOND, state="t"))]))


def test_a_lost_place_is_found() -> None:
    assert "lost its place: silent" in judge_runs([EARLY, replace(LATE, lost="silent")], KEPT)[0]


def test_a_write_after_the_release_and_a_token_that_does_not_rise_are_found() -> None:
    assert "P4" in judge_runs([replace(EARLY, zombie="two"), LATE], KEPT)[0]
    fallen = {"s": [KEPT["s"][0], Stored(digest="two", serial=2, token=1)]}
    assert "P4" in judge_runs([EARLY, LATE], fallen)[0]


def test_an_outcome_that_is_not_true_is_found() -> None:
    refused = replace(LATE, turn=replace(SECOND, is_acknowledged=False))
    assert any("told refused, and it is stored 1 times" in said for said in judge_runs([EARLY, refused], KEPT))
    twice = {"s": [*KEPT["s"], Stored(digest="two", serial=2, token=3)]}
    assert any("stored 2 times" in said for said in judge_runs([EARLY, LATE], twice))

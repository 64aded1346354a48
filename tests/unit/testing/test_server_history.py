"""The judge of server histories finds what it is there to find."""

from __future__ import annotations

from dataclasses import replace

from tests.server_history import Turn, judge

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

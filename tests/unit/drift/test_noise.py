from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.drift.noise import are_equal, find_noise
from interlock.genesys.spellings import Equal, Spelling, spellings

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def noise(before: Any, after: Any, *rules: Spelling, path: str = "description") -> str | None:
    found = rules or spellings()
    return find_noise(
        found, address="genesyscloud_user.u", kind="genesyscloud_user", path=path, before=before, after=after
    )


@pytest.mark.parametrize(
    ("sense", "before", "after", "expected"),
    [
        (Equal.EMPTY, None, "", True),
        (Equal.EMPTY, [], None, True),
        (Equal.EMPTY, [{"a": None}], [{}], True),
        (Equal.EMPTY, "", "x", False),
        (Equal.EMPTY, 0, None, False),
        (Equal.EMPTY, False, None, False),
        (Equal.EMPTY, True, 1, False),
        (Equal.NUMBER, 1, "1.0", True),
        (Equal.NUMBER, True, 1, False),
        (Equal.NUMBER, "nan", "nan", False),
        (Equal.NUMBER, 1, 2, False),
        (Equal.JSON, '{"a": 1, "b": 2}', '{"b":2,"a":1}', True),
        (Equal.JSON, '{"a": 1}', '{"a": 2}', False),
        (Equal.JSON, "text", "text ", False),
        (Equal.JSON, "[" * 100_000, "[" * 100_000, False),
        (Equal.CASE, "Ana@X.org", "ana@x.org", True),
        (Equal.CASE, None, "", False),
        (Equal.TRIM, "a\n", "a", True),
        (Equal.ORDER, ["a", "b"], ["b", "a"], True),
        (Equal.ORDER, ["a", "a"], ["a"], False),
        (Equal.INSTANT, "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", True),
        (Equal.INSTANT, "soon", "soon", False),
        (Equal.ANYTHING, 1, 2, True),
    ],
)
def test_senses_of_being_the_same(sense: Equal, before: Any, after: Any, expected: bool) -> None:
    assert are_equal(sense, before, after) is expected


def test_the_built_in_rules_know_what_the_older_sdk_takes_for_the_same() -> None:
    assert noise(None, "") is not None
    assert noise("old", "new") is None
    assert noise(True, False) is None


def test_a_rule_covers_what_its_patterns_fit_and_a_bracket_is_a_bracket() -> None:
    rule = Spelling(type="genesyscloud_u*", attribute="skills[0].*", equal=Equal.ANYTHING, reason="theirs")
    assert noise(1, 2, rule, path="skills[0].level") == "theirs"
    assert noise(1, 2, rule, path="skills0.level") is None
    assert noise(1, 2, Spelling(type="other", equal=Equal.ANYTHING, reason="-")) is None


def test_the_first_rule_gives_the_reason() -> None:
    own = Spelling(equal=Equal.ANYTHING, reason="mine")
    assert noise(None, "", own, *spellings()) == "mine"


@given(st.sampled_from(list(Equal)), anything, anything)
def test_every_sense_is_symmetric_and_never_fails(sense: Equal, one: Any, other: Any) -> None:
    assert are_equal(sense, one, other) is are_equal(sense, other, one)


@given(anything)
def test_nothing_differs_from_itself_by_being_empty(value: Any) -> None:
    assert are_equal(Equal.EMPTY, value, value)

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import UsageError
from interlock.rights import RIGHTS, Right, Role, check_glob, matches, may
from interlock.rights.roles import EVERY_STATE

# The whole matrix, written out: a right that moves shows here.
MATRIX = {
    Role.READER: "read-outputs read-state",
    Role.PLANNER: "read-outputs read-state plan",
    Role.RUNNER: "read-outputs read-state plan apply lock",
    Role.OPERATOR: "read-outputs read-state plan apply lock force-unlock restore approve freeze",
    Role.ADMIN: "read-outputs read-state plan apply lock force-unlock restore approve freeze administer",
}


@pytest.mark.parametrize(("role", "right"), list(itertools.product(Role, Right)))
def test_each_role_may_do_what_its_row_says_on_its_states_and_nothing_on_others(role: Role, right: Right) -> None:
    allowed = right.value in MATRIX[role].split()
    assert may(role, "prod/*", right, "prod/routing") is allowed
    assert may(role, "**", right, "prod/routing") is allowed
    for glob in ("dev/*", "prod", "prod/rout", "routing", "prod/routing/*", "PROD/*"):
        assert not may(role, glob, right, "prod/routing")


def test_each_role_may_do_what_the_one_before_it_may_and_more() -> None:
    for before, after in itertools.pairwise(Role):
        assert RIGHTS[before] < RIGHTS[after]
    assert RIGHTS[Role.ADMIN] == set(Right)


@pytest.mark.parametrize(
    ("glob", "state", "expected"),
    [
        ("**", "prod/a/b@eu", True),
        ("*", "prod", True),
        ("*", "prod/a", False),
        ("prod/*", "prod/a", True),
        ("prod/*", "prod/a@eu", True),
        ("prod/*", "prod/a/b", False),
        ("prod/**", "prod/a/b", True),
        ("prod/**", "production/a", False),
        ("prod/*@eu", "prod/a@eu", True),
        ("prod/*@eu", "prod/a@us", False),
        ("prod.a", "prodxa", False),
        ("*/routing", "prod/routing", True),
        ("*/routing", "prod/x/routing", False),
        ("prod/a", "prod/a\n", False),
    ],
)
def test_a_glob_names_states(glob: str, state: str, *, expected: bool) -> None:
    assert matches(glob, state) is expected


def _way_of_a_regular_expression(glob: str, state: str) -> bool:
    parts = re.split(r"(\*\*|\*)", glob)
    words = {"**": "(?s:.*)", "*": "[^/]*"}
    return re.fullmatch("".join(words.get(part, re.escape(part)) for part in parts), state) is not None


@given(glob=st.text("a/@*", max_size=8), state=st.text("a/@\n", max_size=8))
def test_a_glob_names_what_the_same_regular_expression_matches(glob: str, state: str) -> None:
    assert matches(glob, state) is _way_of_a_regular_expression(glob, state)


def test_a_glob_of_many_stars_takes_no_time_for_a_name_that_it_does_not_match() -> None:
    glob = check_glob("*a" * 90 + "b")
    assert not matches(glob, "a" * 200)  # a regular expression would not end
    assert not matches(check_glob("**a*a" * 30 + "b"), "a/" * 100)
    assert matches(check_glob("**a*a" * 20), "a" * 200)


@pytest.mark.parametrize("glob", ["", "a b", "[ab]", "a?", "/a", "***", "ü", "a\n", "x" * 300])
def test_what_can_name_no_state_is_no_glob(glob: str) -> None:
    with pytest.raises(UsageError):
        check_glob(glob)


@pytest.mark.promise("P10")
@pytest.mark.parametrize("glob", ["*", "**/*", "*/**", "a", "prod/**"])
def test_an_administrator_of_some_states_is_none_of_the_server(glob: str) -> None:
    assert not may(Role.ADMIN, glob, Right.ADMINISTER, EVERY_STATE)
    assert may(Role.ADMIN, EVERY_STATE, Right.ADMINISTER, EVERY_STATE)

from __future__ import annotations

import itertools

import pytest

from interlock.errors import UsageError
from interlock.rights import RIGHTS, Right, Role, check_glob, matches, may

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


@pytest.mark.parametrize("glob", ["", "a b", "[ab]", "a?", "/a", "***", "ü", "a\n", "x" * 300])
def test_what_can_name_no_state_is_no_glob(glob: str) -> None:
    with pytest.raises(UsageError):
        check_glob(glob)

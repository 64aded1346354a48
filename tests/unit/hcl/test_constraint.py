import pytest

from interlock.hcl import Constraint, parse_constraint, parse_release


@pytest.mark.parametrize(
    ("text", "floor", "ceiling"),
    [
        ("1.2.3", (1, 2, 3), (1, 2, 4)),
        ("= 1.2.3", (1, 2, 3), (1, 2, 4)),
        (">= 1.2", (1, 2, 0), None),
        ("> 1.2.0", (1, 2, 1), None),
        ("< 2", (0, 0, 0), (2, 0, 0)),
        ("<= 1.2.3", (0, 0, 0), (1, 2, 4)),
        ("~> 1.84", (1, 84, 0), (2, 0, 0)),
        ("~> 1.84.1", (1, 84, 1), (1, 85, 0)),
        ("~> 1", (1, 0, 0), None),
        (">= 1.53.0, < 2.0.0", (1, 53, 0), (2, 0, 0)),
        (">= 1.0, != 1.5.0", (1, 0, 0), None),
        (">= 1.84.0-beta1", (1, 84, 0), None),
        ("v1.2.3", (1, 2, 3), (1, 2, 4)),
    ],
)
def test_constraints_leave_an_interval(
    text: str, floor: tuple[int, int, int], ceiling: tuple[int, int, int] | None
) -> None:
    found = parse_constraint(text)
    assert found is not None
    assert (found.floor, found.ceiling) == (floor, ceiling)


@pytest.mark.parametrize("text", ["", "latest", "1.x", ">= ", "1.2.3.4", ">= 1 <2", "~>", "1" * 600])
def test_other_text_is_no_constraint(text: str) -> None:
    assert parse_constraint(text) is None


def test_what_an_interval_admits() -> None:
    found = Constraint(floor=(1, 10, 0), ceiling=(1, 50, 0))
    assert found.admits_from((1, 49, 0))
    assert not found.admits_from((1, 50, 0))
    assert found.admits_before((1, 10, 1))
    assert not found.admits_before((1, 10, 0))
    assert found.is_bounded
    assert not Constraint(floor=(1, 0, 0)).is_bounded


def test_plain_versions_are_releases() -> None:
    assert parse_release("1.84.1") == (1, 84, 1)
    assert parse_release(">= 1.84.1") is None
    assert parse_release("x") is None


def test_an_exact_version_is_kept() -> None:
    found = parse_constraint("1.84.1")
    assert found is not None
    assert found.exact == (1, 84, 1)

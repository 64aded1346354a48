"""What one job hands on to later ones, read again."""

import json

import pytest

from interlock.ci.matrix import named_roots, read_needs, row_of
from interlock.ci.pipeline import Target
from interlock.errors import UsageError


def test_what_is_handed_on_says_the_needs_when_it_is_read_again() -> None:
    targets = [
        Target(name="prod/a", directory="a", environment="production"),
        Target(name="b", directory="b", environment="production", needs=("prod/a",)),
        Target(name="c", directory="c", environment="production", needs=("b", "prod/a")),
    ]
    text = json.dumps([row_of(target) for target in targets])
    assert read_needs(text) == {target.name: target.needs for target in targets}


@pytest.mark.parametrize("text", ["", "x", "{}", "[1]", '[{"slug": "a"}]', '[{"state": 1}]', "\udcff"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not the list of roots"):
        read_needs(text)


def test_named_roots_keep_their_order_and_a_wrong_name_is_told_the_nearest() -> None:
    known = ("prod/a", "b", "c")
    assert named_roots(["c", "prod/a"], known) == ("prod/a", "c")
    assert named_roots([], known) == ()
    with pytest.raises(UsageError, match="called prod/b") as refusal:
        named_roots(["c", "prod/b"], known)
    assert refusal.value.why == "the nearest is prod/a"

"""One spelling of amounts for everything that people read."""

from __future__ import annotations

import pytest

from interlock.amounts import amount


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 states"),
        (1, "1 state"),
        (2, "2 states"),
        (1.0, "1 state"),
        (1.5, "1.5 states"),
        (1000000, "1000000 states"),
    ],
)
def test_one_thing_has_the_word_for_one(count: float, text: str) -> None:
    assert amount(count, "state") == text


def test_words_that_take_no_s_are_given_whole() -> None:
    assert amount(1, "dependency", "dependencies") == "1 dependency"
    assert amount(0, "resource needs", "resources need") == "0 resources need"

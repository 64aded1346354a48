"""How a number of things is spelled for people, in one place: `1 state`, `2 states`."""

from __future__ import annotations


def amount(count: float, one: str, many: str = "") -> str:
    """Spell how many there are.

    Args:
        count: How many; of a number that is not whole, six digits are shown.
        one: The word for one, which may be several words: `resource`, `hidden dependency`.
        many: The word for any other number, 0 too; empty for `one` with an s.
    """
    shown = str(int(count)) if count == int(count) else f"{count:g}"
    return f"{shown} {one if count == 1 else many or one + 's'}"


def percent(part: float) -> str:
    """Spell a part of a whole: 0.3 is `30 %`; six digits are shown."""
    return f"{part * 100:g} %"

"""Measurements side by side with what a user would use instead, in one run, as ratios. `make bench` prints them.

Each module here has `measure() -> list[Row]`, and is listed in `__main__.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured value.

    Attributes:
        name: What was measured.
        value: The result of Interlock.
        unit: Of `value` and `baseline`, such as `ms` or `per second`.
        baseline: The same for what it is compared with, measured in the same run; None without one.
        ratio: `value / baseline`; None without a baseline.
        aim: What the result should be, in words; empty without an aim.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    aim: str = ""


def compared(name: str, value: float, unit: str, *, baseline: float, aim: str = "") -> Row:
    """Make a row with a baseline."""
    return Row(name=name, value=value, unit=unit, baseline=baseline, ratio=value / baseline, aim=aim)

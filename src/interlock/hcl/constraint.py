"""Version constraints such as `>= 1.53.0, < 2.0.0`, as the interval that they leave.

Knows: the operators of Terraform's constraint language. Pre-releases are read as their release.
Source: hashicorp/go-version constraint.go, which Terraform uses.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from msgspec import Struct

from interlock.late_pattern import late

Release: TypeAlias = tuple[int, int, int]

MAX_CHARS = 512  # of one constraint; the longest seen in public has 40

_PART = late(r"\s*(=|!=|>=|<=|>|<|~>)?\s*v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:[-+][0-9A-Za-z.+-]+)?\s*\Z")


class Constraint(Struct, frozen=True, kw_only=True):
    """The releases from `floor` up to `ceiling`.

    Attributes:
        floor: The oldest release that may fit.
        ceiling: The first release that does not fit any more; None when nothing bounds it above.
        exact: The only release that fits, when it is named alone.
    """

    floor: Release = (0, 0, 0)
    ceiling: Release | None = None
    exact: Release | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether some newer release is refused."""
        return self.ceiling is not None

    def admits_from(self, release: Release) -> bool:
        """Say whether `release` or any newer one fits."""
        return self.ceiling is None or self.ceiling > release

    def admits_before(self, release: Release) -> bool:
        """Say whether any release older than `release` fits."""
        return self.floor < release


def parse_constraint(text: str) -> Constraint | None:
    """Read a constraint; None when it is none. `!=` narrows nothing here."""
    if len(text) > MAX_CHARS:
        return None
    floor: Release = (0, 0, 0)
    ceiling: Release | None = None
    exact: Release | None = None
    for part in text.split(","):
        read = _part(part)
        if read is None:
            return None
        low, high, only = read
        floor = max(floor, low)
        ceiling = high if ceiling is None else ceiling if high is None else min(ceiling, high)
        exact = only or exact
    return Constraint(floor=floor, ceiling=ceiling, exact=exact)


def parse_release(text: str) -> Release | None:
    """Read a plain version such as `1.84.1`; None when it is none."""
    match = _PART.match(text) if len(text) <= MAX_CHARS else None
    return None if match is None or match[1] else _release(match)


def _part(text: str) -> tuple[Release, Release | None, Release | None] | None:
    """Return the floor, the ceiling and the only release of one part, or None when it cannot be read."""
    match = _PART.match(text)
    if match is None:
        return None
    at = _release(match)
    behind = (at[0], at[1], at[2] + 1)
    operator = match[1] or "="
    floor, ceiling = {
        "=": (at, behind),
        ">=": (at, None),
        ">": (behind, None),
        "<": ((0, 0, 0), at),
        "<=": ((0, 0, 0), behind),
        "~>": (at, _next(match)),
        "!=": ((0, 0, 0), None),
    }[operator]
    return floor, ceiling, at if operator == "=" else None


def _next(match: re.Match[str]) -> Release | None:
    """Return where `~>` ends: the last number given may rise, those before it may not."""
    if match[4] is not None:
        return (int(match[2]), int(match[3]) + 1, 0)
    return None if match[3] is None else (int(match[2]) + 1, 0, 0)


def _release(match: re.Match[str]) -> Release:
    return (int(match[2]), int(match[3] or 0), int(match[4] or 0))

"""Where a run is, and the legal steps between.

The table is the rule; docs/explanation/a-run.md draws it.
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """One phase of a run, in the order in which a run normally passes them."""

    PREPARING = "preparing"
    QUEUED = "queued"
    PLANNING = "planning"
    AWAITING = "awaiting"
    APPLYING = "applying"
    SETTLING = "settling"
    ENDED = "ended"


STEPS: dict[Phase, frozenset[Phase]] = {
    Phase.PREPARING: frozenset({Phase.QUEUED, Phase.ENDED}),
    Phase.QUEUED: frozenset({Phase.PLANNING, Phase.ENDED}),
    Phase.PLANNING: frozenset({Phase.PLANNING, Phase.AWAITING, Phase.APPLYING, Phase.SETTLING}),
    Phase.AWAITING: frozenset({Phase.APPLYING, Phase.SETTLING}),
    Phase.APPLYING: frozenset({Phase.SETTLING}),
    Phase.SETTLING: frozenset({Phase.PLANNING, Phase.ENDED}),
    Phase.ENDED: frozenset(),
}
"""SETTLING saves, verifies and releases. From it, or from PLANNING, a passing failure leads to a fresh plan."""

HOLDING = frozenset({Phase.PLANNING, Phase.AWAITING, Phase.APPLYING, Phase.SETTLING})
"""The phases in which the run holds the state."""


def may_step(current: Phase, following: Phase) -> bool:
    """Say whether a run may go from `current` to `following`."""
    return following in STEPS[current]

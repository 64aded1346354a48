"""Several roots in one command: which may start, which are held back, and with which status it all ends. Pure.

A root starts when everything that it comes after has ended well. One that fails holds back those that come after it,
directly or not; the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

DEFAULT_JOBS: Final = 4
"""Runs at once. Each is a supervisor, a Terraform and its providers, a few hundred MB together; all share one API
budget, so more of them plan no faster."""

GOOD: Final = frozenset({0, 2})
"""Exit statuses of a run that did what it was asked for."""

WORST_FIRST: Final = (
    # What somebody has to look at before anybody goes on.
    *(131, 23, 20, 22, 12),
    # What failed.
    *(1, 34, 33, 32, 30, 31),
    # What was refused, or was not begun, with nothing changed.
    *(40, 41, 21, 13, 10, 11, 3),
    # What was stopped, and is saved.
    *(130, 143),
    # What went well.
    *(2, 0),
)
"""Every exit status, the worst first; docs/reference/exit-codes.md tells it."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Roots in order.

    Attributes:
        order: Their names; of those that may start, the first come first.
        after: By name, the roots that must have ended well before.
        jobs: Most runs at once.
    """

    order: Sequence[str]
    after: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    jobs: int = DEFAULT_JOBS

    def startable(self, running: AbstractSet[str], ended: Mapping[str, int]) -> tuple[str, ...]:
        """Return the roots to start now.

        Args:
            running: Those that were started and have not ended.
            ended: The exit statuses of the others that were started.
        """
        good = {name for name, exit_status in ended.items() if exit_status in GOOD}
        ready = [
            name
            for name in self.order
            if name not in running and name not in ended and self.after.get(name, frozenset()) <= good
        ]
        return tuple(ready[: max(self.jobs - len(running), 0)])

    def held_back(self, ended: Mapping[str, int]) -> dict[str, str]:
        """Return the roots that can no longer start, each with the failed root that holds it back."""
        failed = {name: name for name, exit_status in ended.items() if exit_status not in GOOD}
        because = dict(failed)
        for name in self._in_turn():
            if name not in ended and (before := sorted(self.after.get(name, frozenset()) & because.keys())):
                because[name] = because[before[0]]
        return {name: root for name, root in because.items() if name not in failed}

    def _in_turn(self) -> list[str]:
        """Return the names with each behind all that it comes after."""
        placed: dict[str, None] = {}
        while len(placed) < len(self.order):
            ready = [n for n in self.order if n not in placed and self.after.get(n, frozenset()) <= placed.keys()]
            assert ready, "roots that need each other in a circle are refused before"
            placed.update(dict.fromkeys(ready))
        return list(placed)


def make_schedule(
    names: Sequence[str], needs: Iterable[tuple[str, str]], *, jobs: int, reverse: bool = False
) -> Schedule:
    """Return how roots follow each other.

    Args:
        names: The roots in the order of work.
        needs: Pairs: a root and one that it needs.
        jobs: Most runs at once.
        reverse: What needs others comes first, as it does when everything is destroyed.
    """
    after: dict[str, set[str]] = {name: set() for name in names}
    for root, on in needs:
        first, second = (root, on) if reverse else (on, root)
        if first in after and second in after and first != second:
            after[second].add(first)
    return Schedule(order=tuple(reversed(names)) if reverse else tuple(names), after=after, jobs=jobs)


def worst(statuses: Iterable[int]) -> int:
    """Return the exit status of a command that made several runs: the worst of theirs; 0 for none.

    A number that is in no table counts as an error that is not listed.
    """
    known = [status if status in WORST_FIRST else 1 for status in statuses]
    return min(known, key=WORST_FIRST.index, default=0)

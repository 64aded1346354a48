"""In which order the requests of each flow came: of those who wait here, and of those who were told to come back.

Who is told when to come back is told by how many are before it. Were those behind it counted too, all of a flow would
be told the same late instant, nobody would be here meanwhile to use a small budget, and all would come at once again.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort


class Lines:
    """One line for each flow; a place in it is a number that no other has."""

    def __init__(self) -> None:
        self._lines: dict[str, list[float]] = {}
        self._last = -math.inf

    def new_place(self, arrived_s: float) -> float:
        """Return a place behind all others, also of requests that came in the same instant."""
        self._last = max(arrived_s, math.nextafter(self._last, math.inf))
        return self._last

    def join(self, flow: str, place: float) -> None:
        """Take a place."""
        insort(self._lines.setdefault(flow, []), place)

    def leave(self, flow: str, place: float) -> None:
        """Give a place up."""
        line = self._lines[flow]
        del line[bisect_left(line, place)]
        if not line:
            del self._lines[flow]

    def ahead(self, flow: str, place: float) -> int:
        """Return how many of a flow are before a place."""
        return bisect_left(self._lines.get(flow, []), place)

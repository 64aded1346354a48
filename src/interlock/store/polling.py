"""How often to look for a change when nobody rings: quickly at first, then less and less often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class Pace(Protocol):
    """How often a store that cannot ring is looked at."""

    def waits_s(self) -> Iterator[float]:
        """Yield the seconds to wait before each look since the last change, without end."""
        ...

    def rarer(self) -> Pace:
        """Return the pace for a whole prefix, where each look costs a request a record, and only people wait."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """A pace of looking.

    The default looks 0.2 s after the last change and then ever more rarely, up to every 1.5 s: a lock that is held for
    seconds is handed over within about 0.3 s, and a waiter of many minutes needs some 45 requests a minute (80 while
    the holder's heartbeat changes the record every 10 s). Measured by benchmarks/aws_store.py.

    Attributes:
        first_s: Time to the first look.
        growth: Factor from each look to the next.
        most_s: Longest time between two looks.
    """

    first_s: float = 0.2
    growth: float = 1.25
    most_s: float = 1.5

    def waits_s(self) -> Iterator[float]:
        """Yield the time to wait before each look, without end."""
        wait_s = self.first_s
        while True:
            yield wait_s
            wait_s = min(wait_s * self.growth, self.most_s)

    def rarer(self) -> Polling:
        """Return the pace for a whole prefix, where each look costs a request a record, and only people wait."""
        return Polling(first_s=5 * self.first_s, growth=1.5, most_s=7 * self.most_s)


@dataclass(slots=True, kw_only=True)
class NearPolling:
    """A pace that is quicker while something is near: the first in a queue is who pays for a late look.

    Attributes:
        is_near: Whether it is; may be set at any time.
        far: The pace otherwise.
        near: The pace then. By default 0.15 s after a change and slowly less often: behind a holder whose heartbeat
            comes every 8 s some 240 requests a minute, and a hand-over within about 0.2 s.
    """

    is_near: bool = False
    far: Polling = Polling()
    near: Polling = Polling(first_s=0.15, growth=1.06, most_s=0.75)

    def waits_s(self) -> Iterator[float]:
        """See `Pace.waits_s`."""
        for far_s, near_s in zip(self.far.waits_s(), self.near.waits_s(), strict=True):
            yield near_s if self.is_near else far_s

    def rarer(self) -> Polling:
        """See `Pace.rarer`."""
        return self.far.rarer()

"""How many requests may be in flight: additive increase, multiplicative decrease.

The rate is kept by budgets. This keeps the API from drowning when it is slow or ill: it shrinks on what looks like
overload and grows again on success. A 429 or a client's own error says nothing about load and is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Sample(Enum):
    """What one finished request says about load."""

    SUCCESS = "success"
    IGNORED = "ignored"
    """A 4xx, a 429, or a client that went away: no word about load."""
    DROPPED = "dropped"
    """A timeout, a broken connection or a 502, 503, 504."""


_DECREASE = 0.75
_USED_SHARE = 0.5  # a limit that is not used is not proven, so it does not grow


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """An in-flight limit.

    Attributes:
        limit: The current one; its whole part counts.
        floor: Never below; 1 or more, so that something always moves.
        ceiling: The hard cap.
        cut_at_s: Last decrease; requests sent before it tell of the same congestion.
    """

    limit: float
    floor: float = 1.0
    ceiling: float = 128.0
    cut_at_s: float = float("-inf")


def may_send(concurrency: Concurrency, in_flight: int) -> bool:
    """Say whether one more may go beside those in flight."""
    return in_flight < int(concurrency.limit)


def after(concurrency: Concurrency, sample: Sample, *, in_flight: int, sent_s: float, now_s: float) -> Concurrency:
    """Return the limit after one more sample.

    Args:
        concurrency: As it was.
        sample: What the request says.
        in_flight: Requests in flight, this one included.
        sent_s: When it was sent.
        now_s: Monotonic seconds.
    """
    if sample is Sample.DROPPED:
        if sent_s < concurrency.cut_at_s:
            return concurrency
        return replace(concurrency, limit=max(concurrency.limit * _DECREASE, concurrency.floor), cut_at_s=now_s)
    if sample is Sample.SUCCESS and in_flight >= concurrency.limit * _USED_SHARE:
        return replace(concurrency, limit=min(concurrency.limit + 1.0 / concurrency.limit, concurrency.ceiling))
    return concurrency

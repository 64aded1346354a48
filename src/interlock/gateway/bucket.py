"""A token bucket as a value: `take(bucket, tokens)` gives the next bucket and a wait.

It sets the pace of a budget. It does not keep the limit: `budget.py` does, with the exact log of a window.
Times are monotonic seconds of one process; only differences mean anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from interlock.errors import UsageError

_ROUNDING = 1e-9  # a wait computed from a level must be long enough when it is over


class TooMany(UsageError):
    """More than the capacity was asked for, so no wait would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A level that rises with time up to a capacity.

    Attributes:
        capacity: Most requests that may go at once, 1 or more.
        rate_per_s: How fast the level rises, above 0.
        level: Requests that may go at `at_s`.
        at_s: When the level was true.
    """

    capacity: float
    rate_per_s: float
    level: float
    at_s: float


def full(*, capacity: float, rate_per_s: float, now_s: float) -> Bucket:
    """Return a bucket that nobody has used."""
    return Bucket(capacity=capacity, rate_per_s=rate_per_s, level=capacity, at_s=now_s)


def level_at(bucket: Bucket, now_s: float) -> float:
    """Return how many requests may go at once now."""
    passed_s = max(now_s - bucket.at_s, 0.0)
    return min(bucket.capacity, bucket.level + passed_s * bucket.rate_per_s)


def wait_for(bucket: Bucket, tokens: float, *, now_s: float) -> float:
    """Return the seconds until `tokens` can be taken, 0.0 when they can be now.

    Raises:
        TooMany: More than the capacity was asked for.
    """
    if tokens > bucket.capacity:
        raise TooMany(f"{tokens:g} requests at once", why=f"the bucket holds {bucket.capacity:g}", fix="ask for fewer")
    missing = tokens - level_at(bucket, now_s)
    return 0.0 if missing <= _ROUNDING else missing / bucket.rate_per_s


def take(bucket: Bucket, tokens: float, *, now_s: float) -> tuple[Bucket, float]:
    """Take `tokens` from the bucket, or say how long to wait.

    Args:
        bucket: As it was.
        tokens: Whole requests, 1 to `bucket.capacity`.
        now_s: Monotonic seconds; may repeat but not go back.

    Returns:
        The next bucket and the wait in seconds (0.0 when the tokens were taken).

    Raises:
        TooMany: More than the capacity was asked for, so no wait would help.
    """
    wait_s = wait_for(bucket, tokens, now_s=now_s)
    if wait_s > 0.0:
        return bucket, wait_s
    level = max(level_at(bucket, now_s) - tokens, 0.0)
    return replace(bucket, level=level, at_s=max(now_s, bucket.at_s)), 0.0


def emptied(bucket: Bucket, *, now_s: float) -> Bucket:
    """Return the bucket with nothing in it: after a refusal everybody starts slowly."""
    return replace(bucket, level=0.0, at_s=max(now_s, bucket.at_s))

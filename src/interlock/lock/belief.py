"""Which instants of other clocks are believed.

A record is written by many machines, and on S3 their clocks differ. An instant that lies ahead of the reader's clock by
more than the span it is good for cannot be true: it came from a clock that is, or once was, wrong. Without this bound,
one message of a clock that was a day ahead would count as the freshest news for a day.
"""

from __future__ import annotations

from datetime import datetime


def is_believable(instant: datetime, now: datetime, *, ahead_s: float) -> bool:
    """Say whether `instant` lies at most `ahead_s` seconds after `now`."""
    return (instant - now).total_seconds() <= ahead_s


def latest(known: datetime, now: datetime, *, ahead_s: float) -> datetime:
    """Return the later one, or `now` when the known instant is not believable.

    The later one, because a clock that went back a little must shorten nothing.
    """
    return max(known, now) if is_believable(known, now, ahead_s=ahead_s) else now

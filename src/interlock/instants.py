"""How an instant is read from records, and spelled for people: the one place, so that all they read has one form.

Pure: it reads no clock. JSON has RFC 3339 in UTC and is not spelled here.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from interlock.late_pattern import late

Instant: TypeAlias = Annotated[datetime, Meta(tz=True)]
"""An instant of a stored record. One without a zone, which could be compared with no other, is malformed."""

LONGEST_S: Final = 36_500 * 86_400.0
"""Seconds that are counted of any span: a hundred years."""

_IN_TEXT = late(r"(?<![\w:.-])(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)Z(?!\w)", re.ASCII)


def span(seconds: float) -> timedelta:
    """Return a span, of either sign, that can be added to any instant of our time: at most `LONGEST_S`.

    A number that a client sends may be any; no calendar can add 1e300 seconds, and trying ends as a defect.
    """
    return timedelta(seconds=min(max(seconds, -LONGEST_S), LONGEST_S))


def spelled(at: datetime, *, milliseconds: bool = False) -> str:
    """Spell an instant for people, in the zone that it carries: `2026-11-24 14:02:11Z`, `2026-11-24 15:02:11+01`.

    The only spelling of instants outside JSON. Minutes of the offset are left out where there are none.
    """
    text = f"{at:%Y-%m-%d %H:%M:%S}" + (f".{at.microsecond // 1000:03d}" if milliseconds else "")
    offset = f"{at:%z}"
    if offset in {"", "+0000", "-0000"}:
        return f"{text}Z"
    hours, minutes = offset[:3], offset[3:5]
    return f"{text}{hours}" + (f":{minutes}" if minutes != "00" else "")


def moved(text: str, zone: tzinfo | None) -> str:
    """Return a text of ours with the UTC instants in it as `zone` has them; None is the zone of this machine.

    Sentences of a core say UTC: whoever judges does not know where it is read.
    """
    return _IN_TEXT.sub(lambda found: _moved(found[0], zone), text)


def _moved(text: str, zone: tzinfo | None) -> str:
    try:
        return spelled(datetime.fromisoformat(text).astimezone(zone))
    except (ValueError, OverflowError):  # no date, or at the very end of time
        return text

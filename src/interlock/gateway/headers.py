"""What rate-limit and retry headers say, and which headers may pass through a proxy.

Source: data/limits.json, `response_headers`: the inin-ratelimit-* headers on ordinary answers, Retry-After on a 429.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

Pair = tuple[bytes, bytes]
"""A header as ASGI has it; the name is in lower case."""

RETRY_AFTER_DEFAULT_S = 2.0
"""What a 429 without a usable Retry-After is taken to mean."""
RETRY_AFTER_MAX_S = 180.0
"""Longest Retry-After that is believed; above it the provider would not wait, and windows are a minute long."""
_COUNT_MAX = 10**9  # a larger number in a header is nonsense
_DIGITS = re.compile(r"\d{1,10}")

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_OURS = frozenset({b"host", b"authorization", b"content-length", b"expect", b"cookie", b"forwarded"})
_ALSO_OURS = (b"x-forwarded-", b"x-interlock-")  # prefixes: a client must not speak for the gateway


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one answer says about the limit that is nearest.

    Attributes:
        count: Requests counted in the current window.
        allowed: Requests allowed in a window.
        reset_s: Seconds until the window ends.
    """

    count: int
    allowed: int
    reset_s: float


def read_rate(headers: Mapping[str, str]) -> Heard | None:
    """Read the three inin-ratelimit headers; None when one is missing or no sensible number.

    Args:
        headers: Of an answer; looked up in lower case.
    """
    count = _number(headers.get("inin-ratelimit-count"))
    allowed = _number(headers.get("inin-ratelimit-allowed"))
    reset = _number(headers.get("inin-ratelimit-reset"))
    if count is None or not allowed or reset is None:
        return None
    return Heard(count=count, allowed=allowed, reset_s=float(reset))


def read_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Read Retry-After, seconds or an HTTP date, as seconds from `now` between 0 and `RETRY_AFTER_MAX_S`.

    Returns:
        None when the header is missing or cannot be understood.
    """
    if value is None:
        return None
    seconds = _number(value)
    if seconds is None:
        seconds = _until(value, now)
    return None if seconds is None else min(max(float(seconds), 0.0), RETRY_AFTER_MAX_S)


def _until(value: str, now: datetime) -> int | None:
    try:
        at = parsedate_to_datetime(value[:64])
    except (ValueError, TypeError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round((at - now).total_seconds())


def _number(text: str | None) -> int | None:
    if text is None or not _DIGITS.fullmatch(text.strip()):
        return None
    number = int(text)
    return number if number <= _COUNT_MAX else None


def forwarded_request(headers: Iterable[Pair]) -> list[Pair]:
    """Return the client's headers that may go to the API: nothing about the hop, nothing that identifies."""
    return _passing(headers, _OURS)


def forwarded_response(headers: Iterable[Pair]) -> list[Pair]:
    """Return the API's headers that may go to the client; its length is set anew."""
    return _passing(headers, frozenset({b"content-length", b"set-cookie", b"alt-svc", b"date", b"server"}))


def _passing(headers: Iterable[Pair], dropped: frozenset[bytes]) -> list[Pair]:
    pairs = [(name.lower(), value) for name, value in headers]
    named = {token.strip().lower() for name, value in pairs if name == b"connection" for token in value.split(b",")}
    unwanted = _HOP_BY_HOP | dropped | named
    return [pair for pair in pairs if pair[0] not in unwanted and not pair[0].startswith(_ALSO_OURS)]

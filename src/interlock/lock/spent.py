"""Names that ended and must never be granted again, remembered compactly.

The endings in a lock tell how each ticket ended, so there are few of them. This remembers only *that* a ticket or lock
id ended: 48 bits of a digest each, in two generations. When the newer one is full or half the time has passed, it
becomes the older one and that one is forgotten. So a name is remembered for `REMEMBERED_S / 2` at least, unless more
than `GENERATION_MAX` others end meanwhile (8 KB of record, written with every heartbeat).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from msgspec import Struct

from interlock.lock.belief import is_believable

REMEMBERED_S = 172_800.0
"""Two days: a proxy, a stopped machine or a pipeline that was paused overnight may deliver a request late."""
GENERATION_MAX = 512
"""Names in one generation."""
_DIGESTS_KEPT = 256  # one decision asks for the same two names four times
_DIGITS = 8  # base64 digits of one name
_BYTES = 6


class Spent(Struct, frozen=True, kw_only=True):
    """Names that ended.

    Attributes:
        newer: Digests of the latest names, end to end.
        older: Those of the generation before.
        since: When the newer generation began; None while there is nothing.
    """

    newer: str = ""
    older: str = ""
    since: datetime | None = None


NOTHING_SPENT = Spent()


def spend(spent: Spent, names: Iterable[str], *, now: datetime) -> Spent:
    """Remember these names."""
    digests = dict.fromkeys(map(_digest, names))
    added = "".join(digest for digest in digests if not _is_held(spent, digest))
    if not added:
        return spent
    if spent.since is None or _is_over(spent, spent.since, now):
        return Spent(newer=added, older=spent.newer, since=now)
    return Spent(newer=spent.newer + added, older=spent.older, since=spent.since)


def is_spent(spent: Spent, name: str) -> bool:
    """Say whether this name ended. Two names in 280 million million look alike; a repeated command brings a new one."""
    return spent.since is not None and _is_held(spent, _digest(name))


def _is_held(spent: Spent, digest: str) -> bool:
    return _holds(spent.newer, digest) or _holds(spent.older, digest)


def _is_over(spent: Spent, since: datetime, now: datetime) -> bool:
    if len(spent.newer) >= GENERATION_MAX * _DIGITS:
        return True
    aged = (now - since).total_seconds() >= REMEMBERED_S / 2
    return aged or not is_believable(since, now, ahead_s=REMEMBERED_S)


def _holds(digests: str, digest: str) -> bool:
    at = digests.find(digest)
    while at % _DIGITS and at >= 0:  # found across two names
        at = digests.find(digest, at + 1)
    return at >= 0


@lru_cache(maxsize=_DIGESTS_KEPT)
def _digest(name: str) -> str:
    return base64.urlsafe_b64encode(hashlib.blake2b(name.encode(), digest_size=_BYTES).digest()).decode()

"""Lists the newest records first, from a store that lists forwards. A hand: it asks.

For keys that end in ids which sort by time. Stretches of time are asked for, the newest first, each as long as it takes
to hold a few records: where they are dense the next one is shorter, where they are rare it is longer. So the newest
twenty of a hundred thousand cost a few pages, and no store needs to list backwards.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator
from typing import Final

from interlock.store import Record, RecordStore
from interlock.store.record_rows import behind

_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = 16  # of a whole id: so those of one instant have places of their own
_LAST: Final = "z" * _DIGITS
_SPAN: Final = 36**11  # about a quarter of an hour
_FIRST: Final = 8  # where there are few, what is listed is mostly behind the end
_PAGE: Final = 64
_DENSE: Final = 4 * _PAGE


async def newest_pages(
    records: RecordStore, prefix: str, *, before: str, begins: str, latest: str
) -> AsyncIterator[list[Record]]:
    """Yield records page by page, the newest first; no page is asked for before it is wanted.

    Args:
        records: Where they are.
        prefix: What their keys begin with, before an id of lower-case letters and digits.
        before: The id behind which to begin; "" begins with the newest.
        begins: Only those whose ids begin so.
        latest: An id behind which there are hardly any.
    """
    oldest = await records.list(prefix + begins, limit=1)
    if not oldest:
        return
    first, end = _place(oldest[0].key.removeprefix(prefix)), _place(before or f"{begins}{_LAST}") + 1
    last = f"{prefix}{before}" if before else behind(prefix + begins) or ""
    span, is_ahead, low = max(end - _place(latest), _SPAN), end > _place(latest), first
    while end > first:
        begin = max(end - span, low)
        page, is_whole = await _between(records, prefix, begin, end, last)
        if not is_whole:  # only the oldest of them were read: look between those and the end
            low = _place(page[-1].key.removeprefix(prefix))
            span = max((end - low) // 2, 1)
            continue
        yield page[::-1]
        is_found, end = begin == low, begin  # all behind what was read of a dense stretch
        wider = span * _wider(len(page)) if low == first else max((end - low) // 2, 1)
        span, is_ahead = _SPAN if is_ahead else wider, False
        low = first if is_found else low


async def _between(records: RecordStore, prefix: str, begin: int, end: int, last: str) -> tuple[list[Record], bool]:
    """Return the records between two places, before the key `last`, and whether those are all of them."""
    found: list[Record] = []
    after, until, limit = prefix + _edge(begin), min(prefix + _edge(end), last), _FIRST
    while True:
        page = await records.list(prefix, after=after, limit=limit)
        found += [record for record in page if record.key < until]
        if len(page) < limit or page[-1].key >= until:
            return found, True
        if len(found) >= _DENSE and end - begin > 1:
            return found, False
        after, limit = page[-1].key, _PAGE


def _wider(found: int) -> int:
    """Return how much longer the next stretch of time is, from how many were in the last one."""
    return 16 if not found else 4 if found < _PAGE else 1


def _place(text: str) -> int:
    """Return where a text stands among all ids: a number that sorts as they do. Of a stranger's: where it would be."""
    place = 0
    for sign in text[:_DIGITS].ljust(_DIGITS, "0"):
        place = place * 36 + max(bisect_right(_ALPHABET, sign) - 1, 0)
    return place


def _edge(place: int) -> str:
    """Return a text that sorts before every id at a place or behind it, and behind all others; it is no id itself."""
    if place <= 0:
        return ""
    place, digits = place - 1, ""
    for _ in range(_DIGITS):
        place, digit = divmod(place, 36)
        digits = _ALPHABET[digit] + digits
    return f"{digits}~"

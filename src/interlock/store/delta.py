"""Finds which parts of one blob are already in another.

Made for documents whose order is stable, such as Terraform states: most of the new document is a copy of the old one,
with local changes, insertions and deletions. So we follow both side by side while they agree, which is one memory
comparison, and search only where they part. Long runs cost next to nothing; each change costs some microseconds.
Too many changes give up early, because then compression alone does as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct, field

Copies: TypeAlias = "Sequence[int] | memoryview[int]"
"""Flat triples: number of new bytes, offset in the base, number of bytes to copy from there."""

CHANGES_MAX = 10_000
"""Most copies of one delta; at some 50 microseconds each that bounds the search to about half a second."""

_KEY_BYTES = 48  # what is looked up; an indented JSON document has few different stretches shorter than this
_AGREE_BYTES_MIN = 128  # what must agree for a match to be believed, and more than a copy costs in the list
_AGREE_BYTES_MAX = 1024  # likewise for a match far away in a large base, where shorter stretches repeat by chance
_BLOCKS_MAX = 50_000  # keys of the base in the index: about 10 MB
_BLOCK_BYTES_MIN = 64
_LOOKUPS_MAX = 4_000_000  # over all searches of one delta, about 0.1 microseconds each
_NEAR_SKIPS = (0, 8, 40, 256)  # a number, an id or a short list of them was changed
_NEAR_BYTES = 4096
_CLOSE_BYTES = (
    16 * 1024
)  # up to here every window is searched; behind it, ever larger steps find the end of a large gap
_COMPARE_BYTES_FIRST = 64
_COMPARE_BYTES_MAX = 1024 * 1024


def find_copies(base: bytes, data: bytes, *, new_bytes_max: int) -> list[int] | None:
    """Describe `data` by copies from `base` and new bytes in between.

    Args:
        base: The older document.
        data: The newer one.
        new_bytes_max: Give up when more than this many bytes of `data` are not in `base`.

    Returns:
        See `Copies`; None when it is not worth it.
    """
    search = _Search(base=base, data=data)
    new_bytes = 0
    while search.at < len(data):
        start = search.at
        if not search.resume():
            new_bytes += len(data) - start
            search.copies += (len(data) - start, 0, 0)
            break
        new_bytes += search.copies[-3]
        if new_bytes > new_bytes_max or len(search.copies) > 3 * CHANGES_MAX:
            return None
    return None if new_bytes > new_bytes_max else search.copies


def collect(copies: Copies, data: bytes) -> bytes:
    """Return the new bytes of `data`, joined."""
    parts = []
    position = 0
    for index in range(0, len(copies), 3):
        new, length = copies[index], copies[index + 2]
        parts.append(data[position : position + new])
        position += new + length
    return b"".join(parts)


def expand(copies: Copies, *, base: bytes, news: bytes, plain_bytes: int) -> bytes:
    """Build the document again.

    Raises:
        ValueError: The copies point outside the base or the new bytes, or would give more than `plain_bytes`.
    """
    parts: list[memoryview] = []
    old, fresh = memoryview(base), memoryview(news)
    position = 0
    total = 0
    for index in range(0, len(copies), 3):
        new, offset, length = copies[index], copies[index + 1], copies[index + 2]
        total += new + length
        if position + new > len(news) or offset + length > len(base) or total > plain_bytes:
            raise ValueError("a copy points outside the blob")
        parts.append(fresh[position : position + new])
        parts.append(old[offset : offset + length])
        position += new
    return b"".join(parts)


class _Search(Struct, kw_only=True):
    """One walk through both documents.

    Attributes:
        at: Everything before this offset of `data` is described.
        old: The offset in `base` that follows the last copy.
        copies: The description so far, see `Copies`.
        lookups: How often the index was asked.
    """

    base: bytes
    data: bytes
    at: int = 0
    old: int = 0
    copies: list[int] = field(default_factory=list)
    lookups: int = 0
    _index: dict[bytes, int] = field(default_factory=dict)

    def resume(self) -> bool:
        """Find the next copy and append it; False when the rest of `data` is new."""
        found = self._found_near() or self._found_by_index()
        if found is None:
            return False
        at, old = self._grow_back(*found)
        length = _agreement(self.data, at, self.base, old)
        self.copies += (at - self.at, old, length)
        self.at, self.old = at + length, old + length
        return True

    def _found_near(self) -> tuple[int, int] | None:
        """Try the common case: a value was changed, and the text goes on at the same place or a little further."""
        for skip in _NEAR_SKIPS:
            at, old = self.at + skip, self.old + skip
            probe = self.data[at : at + _AGREE_BYTES_MIN]
            if len(probe) < _AGREE_BYTES_MIN:
                return None
            if self.base.startswith(probe, old):
                return at, old
            found = self.base.find(probe, self.old, self.old + _NEAR_BYTES)
            if found >= 0:
                return at, found
        return None

    def _found_by_index(self) -> tuple[int, int] | None:
        """Look up windows of `data` as long as a block, so that an unchanged one contains the start of a block."""
        block = max(_BLOCK_BYTES_MIN, len(self.base) // _BLOCKS_MAX)
        if not self._index:
            self._index = _index(self.base, block)
        start = self.at
        while start < len(self.data) and self.lookups < _LOOKUPS_MAX:
            found = self._found_in_window(start, block)
            if found is not None:
                return found
            gap = start - self.at
            start += block if gap < _CLOSE_BYTES else max(block, gap // 4)
        return None

    def _found_in_window(self, start: int, block: int) -> tuple[int, int] | None:
        end = min(start + block, len(self.data))
        find, data = self._index.get, self.data
        agree_bytes = max(_AGREE_BYTES_MIN, min(block // 2, _AGREE_BYTES_MAX))
        for at in range(start, end):
            old = find(data[at : at + _KEY_BYTES])
            if old is not None and self._agrees(at, old, length=agree_bytes):
                self.lookups += at - start
                return at, old
        self.lookups += end - start
        return None

    def _agrees(self, at: int, old: int, *, length: int) -> bool:
        probe = self.data[at : at + length]
        return len(probe) == length and self.base.startswith(probe, old)

    def _grow_back(self, at: int, old: int) -> tuple[int, int]:
        """Move the start of a match back to where the documents really begin to agree."""
        step = _COMPARE_BYTES_MAX
        while step:
            reach = min(step, at - self.at, old)
            if reach and self.data[at - reach : at] == self.base[old - reach : old]:
                at, old = at - reach, old - reach
            else:
                step //= 2
        return at, old


def _agreement(data: bytes, at: int, base: bytes, old: int) -> int:
    """Return how many bytes agree from both offsets on: galloping up, then halving down."""
    length = 0
    step = _COMPARE_BYTES_FIRST
    limit = min(len(data) - at, len(base) - old)
    while length < limit:
        reach = min(step, limit - length)
        if data[at + length : at + length + reach] == base[old + length : old + length + reach]:
            length += reach
            step = min(step * 2, _COMPARE_BYTES_MAX)
            continue
        if reach == 1:
            break
        step = reach // 2
    return length


def _index(base: bytes, block: int) -> dict[bytes, int]:
    """Return where each block of `base` starts, by its first bytes; of equal ones the first."""
    index: dict[bytes, int] = {}
    for offset in range(0, max(len(base) - _KEY_BYTES, 0), block):
        index.setdefault(base[offset : offset + _KEY_BYTES], offset)
    return index

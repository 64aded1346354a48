"""Was a state lost that somebody saw stored? A deleted newest version leaves an older one, which is whole by itself.

Runs, the queue beside the state, and our copies know what was stored, and when by the store's own clock. What was
stored later than what is there now, and is not a version any more, was deleted.

Knows: what was seen. Knows nothing of where.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from interlock.instants import spelled


class Known(Struct, frozen=True, kw_only=True):
    """A state that was stored once.

    Attributes:
        lineage: Its lineage.
        serial: Its serial.
        digest: SHA-256 of its bytes, hex.
        at: When it was stored, by the store's clock; None where the store does not say.
        source: Who knows it, for people.
    """

    lineage: str
    serial: int
    digest: str
    at: datetime | None
    source: str

    def spell(self) -> str:
        """Say it in one clause."""
        when = f" at {spelled(self.at)}" if self.at is not None else ""
        return f"serial {self.serial} was stored{when} ({self.source})"


def find_newer(
    known: Iterable[Known], *, lineage: str, serial: int, at: datetime | None, digests: frozenset[str]
) -> Known | None:
    """Return the newest known state that is newer than what is stored and is not a version of it any more.

    Args:
        known: What was seen.
        lineage: Of what is stored now; empty for nothing.
        serial: Likewise; 0 for nothing.
        at: When that was stored, by the same clock; None where the store does not say, or nothing is stored.
        digests: SHA-256 of the bytes of all versions that are there, the current one among them.
    """
    newer = [one for one in known if one.digest not in digests and _is_newer(one, lineage, serial, at)]
    return max(newer, key=lambda one: (one.at.timestamp() if one.at is not None else 0.0, one.serial), default=None)


def _is_newer(one: Known, lineage: str, serial: int, at: datetime | None) -> bool:
    """By time where the store tells it: who puts an older state there on purpose writes it later.

    Stores tell whole seconds, and two writes may fall into one; then, and without times, the serial decides, which
    says something within one lineage alone.
    """
    if not lineage:
        return True
    if one.at is not None and at is not None and one.at != at:
        return one.at > at
    return one.lineage == lineage and one.serial > serial

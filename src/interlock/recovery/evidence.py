"""Dated facts about a holder, and what each can and cannot prove."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from msgspec import Struct


class Says(Enum):
    """What one piece of evidence says of a holder."""

    ALIVE = "alive"
    """The holder, or something that acts for it, is there. One such fact outweighs all others."""
    GONE = "gone"
    """Everything that could act for the holder is certainly gone."""
    SILENT = "silent"
    """Its lease, or its lock, stood still long enough. That permits recovery to begin and proves nothing."""
    NOTHING = "nothing"
    """The witness could not see: another host, no permission, an API that is down. Blindness is never evidence."""
    FACT = "fact"
    """Worth knowing, such as what became of the state since; it decides nothing about the holder."""


class Evidence(Struct, frozen=True, kw_only=True):
    """One dated fact.

    Attributes:
        witness: Who saw it: `process`, `heartbeat`, `ci`, `lock`, `state`, …
        says: What it says of the holder.
        text: One sentence for people, without secrets.
        source: Where it was seen: a path, a URL, a record.
        observed_at: When, by the observer's clock.
        how_to: For `NOTHING`: how to get the missing fact.
    """

    witness: str
    says: Says
    text: str
    source: str
    observed_at: datetime
    how_to: str = ""

"""What is seen of a state's queue."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from interlock.coordinator.view import View
from interlock.home.known import FORGOTTEN_AFTER, KnownState


class Queue(Struct, frozen=True, kw_only=True):
    """One state's queue, or why it could not be seen.

    Attributes:
        state: The name under which it queues.
        view: Its lock and what is stored of it; None when it could not be seen.
        address: Where a state elsewhere is; empty for our own.
        trouble: Why it could not be seen; empty otherwise.
    """

    state: str
    view: View | None
    address: str = ""
    trouble: str = ""


def is_listed(known: KnownState, now: datetime) -> bool:
    """Say whether the queue of a state elsewhere is looked at when all are listed."""
    return bool(known.type) and now - known.seen_at < FORGOTTEN_AFTER

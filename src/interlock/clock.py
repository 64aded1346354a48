"""The only place that reads the time.

Everything else receives a `Clock`, or better: an instant.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is, how long something took, and a way to wait."""

    def now(self) -> datetime:
        """Return the wall-clock instant, aware and in UTC. May jump; use it for people and records."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back. Only differences within one process mean anything."""
        ...

    async def sleep(self, wait_s: float) -> None:
        """Wait `wait_s` seconds (0.0 or less yields once)."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC)  # noqa: TID251 - this is the one place

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()  # noqa: TID251 - this is the one place

    async def sleep(self, wait_s: float) -> None:
        """See `Clock.sleep`."""
        import asyncio  # late: commands that only look never wait, and it takes a fifth of their time

        await asyncio.sleep(max(wait_s, 0.0))

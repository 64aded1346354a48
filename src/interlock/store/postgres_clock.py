"""The clock of the database, so that all servers of one store decide by the same. A hand.

Every answer of the database brings its time along. In between it goes on by this machine's monotonic clock; so a wrong,
or corrected, wall clock of a server changes no decision, and two servers differ by less than a question takes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from interlock.clock import Clock

QUICK_S = 0.02
"""An answer within this time is as good as any."""
STALE_S = 10.0
"""After this time a slow answer is better than an old one: two clocks part by less than a millisecond in it."""
BACK_S_MAX = 1.0
"""It does not go back by less than this: a correction. More is another clock, after a failover, which is followed."""


class DatabaseClock:
    """See `Clock`. Until the first answer it is the clock that it was given.

    Args:
        machine: This machine's clock.
    """

    def __init__(self, machine: Clock) -> None:
        self._machine = machine
        self._read: tuple[datetime, float] | None = None
        self._last: datetime | None = None

    def now(self) -> datetime:
        """See `Clock.now`."""
        if self._read is None:
            return self._machine.now()
        at, seen_s = self._read
        found = at + timedelta(seconds=self._machine.monotonic() - seen_s)
        if self._last is None or not timedelta() < self._last - found < timedelta(seconds=BACK_S_MAX):
            self._last = found
        return self._last

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._machine.monotonic()

    async def sleep(self, wait_s: float) -> None:
        """See `Clock.sleep`."""
        await self._machine.sleep(wait_s)

    def learn(self, at: datetime, *, asked_s: float) -> None:
        """Set it by an answer that has just come to a question of `asked_s` on the monotonic scale."""
        heard_s = self._machine.monotonic()
        is_stale = self._read is None or heard_s - self._read[1] > STALE_S
        if is_stale or heard_s - asked_s <= QUICK_S:
            self._read = (at.astimezone(UTC), (asked_s + heard_s) / 2)

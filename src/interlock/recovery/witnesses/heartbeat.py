"""Has the lease record moved, by our own clock?

Can prove: that the holder is alive, when it moved; that recovery may begin, when it stood still for a full lease.
Cannot prove: that the holder is gone. Wall clocks of two machines are never compared.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from interlock.lock import Holder
from interlock.recovery.evidence import Evidence, Says


class _Sighting(Struct):
    beat: int
    since_s: float


class Watch:
    """Remembers, for each grant, since when its heartbeat has stood still on our own monotonic clock."""

    def __init__(self) -> None:
        self._seen: dict[int, _Sighting] = {}

    def look(self, holder: Holder, *, monotonic_s: float) -> float:
        """Return for how many seconds we have watched this holder's heartbeat stand still."""
        seen = self._seen.get(holder.token)
        if seen is None or seen.beat != holder.lease.beat:
            self._seen[holder.token] = _Sighting(holder.lease.beat, monotonic_s)
            return 0.0
        return monotonic_s - seen.since_s


def testify(holder: Holder, still_s: float, *, source: str, now: datetime) -> Evidence:
    """Return what the watch allows to say.

    Args:
        holder: The holder watched.
        still_s: From `Watch.look`.
        source: The record that was watched.
        now: The observer's clock.
    """
    lease_s = holder.lease.lease_s
    silent = still_s >= lease_s
    text = (
        f"no heartbeat while we watched for {still_s:.1f}s, a whole lease of {lease_s:g}s"
        if silent
        else f"we have watched for {still_s:.1f}s of a lease of {lease_s:g}s"
    )
    says = Says.SILENT if silent else Says.NOTHING
    return Evidence(witness="heartbeat", says=says, text=text, source=source, observed_at=now)


def moved(*, source: str, now: datetime) -> Evidence:
    """Return what a heartbeat that moved while we watched proves."""
    text = "its heartbeat moved while we watched"
    return Evidence(witness="heartbeat", says=Says.ALIVE, text=text, source=source, observed_at=now)

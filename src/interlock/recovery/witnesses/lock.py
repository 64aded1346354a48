"""Has Terraform's own lock stood still while we watched?

Can prove: that the lock is the same one as before we looked for its holder, so what was found about the holder is about
this lock. That permits recovery to begin.
Cannot prove: that the holder is gone. Terraform writes its lock once and never touches it again, so the lock of a run
that works and that of a run that died look alike, however long one watches.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from interlock.existing import TerraformLock
from interlock.recovery.evidence import Evidence, Says


def testify(lock: TerraformLock, watched_s: float, *, window_s: float, now: datetime) -> Evidence:
    """Return what the watch allows to say.

    Args:
        lock: The lock, which was the same each time it was read.
        watched_s: For how long it was watched, by our own monotonic clock.
        window_s: For how long it must be.
        now: The observer's clock.
    """
    if watched_s < window_s:
        text = f"the lock was watched for {watched_s:.1f}s of {window_s:g}s"
        return _say(Says.NOTHING, text, lock, now, "watch for the whole window")
    return _say(Says.SILENT, f"the lock stood still while we watched for {watched_s:.1f}s", lock, now)


def describe(locks: Sequence[TerraformLock], mechanisms: Sequence[str], *, now: datetime) -> list[Evidence]:
    """Return what is odd about the locks together: half a lock, two different ones, one that cannot be read."""
    evidence = [
        _say(Says.FACT, f"{lock.place} holds a lock that cannot be read ({lock.unreadable})", lock, now)
        for lock in locks
        if lock.unreadable
    ]
    held = {lock.mechanism for lock in locks}
    for mechanism in mechanisms:
        if locks and mechanism not in held:
            text = f"it is locked in {', '.join(sorted(held))} but not in {mechanism}: half a lock, left by a crash"
            evidence.append(_say(Says.FACT, text, locks[0], now))
    if len({lock.id for lock in locks}) > 1:
        text = "its mechanisms name different locks: " + ", ".join(f"{lock.id} in {lock.mechanism}" for lock in locks)
        evidence.append(_say(Says.FACT, text, locks[0], now))
    return evidence


def _say(says: Says, text: str, lock: TerraformLock, now: datetime, how_to: str = "") -> Evidence:
    return Evidence(witness="lock", says=says, text=text, source=lock.place, observed_at=now, how_to=how_to)

"""Renews the lease of one run, and says at once when it is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from interlock.clock import Clock
from interlock.errors import InterlockError, LeaseLost
from interlock.run.entries import NoteEntry
from interlock.run.surroundings import Tell
from interlock.store import StoreGone


def _nobody_minds(_error: InterlockError) -> None:
    """Go on."""


async def keep_alive(
    renew: Callable[[], Awaitable[object]],
    *,
    every_s: float,
    clock: Clock,
    lost: Callable[[LeaseLost], None],
    tell: Tell,
    away_after_s: float | None = None,
    away: Callable[[InterlockError], None] = _nobody_minds,
) -> None:
    """Renew every `every_s` seconds until cancelled or until the lease is lost.

    Whatever else fails is tried again: silence alone never breaks a lock, so the run goes on. Only the store's own word
    that the grant is no longer current ends it, or that the store with the grant in it was removed: others find another
    store there, or none, and may be granted the same state.

    Args:
        renew: Renews the lease.
        every_s: Seconds between two renewals.
        clock: For the pauses.
        lost: Told that the lease is lost.
        tell: Told when renewing begins to fail.
        away_after_s: Seconds without a renewal after which `away` is told, once; None for never.
        away: Told why it fails; heartbeats go on all the same.
    """
    failing = False
    renewed_s: float | None = clock.monotonic()
    while True:
        await clock.sleep(every_s)
        try:
            await renew()
        except LeaseLost as error:
            lost(error)
            return
        except StoreGone as error:
            lost(LeaseLost("the lease was lost with its store", why=f"{error.what}: {error.why}", fix=error.fix))
            return
        except InterlockError as error:
            if not failing:
                tell(NoteEntry(text=f"heartbeat failed, trying again: {error.what}"))
            failing = True
            if away_after_s is not None and renewed_s is not None and clock.monotonic() - renewed_s >= away_after_s:
                renewed_s = None
                away(error)
        else:
            failing, renewed_s = False, clock.monotonic()

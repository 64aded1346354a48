"""One ticket's wait for its grant: look, show signs of life, sleep until something changes. A hand: it waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from interlock.clock import Clock
from interlock.coordinator.interface import OnChange
from interlock.coordinator.lookout import OUTAGE_PAUSE_S, Lookout, Stored, Watcher
from interlock.coordinator.refusals import called_off, lease_lost, timed_out
from interlock.coordinator.view import Standing, standing_of
from interlock.errors import BackendUnavailable
from interlock.lock import Grant, Ticket, Waiter, holder_of, waiter_of
from interlock.lock.ticket import NOBODY_SAID, Attempt

OUTAGE_S_MAX = 300.0
"""How long a waiter puts up with a store that does not answer: a restart or a failover, not more."""
SIGNS_PER_PATIENCE = 4
"""Signs of life that a waiter shows within its patience; it is doubted after half of it, so one may get lost."""


class Wait:
    """See `Coordinator.await_grant`.

    Args:
        state: The state.
        ticket: The ticket that waits.
        lookout: What this process knows of the records.
        clock: For the time limit and the signs of life.
        show_signs: Tells the lock that everybody who waits for this state in this process still does.
        timeout_s: Seconds to wait at most; None for no limit.
        on_change: Told each standing that a person would notice.
        attempt: The attempt that waits. When the lock counts on it no more (this process was stopped, and another
            attempt of the ticket came and went), it must not take a grant for its own.
    """

    def __init__(  # noqa: PLR0913 - whose wait, with what, and for how long
        self,
        state: str,
        ticket: Ticket,
        *,
        lookout: Lookout,
        clock: Clock,
        show_signs: Callable[[], Awaitable[object]],
        timeout_s: float | None,
        on_change: OnChange | None,
        attempt: Attempt,
    ) -> None:
        self._state, self._ticket = state, ticket
        self._lookout, self._clock, self._show_signs = lookout, clock, show_signs
        self._timeout_s = float("inf") if timeout_s is None else timeout_s
        self._until_s = clock.monotonic() + self._timeout_s
        self._on_change = on_change
        self._attempt = attempt
        self._shown: tuple[object, ...] | None = None
        self._away_since_s: float | None = None

    async def for_grant(self) -> Grant:
        """Return the grant when it is made. Raises as `Coordinator.await_grant`."""
        with self._lookout.watched(self._state, self._ticket) as watcher:
            while True:
                try:
                    standing = self._tell(await self._look())
                    if standing.token is not None:
                        return Grant(ticket=self._ticket, token=standing.token)
                    await self._stay(standing, watcher)
                    self._away_since_s = None
                except BackendUnavailable:
                    if self._is_away_too_long():
                        raise
                    await self._clock.sleep(OUTAGE_PAUSE_S)

    async def _look(self) -> Stored:
        """Return the record: as this process knows it while the ticket waits in it, else read anew."""
        known = self._lookout.known(self._state)
        if known is not None and waiter_of(known.record.lock, ticket=self._ticket) is not None:
            return known
        return await self._lookout.load(self._state)

    def _tell(self, stored: Stored) -> Standing:
        lock = stored.record.lock
        standing = standing_of(self._state, lock, self._ticket)
        shape = standing.shape()
        if shape != self._shown and self._on_change is not None:
            self._on_change(standing)
        self._shown = shape
        if not standing.position and standing.token is None:
            raise lease_lost(self._state, lock, ticket=self._ticket)
        party = standing.waiter or holder_of(lock, ticket=self._ticket)
        if party is not None and self._attempt not in party.attempts and NOBODY_SAID not in party.attempts:
            raise called_off(self._state, self._ticket)
        if standing.position and self._clock.monotonic() >= self._until_s:
            raise timed_out(self._state, lock, self._ticket, standing.position, self._timeout_s)
        return standing

    async def _stay(self, standing: Standing, watcher: Watcher) -> None:
        """Show a sign of life if one is due, else wait for a change, the next sign or the end of the wait."""
        waiter = standing.waiter
        if waiter is None:
            return
        now_s = self._clock.monotonic()
        if watcher.signed_s == float("-inf"):
            watcher.signed_s = now_s - self._silent_s(waiter)
        due_s = watcher.signed_s + waiter.patience_s / SIGNS_PER_PATIENCE
        if now_s < due_s and waiter.doubted_at is None:
            await watcher.wait_until(min(due_s, self._until_s))
            return
        await self._show_signs()

    def _silent_s(self, waiter: Waiter) -> float:
        """Return the seconds since the ticket spoke, by whatever clock; its whole patience if that cannot be."""
        silent_s = (self._clock.now() - waiter.seen_at).total_seconds()
        return silent_s if silent_s >= 0.0 else waiter.patience_s

    def _is_away_too_long(self) -> bool:
        now_s = self._clock.monotonic()
        self._away_since_s = now_s if self._away_since_s is None else self._away_since_s
        return now_s - self._away_since_s >= OUTAGE_S_MAX

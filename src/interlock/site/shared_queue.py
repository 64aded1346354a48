"""A queue that machines share through somebody else's service: looked at more often when it matters, by one clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.clock import Clock
from interlock.coordinator import Standing
from interlock.coordinator.interface import EventOf, OnChange
from interlock.coordinator.local import LocalCoordinator
from interlock.coordinator.telling import TellingCoordinator
from interlock.ids import Ids
from interlock.lock import Decision, Event, Grant, Priority, Requested
from interlock.lock.belief import latest
from interlock.rights import Right
from interlock.store import RecordStore
from interlock.store.polling import NearPolling

if TYPE_CHECKING:
    from interlock.home.interface import Home


class AttentiveCoordinator(LocalCoordinator):
    """A coordinator that looks at its store more often while its one waiter is the next to be served.

    Args:
        store: Where the records are.
        clock: See `LocalCoordinator`.
        ids: See `LocalCoordinator`.
        polling: The store's pace.
        first_token: See `LocalCoordinator`.
        check_may: See `interlock.home.interface.Home.check_may`.
    """

    def __init__(
        self,
        store: RecordStore,
        clock: Clock,
        ids: Ids,
        *,
        polling: NearPolling,
        first_token: Callable[[], int],
        check_may: Callable[[Right, str], Awaitable[None]],
    ) -> None:
        super().__init__(store, clock, ids, first_token=first_token)
        self._polling = polling
        self._check_may = check_may

    async def apply_event(self, state: str, event: Event) -> Decision:
        """See `Coordinator.apply_event`. Who may not run on a state does not even queue for it."""
        if isinstance(event, Requested):
            await self._check_may(Right.APPLY if event.priority is Priority.APPLY else Right.PLAN, state)
        return await super().apply_event(state, event)

    async def apply_event_of(self, state: str, event_of: EventOf) -> Decision:
        """See `Coordinator.apply_event_of`. The event is known before it is checked who may tell it."""
        return await TellingCoordinator.apply_event_of(self, state, event_of)

    async def acquire(
        self, state: str, request: Requested, *, timeout_s: float | None, on_change: OnChange | None = None
    ) -> Grant:
        """See `Coordinator.acquire`."""

        def noticed(standing: Standing) -> None:
            self._polling.is_near = standing.position == 1
            if on_change is not None:
                on_change(standing)

        try:
            return await super().acquire(state, request, timeout_s=timeout_s, on_change=noticed)
        finally:
            self._polling.is_near = False


def bells_of(home: Home) -> Path:
    """Return where runs of one home tell each other of changes to queues that they share with other machines."""
    return home.runs.parent / "bells"


_BACK_S_MAX = 60.0
"""How far ahead of the newest answer an earlier one is still believed; AWS's own hosts differ by far less."""


class SharedClock:
    """A clock whose instants are those of AWS, so that machines whose clocks differ agree on who was silent how long.

    Args:
        server_time_s: What AWS's clock says, in seconds since 1970; None before its first answer.
        own: The machine's clock, for durations, and for instants until then.
    """

    def __init__(self, server_time_s: Callable[[], float | None], own: Clock) -> None:
        self._server_time_s = server_time_s
        self._own = own
        self._latest = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """See `Clock.now`. Goes back only from an instant that was wrong.

        AWS tells whole seconds, so each answer may seem a little late, and that must not turn the clock back. But one
        wrong answer (a proxy's, a double's) that lies far ahead must not stop the clock until that instant comes.
        """
        told_s = self._server_time_s()
        now = self._own.now() if told_s is None else datetime.fromtimestamp(told_s, UTC)
        if told_s is not None:
            now = self._latest = latest(self._latest, now, ahead_s=_BACK_S_MAX)
        return now

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._own.monotonic()

    async def sleep(self, wait_s: float) -> None:
        """See `Clock.sleep`."""
        await self._own.sleep(wait_s)

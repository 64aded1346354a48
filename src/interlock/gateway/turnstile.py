"""Lets requests through as the admission says: the one that waits for real.

A hand: it owns the event loop's timer and the futures of those who wait. It has no rules of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from interlock.clock import Clock
from interlock.gateway.admission import Admission, Ask, Finished, Full, Grant
from interlock.gateway.fairness import Entry

_COME_BACK_S = 1  # told at the end: another gateway may stand here by then


class Turnstile:
    """Turns an admission's decisions into waiting and going.

    Args:
        admission: Who may go.
        clock: Its monotonic time is the admission's time.
        want_token: Called when one more token would let somebody go.
    """

    def __init__(self, admission: Admission, clock: Clock, want_token: Callable[[], None]) -> None:
        self.admission = admission
        self._clock = clock
        self._want_token = want_token
        self._waiting: dict[Entry[Ask], asyncio.Future[Grant | int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def enter(self, ask: Ask) -> Grant | int | Full:
        """Wait for leave to send.

        Returns:
            The grant, which must be given to `leave`; or the seconds after which to come back; or why it may not wait.
        """
        if self._closed:  # nobody would wake it
            return _COME_BACK_S
        entry = self.admission.offer(ask)
        if isinstance(entry, Full):
            return entry
        future: asyncio.Future[Grant | int] = asyncio.get_running_loop().create_future()
        self._waiting[entry] = future
        self.pump()
        try:
            return await future
        except asyncio.CancelledError:
            self._abandon(entry, future)
            raise

    def leave(self, grant: Grant, finished: Finished) -> None:
        """A granted request ended; somebody else may go now."""
        self.admission.finish(grant, finished, self._clock.monotonic())
        self.pump()

    def pump(self) -> None:
        """Let through whoever may go now; call it whenever something changed."""
        if self._closed:
            return
        now_s = self._clock.monotonic()
        for grant in self.admission.grants(now_s):
            if not self._tell(grant.entry, grant):
                self.admission.finish(grant, Finished(sent=False, withdrawn=True), now_s)
        for entry, retry_after_s in self.admission.expire(now_s):
            self._tell(entry, retry_after_s)
        if self.admission.wants_token(now_s):
            self._want_token()
        self._wake_again(now_s)

    def close(self) -> None:
        """Send away everybody who waits."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for entry in list(self._waiting):
            self.admission.withdraw(entry)
            self._tell(entry, _COME_BACK_S)

    def _tell(self, entry: Entry[Ask], answer: Grant | int) -> bool:
        future = self._waiting.pop(entry, None)
        if future is None or future.done():
            return False
        future.set_result(answer)
        return True

    def _abandon(self, entry: Entry[Ask], future: asyncio.Future[Grant | int]) -> None:
        """The one who waited was cancelled: before its turn, or in the instant of it."""
        self._waiting.pop(entry, None)
        if not future.cancelled() and future.done() and isinstance(grant := future.result(), Grant):
            self.leave(grant, Finished(sent=False, withdrawn=True))
            return
        self.admission.withdraw(entry)

    def _wake_again(self, now_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at_s = self.admission.next_event_s(now_s)
        if at_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(at_s - now_s, 0.0), self.pump)

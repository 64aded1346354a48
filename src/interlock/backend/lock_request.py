"""One LOCK request of a plain Terraform, from its arrival until its connection is over. Pure.

Knows: the lock's events and standings, Terraform's lock document. Knows nothing of sockets, stores or clocks.
The server (`held_lock.py`) performs the steps that this returns, and the exhaustive search
(tests/simulation/lock_search.py) performs the very same steps against every order of arrivals, losses, repetitions and
crashes.

What it keeps:
- A connection that closed says nothing of what other connections were told. So a request calls off its own attempt,
  never its lock id: the same id may have come by another connection and been answered there.
- A client is granted only while it is there: while it asks, or while its connection is open.
- How long a request is held: see `hold_s`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from interlock.backend.locking import HOLD_S_MAX, RECONNECT_S, RETURN_S, ask, held, hold_s, patience_s
from interlock.backend.protocol import Held, Take, Taken
from interlock.coordinator.view import Standing
from interlock.lock import Disconnected, Lock, Requested, Stage


class Phase(Enum):
    """Where a LOCK request is."""

    ASKING = "asking"
    """It joins the queue, and will be answered or wait in it."""
    LISTENING = "listening"
    """It waits for its grant with an open connection."""
    ASKING_LAST = "asking-last"
    """It asks once more, and is answered whatever it hears."""
    ANSWERING = "answering"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Put this to the coordinator; go on with `stood`, or with `closed` when it fails."""

    request: Requested


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Wait for the grant for so long; go on with `granted`, `waited` or `closed`."""

    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Send this; go on with `closed` when not even its first byte could be sent."""

    outcome: Taken | Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Tell the lock that this attempt is over; nobody is left to be answered."""

    event: Disconnected


Step: TypeAlias = Ask | Listen | Reply | Tell


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """A LOCK request.

    Attributes:
        wish: What was asked for.
        who: Whose credentials came with it.
        attempt: Its own name; no other request has it, not even a copy of this one.
        returns: Its client asks again after it was told to wait; one that does not is remembered for a moment only.
        phase: Where it is.
        still_s: Seconds that it waits, and waits again while the queue moves.
        left_s: Seconds that it may still wait altogether.
    """

    wish: Take
    who: str
    attempt: str
    returns: bool = True
    phase: Phase = Phase.ASKING
    still_s: float = 0.0
    left_s: float = 0.0

    def begin(self, lock: Lock, *, now: datetime) -> tuple[LockRequest, Step]:
        """Return the first step, from the lock as it was last seen."""
        if self.wish.wait_s is None:
            still_s, left_s = hold_s(lock, self.wish.info.id, now=now), HOLD_S_MAX
        else:
            still_s = left_s = self.wish.wait_s
        if not still_s:
            return self._ask_last(lock, now)
        request = ask(self.wish.info, self.who, polls=False, attempt=self.attempt)
        return replace(self, still_s=still_s, left_s=left_s), Ask(request=request)

    def stood(self, standing: Standing, *, gone: bool) -> tuple[LockRequest, Step]:
        """Go on with where its ticket stands; `gone` says that the client has left."""
        if gone:
            return self.closed()
        if standing.ticket != self.wish.info.id:  # the id of a supervised run's own Terraform
            return replace(self, phase=Phase.ANSWERING), Reply(outcome=held(standing))
        if standing.stage is Stage.HOLDING:
            return self.granted()
        if self.phase is Phase.ASKING and standing.stage is Stage.WAITING:
            return self._listen()
        return replace(self, phase=Phase.ANSWERING), Reply(outcome=held(standing))

    def granted(self) -> tuple[LockRequest, Step]:
        """Go on after the grant was made, with the client still there."""
        return replace(self, phase=Phase.ANSWERING), Reply(outcome=Taken(info=self.wish.info))

    def waited(self, lock: Lock, *, now: datetime, moved: bool) -> tuple[LockRequest, Step]:
        """Go on after the time was up or the place was lost; `moved` says that the queue moved meanwhile."""
        if moved and self.left_s > 0:
            return self._listen()
        return self._ask_last(lock, now)

    def closed(self) -> tuple[LockRequest, Tell]:
        """Go on after the way back to the client is gone. Its place is kept for a retry, without a grant meanwhile."""
        event = Disconnected(ticket=self.wish.info.id, attempt=self.attempt, patience_s=RECONNECT_S)
        return replace(self, phase=Phase.OVER), Tell(event=event)

    def sent_away(self) -> tuple[LockRequest, Tell]:
        """Go on when the server ends: the client is told to come back, and its place is kept for that time.

        A grant that crossed this goes back: it was told to nobody.
        """
        event = Disconnected(ticket=self.wish.info.id, attempt=self.attempt, patience_s=RETURN_S)
        return replace(self, phase=Phase.OVER), Tell(event=event)

    def _listen(self) -> tuple[LockRequest, Step]:
        for_s = min(self.still_s, self.left_s)
        return replace(self, phase=Phase.LISTENING, left_s=self.left_s - for_s), Listen(for_s=for_s)

    def _ask_last(self, lock: Lock, now: datetime) -> tuple[LockRequest, Step]:
        patience = patience_s(lock, self.wish.info.id, now=now) if self.returns else RECONNECT_S
        request = ask(self.wish.info, self.who, polls=True, patience_s=patience, attempt=self.attempt)
        return replace(self, phase=Phase.ASKING_LAST), Ask(request=request)

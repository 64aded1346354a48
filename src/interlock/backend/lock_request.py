"""One LOCK request of a plain Terraform, from its arrival until its connection is over. Pure.

Knows: the lock's events and standings, Terraform's lock document. Knows nothing of sockets, stores or clocks.
The server (`asgi.py`) performs the steps that this returns, and the exhaustive search (tests/simulation/lock_search.py)
performs the very same steps against every order of arrivals, losses, repetitions and crashes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from interlock.backend.locking import RECONNECT_S, ask, held, patience_s
from interlock.backend.protocol import Held, Take, Taken
from interlock.coordinator.view import Standing
from interlock.lock import Event, Lock, Requested, Stage, Withdrawn


class Phase(Enum):
    """Where a LOCK request is."""

    ASKING = "asking"
    LISTENING = "listening"
    ASKING_AGAIN = "asking-again"
    LEAVING = "leaving"
    ANSWERING = "answering"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Put this to the coordinator; go on with `stood`, or with `failed`."""

    request: Requested


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Wait for the grant for so long; go on with `granted`, `timed_out` or `closed`."""

    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Send this; go on with `unsent` if nothing of it could be sent."""

    outcome: Taken | Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Tell the lock this; nobody is left to be answered. None: there is nothing to tell, but somebody left."""

    event: Event | None


Step: TypeAlias = Ask | Listen | Reply | Tell


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """A LOCK request.

    Attributes:
        wish: What was asked for.
        who: Whose credentials came with it.
        phase: Where it is.
    """

    wish: Take
    who: str
    phase: Phase = Phase.ASKING

    def begin(self, lock: Lock, *, now: datetime) -> tuple[LockRequest, Step]:
        """Return the first step."""
        if self.wish.wait_s:
            return self, Ask(request=ask(self.wish.info, self.who, polls=False))
        return replace(self, phase=Phase.ASKING_AGAIN), self._poll(lock, now)

    def stood(self, standing: Standing, *, gone: bool) -> tuple[LockRequest, Step]:
        """Go on with where its ticket stands; `gone` says that the client has left."""
        holds = standing.stage is Stage.HOLDING and standing.ticket == self.wish.info.id
        if self.phase is Phase.LEAVING:
            undo = Withdrawn(ticket=self.wish.info.id, or_release=True, reason=GONE) if holds else None
            return replace(self, phase=Phase.OVER), Tell(event=undo)
        if holds and gone:
            return self.closed()
        if holds:
            return replace(self, phase=Phase.ANSWERING), Reply(outcome=Taken(info=self.wish.info))
        if self.phase is Phase.ASKING and standing.stage is Stage.WAITING:
            return replace(self, phase=Phase.LISTENING), Listen(for_s=self.wish.wait_s)
        return replace(self, phase=Phase.ANSWERING), Reply(outcome=held(standing))

    def heard(self, lock: Lock, *, now: datetime) -> tuple[LockRequest, Step]:
        """Go on after listening: the grant was made, or the time is up, or the place is lost."""
        return replace(self, phase=Phase.ASKING_AGAIN), self._poll(lock, now)

    def closed(self) -> tuple[LockRequest, Step]:
        """Go on after the client left. Its place is kept for a retry, but it is never granted meanwhile."""
        request = ask(self.wish.info, self.who, polls=True, patience_s=RECONNECT_S)
        return replace(self, phase=Phase.LEAVING), Ask(request=request)

    def unsent(self) -> tuple[LockRequest, Step]:
        """Go on after the answer could not be sent."""
        undo = Withdrawn(ticket=self.wish.info.id, or_release=True, reason=GONE)
        return replace(self, phase=Phase.OVER), Tell(event=undo)

    def _poll(self, lock: Lock, now: datetime) -> Ask:
        patience = patience_s(lock, self.wish.info.id, now=now)
        return Ask(request=ask(self.wish.info, self.who, polls=True, patience_s=patience))


GONE = "the client was gone when its turn came"

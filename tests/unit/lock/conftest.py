from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from interlock.lock import NEW_LOCK, Decision, Event, Lock, Priority, Requested, decide
from interlock.lock.claim import WHOLE_STATE, Claim
from interlock.lock.invariants import assert_follows

T0 = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


class Scene:
    """A lock that is told events one after the other, each at a stated second, and checked after each."""

    def __init__(self) -> None:
        self.lock: Lock = NEW_LOCK

    def tell(self, event: Event, *, at_s: float = 0.0) -> Decision:
        decision = decide(self.lock, event, now=T0 + timedelta(seconds=at_s))
        assert_follows(self.lock, decision.lock)
        if decision.refused:
            assert decision.lock is self.lock, "a refused event must change nothing"
        self.lock = decision.lock
        return decision

    def ask(
        self,
        ticket: str,
        *,
        at_s: float = 0.0,
        priority: Priority = Priority.APPLY,
        claim: Claim = WHOLE_STATE,
        lock_id: str | None = None,
        queue: bool = True,
        attempt: str = "",
        held: str = "",
        through: str = "",
    ) -> Decision:
        event = Requested(
            ticket=ticket,
            run=f"run-{ticket}",
            who=f"{ticket}@host",
            claim=claim,
            priority=priority,
            lease_s=60.0,
            patience_s=40.0,
            lock_id=lock_id,
            queue=queue,
            attempt=attempt,
            held=held,
            through=through,
        )
        return self.tell(event, at_s=at_s)

    def holders(self) -> list[str]:
        return [holder.ticket for holder in self.lock.holders]

    def waiters(self) -> list[str]:
        return [waiter.ticket for waiter in self.lock.waiters]


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def queue_of() -> Callable[..., Scene]:
    """Build a scene in which the first ticket holds and the others wait in this order."""

    def build(*tickets: str) -> Scene:
        scene = Scene()
        for ticket in tickets:
            scene.ask(ticket)
        return scene

    return build

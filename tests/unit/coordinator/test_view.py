from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from interlock.coordinator.view import standing_of
from interlock.lock import NEW_LOCK, Lock, Released, Renewed, Requested, Stage, decide

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def lock_of(*requests: Requested) -> Lock:
    lock = NEW_LOCK
    for request in requests:
        lock = decide(lock, request, now=NOW).lock
    return lock


def test_a_waiter_sees_who_holds_and_who_is_ahead(ask: Callable[..., Requested]) -> None:
    standing = standing_of("prod", lock_of(ask("a"), ask("b"), ask("c")), "c")
    assert (standing.stage, standing.position, standing.token) == (Stage.WAITING, 2, None)
    assert [waiter.who for waiter in standing.ahead] == ["b@host"]
    assert [holder.who for holder in standing.holders] == ["a@host"]


def test_a_finished_ticket_sees_how_it_ended(ask: Callable[..., Requested]) -> None:
    lock = decide(lock_of(ask("a")), Released(ticket="a"), now=NOW).lock
    standing = standing_of("prod", lock, "a")
    assert standing.stage is Stage.RELEASED
    assert standing.departure is not None
    assert standing.departure.token == 1


def test_a_heartbeat_does_not_change_the_shape(ask: Callable[..., Requested]) -> None:
    lock = lock_of(ask("a"), ask("b"))
    beaten = decide(lock, Renewed(ticket="a", token=1), now=NOW).lock
    assert standing_of("prod", lock, "b").shape() == standing_of("prod", beaten, "b").shape()

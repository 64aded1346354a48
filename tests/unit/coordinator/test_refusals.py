from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from interlock.coordinator.refusals import PlaceLost, lease_lost, refusal, timed_out
from interlock.errors import InterlockError, LeaseLost, LockHeld, Superseded, UsageError, WaitTimeout
from interlock.lock import NEW_LOCK, Broken, Lock, Paused, Refuse, RefuseReason, Requested, Withdrawn, decide

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.fixture
def busy(ask: Callable[..., Requested]) -> Lock:
    lock = NEW_LOCK
    for ticket in ("a", "b", "c", "d", "e"):
        lock = decide(lock, ask(ticket), now=NOW).lock
    return decide(lock, Paused(by="anna", reason="maintenance"), now=NOW).lock


@pytest.mark.parametrize(
    ("reason", "family"),
    [
        (RefuseReason.HELD, WaitTimeout),
        (RefuseReason.PAUSED, WaitTimeout),
        (RefuseReason.QUEUE_FULL, WaitTimeout),
        (RefuseReason.ENDED, LeaseLost),
        (RefuseReason.NOT_HOLDING, LeaseLost),
        (RefuseReason.STALE_TOKEN, LeaseLost),
        (RefuseReason.NOT_WAITING, UsageError),
        (RefuseReason.OTHER_LOCK_ID, LockHeld),
    ],
)
def test_each_refusal_has_its_error_in_three_parts(
    busy: Lock, reason: RefuseReason, family: type[InterlockError]
) -> None:
    error = refusal("prod", busy, Refuse(ticket="x", reason=reason, blockers=("a", "b")))
    assert type(error) is family
    assert '"prod"' in error.what
    assert error.why
    assert error.fix


def test_those_in_the_way_are_named_up_to_a_bound(busy: Lock) -> None:
    error = refusal("prod", busy, Refuse(ticket="x", reason=RefuseReason.HELD, blockers=("a", "b", "c", "d", "e")))
    assert error.why.startswith("held by a@host, run run-a since 2026-11-24 08:00:00Z; b@host waits in front")
    assert error.why.endswith("and 2 more")


def test_a_fenced_run_learns_who_recovered_it_and_who_holds_now(ask: Callable[..., Requested]) -> None:
    lock = decide(NEW_LOCK, ask("a"), now=NOW).lock
    lock = decide(lock, ask("b"), now=NOW).lock
    lock = decide(lock, Broken(ticket="a", token=1, by="anna", reason="process gone"), now=NOW).lock
    ended = "the lease (token 1) was recovered at 2026-11-24 08:00:00Z by anna: process gone"
    why = f"{ended}; token 3 holds it now (b@host)"
    for error in (lease_lost("prod", lock, ticket="a"), lease_lost("prod", lock, token=1)):
        assert isinstance(error, LeaseLost)
        assert error.why == why


def test_a_withdrawn_waiter_is_superseded_and_a_silent_one_lost_its_place(busy: Lock) -> None:
    lock = decide(busy, Withdrawn(ticket="b", by="anna", reason="newer commit"), now=NOW).lock
    error = lease_lost("prod", lock, ticket="b")
    assert type(error) is Superseded
    assert "newer commit" in error.why
    assert issubclass(PlaceLost, Superseded)


def test_a_timeout_names_the_holder_and_the_freeze(busy: Lock) -> None:
    error = timed_out("prod", busy, "t", 2, 600.0)
    assert error.what == 'gave up waiting for state "prod" after 600 s at position 2'
    assert "a@host" in error.why
    assert "maintenance" in error.why


def test_who_was_held_back_hears_by_what_and_not_of_a_holder_who_is_not_there() -> None:
    asked = Requested(
        ticket="t", who="anna", lease_s=60.0, patience_s=40.0, held="policy nights: outside of its windows"
    )
    held = decide(NEW_LOCK, asked, now=NOW).lock
    assert timed_out("prod", held, "t", 1, 3.0).why == "held back: policy nights: outside of its windows"

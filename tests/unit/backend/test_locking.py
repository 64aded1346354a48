from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from interlock.backend.locking import PATIENCE_S, PLAIN_LEASE_S, ask, held, hold_s, patience_s
from interlock.backend.protocol import describe
from interlock.coordinator import standing_of
from interlock.lock import NEW_LOCK, Event, Lock, Paused, Released, Requested, decide
from interlock.terraform.lockinfo import LockInfo

T0 = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
POLLS = (0, 1, 3, 7, 15, 31, 47, 63, 79, 95)  # docs/facts/terraform-http.md#http-14


def _told(*events: Event, lock: Lock = NEW_LOCK, at_s: float = 0) -> Lock:
    for event in events:
        lock = decide(lock, event, now=T0 + timedelta(seconds=at_s)).lock
    return lock


def _info(name: str) -> LockInfo:
    return LockInfo(id=name, operation="OperationTypeApply", who=f"{name}@host", version="1.11.4")


def _run() -> Requested:
    return Requested(ticket="run-1", run="run-1", who="bob", info="interlock apply", lease_s=60, patience_s=40)


def test_the_ticket_of_a_plain_client_is_its_lock_id() -> None:
    request = ask(_info("a"), "token", polls=True, attempt="1")
    assert (request.ticket, request.lock_id, request.who, request.lease_s) == ("a", "a", "a@host", PLAIN_LEASE_S)


def test_the_patience_covers_the_next_poll_every_time() -> None:
    lock = _told(_run())
    for now_s, next_s in pairwise(POLLS):
        patience = patience_s(lock, "a", now=T0 + timedelta(seconds=now_s))
        assert next_s - now_s < patience <= PATIENCE_S
        lock = _told(ask(_info("a"), "", polls=True, attempt="1", patience_s=patience), lock=lock, at_s=now_s)
        assert lock.waiters[0].ticket == "a"
        assert lock.waiters[0].joined_at == T0, "it kept its place"


def test_a_client_without_a_time_limit_is_answered_in_seconds_and_one_that_comes_back_is_held_longer() -> None:
    lock = _told(_run(), ask(_info("a"), "", polls=True, attempt="1"))
    held_s = [hold_s(lock, "a", now=T0 + timedelta(seconds=now_s)) for now_s in (-60, 0, 6, 20, 3600)]
    assert held_s == [5, 5, 12, 40, 50]
    assert hold_s(lock, "new", now=T0) == 5


def test_a_client_that_never_asks_again_is_soon_passed_over() -> None:
    assert patience_s(NEW_LOCK, "a", now=T0) <= 8


def test_the_holder_is_described_with_its_run() -> None:
    lock = _told(_run(), ask(_info("a"), "", polls=True, attempt="1"))
    shown = held(standing_of("prod", lock, "a"))
    assert (shown.holder.id, shown.holder.who, shown.holder.operation) == ("run-1", "bob", "interlock apply")
    assert (shown.holder.info, shown.holder.path, shown.position, shown.since) == ("run run-1", "prod", 1, T0)
    assert shown.holder.created == "2026-11-24T08:00:00Z"


@pytest.mark.promise("P2")
def test_a_message_never_calls_a_waiter_a_holder() -> None:
    lock = _told(
        _run(),
        ask(_info("a"), "", polls=True, attempt="1"),
        ask(_info("b"), "", polls=True, attempt="1"),
        Released(ticket="run-1"),
    )
    paused = _told(Paused(by="ann", reason="audit"), lock=lock)
    shown = held(standing_of("prod", lock, "a"))
    assert (shown.holder.id, shown.holder.who, shown.is_free) == ("nobody-holds-it", "", True), (
        "a waiter is not a holder"
    )
    assert describe(shown) == "it is not locked, you are number 1 in the queue"
    assert describe(held(standing_of("prod", paused, "b"))).endswith("number 2 in the queue, paused by ann: audit")
    assert describe(held(standing_of("prod", lock, "b"))).endswith("number 2 in the queue, a@host is next")


@pytest.mark.parametrize("also_held", [True, False])
def test_a_pauses_is_said(also_held: bool) -> None:
    lock = _told(
        *([_run()] if also_held else []), Paused(by="ann", reason="audit"), ask(_info("a"), "", polls=True, attempt="1")
    )
    shown = held(standing_of("prod", lock, "a"))
    assert shown.why == "paused by ann: audit"
    assert shown.holder.id

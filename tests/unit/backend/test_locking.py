from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from interlock.backend.locking import PATIENCE_S, PLAIN_LEASE_S, ask, held, patience_s
from interlock.coordinator import standing_of
from interlock.lock import NEW_LOCK, Event, Frozen, Lock, Released, Requested, decide
from interlock.terraform.lockinfo import LockInfo

T0 = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
POLLS = (0, 1, 3, 7, 15, 31, 47, 63, 79, 95)  # facts/terraform-protocols.md section 1.3


def _told(*events: Event, lock: Lock = NEW_LOCK, at_s: float = 0) -> Lock:
    for event in events:
        lock = decide(lock, event, now=T0 + timedelta(seconds=at_s)).lock
    return lock


def _info(name: str) -> LockInfo:
    return LockInfo(id=name, operation="OperationTypeApply", who=f"{name}@host", version="1.11.4")


def _run() -> Requested:
    return Requested(ticket="run-1", run="run-1", who="bob", info="interlock apply", lease_s=60, patience_s=40)


def test_the_ticket_of_a_plain_client_is_its_lock_id() -> None:
    request = ask(_info("a"), "token", polls=True)
    assert (request.ticket, request.lock_id, request.who, request.lease_s) == ("a", "a", "a@host", PLAIN_LEASE_S)


def test_the_patience_covers_the_next_poll_every_time() -> None:
    lock = _told(_run())
    for now_s, next_s in pairwise(POLLS):
        patience = patience_s(lock, "a", now=T0 + timedelta(seconds=now_s))
        assert next_s - now_s < patience <= PATIENCE_S
        lock = _told(ask(_info("a"), "", polls=True, patience_s=patience), lock=lock, at_s=now_s)
        assert lock.waiters[0].ticket == "a"
        assert lock.waiters[0].joined_at == T0, "it kept its place"


def test_a_client_that_never_asks_again_is_soon_passed_over() -> None:
    assert patience_s(NEW_LOCK, "a", now=T0) <= 8


def test_the_holder_is_described_with_its_run() -> None:
    lock = _told(_run(), ask(_info("a"), "", polls=True))
    shown = held(standing_of("prod", lock, "a"))
    assert (shown.holder.id, shown.holder.who, shown.holder.operation) == ("run-1", "bob", "interlock apply")
    assert (shown.holder.info, shown.holder.path, shown.position, shown.since) == ("run run-1", "prod", 1, T0)
    assert shown.holder.created == "2026-11-24T08:00:00Z"


def test_one_that_waits_in_front_is_named_when_nobody_holds() -> None:
    lock = _told(_run(), ask(_info("a"), "", polls=True), ask(_info("b"), "", polls=True), Released(ticket="run-1"))
    shown = held(standing_of("prod", lock, "b"))
    assert (shown.holder.id, shown.position, shown.why) == ("a", 2, "its turn is next")


@pytest.mark.parametrize("also_held", [True, False])
def test_a_freeze_is_said(also_held: bool) -> None:
    lock = _told(*([_run()] if also_held else []), Frozen(by="ann", reason="audit"), ask(_info("a"), "", polls=True))
    shown = held(standing_of("prod", lock, "a"))
    assert shown.why == "frozen by ann: audit"
    assert shown.holder.id

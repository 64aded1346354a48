from __future__ import annotations

from datetime import UTC, datetime

import pytest

from interlock.backend.lock_request import Ask, Listen, LockRequest, Phase, Tell
from interlock.backend.locking import HOLD_S_MAX, HOLD_S_MIN
from interlock.backend.protocol import Take
from interlock.coordinator import standing_of
from interlock.lock import NEW_LOCK, Disconnected, Requested, decide
from interlock.terraform.lockinfo import LockInfo

NOW = datetime(2026, 11, 24, tzinfo=UTC)
HELD = decide(NEW_LOCK, Requested(ticket="x", who="x", lease_s=60, patience_s=40), now=NOW).lock


def _listening(wait_s: float | None) -> tuple[LockRequest, Listen]:
    request, step = LockRequest(wish=Take(info=LockInfo(id="a"), wait_s=wait_s), who="", attempt="1").begin(
        HELD, now=NOW
    )
    assert isinstance(step, Ask)
    lock = decide(HELD, step.request, now=NOW).lock
    request, listen = request.stood(standing_of("s", lock, "a"), gone=False)
    assert isinstance(listen, Listen)
    return request, listen


def test_a_request_listens_on_while_the_queue_moves_but_never_longer_than_its_bound() -> None:
    request, step = _listening(None)
    held_s = step.for_s
    assert held_s == HOLD_S_MIN
    for _ in range(100):
        request, after = request.waited(HELD, now=NOW, moved=True)
        if not isinstance(after, Listen):
            break
        held_s += after.for_s
    assert (request.phase, held_s) == (Phase.ASKING_LAST, HOLD_S_MAX)


@pytest.mark.parametrize("wait_s", [None, 60.0])
def test_a_request_asks_a_last_time_when_nothing_moved(wait_s: float | None) -> None:
    request, _ = _listening(wait_s)
    _, step = request.waited(HELD, now=NOW, moved=False)
    assert isinstance(step, Ask)
    assert step.request.polls


@pytest.mark.promise("P4")
def test_a_request_calls_off_its_own_attempt_and_nothing_else() -> None:
    request, _ = _listening(None)
    _, step = request.closed()
    assert isinstance(step, Tell)
    assert step.event == Disconnected(ticket="a", attempt="1", patience_s=step.event.patience_s)

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from interlock.lock.claim import WHOLE_STATE
from interlock.lock.ticket import (
    OVERTAKEN_AT_MOST,
    Priority,
    Waiter,
    is_doubtful,
    is_silent,
    service_key,
    silent_s,
    turn_of,
)

T0 = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def waiter(arrival: int, priority: Priority = Priority.APPLY, *, doubted_s: float | None = None) -> Waiter:
    return Waiter(
        ticket=f"t{arrival}",
        run="",
        who="",
        info="",
        claim=WHOLE_STATE,
        priority=priority,
        lock_id=None,
        lease_s=60,
        patience_s=40,
        arrival=arrival,
        turn=turn_of(arrival, priority),
        joined_at=T0,
        seen_at=T0,
        doubted_at=None if doubted_s is None else T0 + timedelta(seconds=doubted_s),
    )


@pytest.mark.promise("P2")
def test_inside_a_class_the_earlier_arrival_is_served_first() -> None:
    for priority in Priority:
        assert service_key(waiter(7, priority)) < service_key(waiter(8, priority))


def test_an_apply_passes_a_plan_that_came_shortly_before() -> None:
    assert service_key(waiter(9, Priority.APPLY)) < service_key(waiter(8, Priority.PLAN))


@pytest.mark.promise("P2")
def test_no_class_is_overtaken_by_more_later_arrivals_than_its_allowance() -> None:
    for priority, allowance in OVERTAKEN_AT_MOST.items():
        passed = [n for n in range(101, 200) if service_key(waiter(n)) < service_key(waiter(100, priority))]
        assert len(passed) == allowance


def test_a_clock_that_went_back_makes_nobody_silent() -> None:
    assert silent_s(waiter(1), T0 - timedelta(hours=1)) == 0.0


def test_a_waiter_is_doubtful_after_half_its_patience() -> None:
    assert not is_doubtful(waiter(1), T0 + timedelta(seconds=19.9))
    assert is_doubtful(waiter(1), T0 + timedelta(seconds=20))


def test_a_waiter_is_silent_only_after_it_was_doubted_for_half_its_patience() -> None:
    assert not is_silent(waiter(1), T0 + timedelta(days=1))
    assert not is_silent(waiter(1, doubted_s=20), T0 + timedelta(seconds=39))
    assert is_silent(waiter(1, doubted_s=20), T0 + timedelta(seconds=40))
    assert not is_silent(waiter(1, doubted_s=1000), T0 + timedelta(seconds=1019))

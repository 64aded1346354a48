from __future__ import annotations

import math
from collections import Counter

import pytest

from interlock.gateway.budget import Budget
from interlock.gateway.headers import Heard


def spend(budget: Budget, count: int, now_s: float) -> int:
    done = 0
    for _ in range(count):
        if not budget.fits(1, now_s):
            break
        budget.settle(budget.take(1, now_s), now_s)
        done += 1
    return done


def test_a_place_is_free_one_window_after_the_answer_not_after_the_request() -> None:
    budget = Budget("b", allowed=1, window_s=10.0, now_s=0.0)
    place = budget.take(1, 0.0)
    assert not budget.fits(1, 10.0)
    budget.settle(place, 4.0)
    assert not budget.fits(1, 13.9)
    assert not budget.fits(1, 14.0)  # the API's clock may be slower than ours
    assert budget.fits(1, 14.01)


def test_a_request_that_never_left_gives_its_place_back_at_once() -> None:
    budget = Budget("b", allowed=30, window_s=60.0, now_s=0.0)
    place = budget.take(1, 0.0)
    budget.unsent(place)
    assert budget.occupied(0.0) == 0


def test_the_burst_is_small_and_the_rest_is_paced() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    assert spend(budget, 300, 0.0) == 20
    assert spend(budget, 300, 1.0) == 5


def test_all_of_the_allowance_can_be_used_in_one_window() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    used = sum(spend(budget, 300, tenth / 10) for tenth in range(600))
    assert used == 300
    again = sum(spend(budget, 300, 60 + tenth / 10) for tenth in range(600))
    assert again >= 297


def test_without_a_known_limit_everything_fits_and_is_counted() -> None:
    budget = Budget("b", allowed=None, window_s=60.0, now_s=0.0)
    assert budget.room(0.0) == math.inf
    assert spend(budget, 1000, 0.0) == 1000
    assert budget.occupied(1.0) == 1000


def test_a_lower_announced_limit_is_believed_at_once() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    place = budget.take(1, 0.0)
    budget.learn(Heard(count=1, allowed=150, reset_s=60.0), place, 0.1)
    assert budget.allowed == 150


def test_learning_never_exceeds_the_users_own_limit() -> None:
    budget = Budget("b", allowed=100, window_s=60.0, now_s=0.0, ceiling=100)
    budget.learn(Heard(count=1, allowed=300, reset_s=60.0), budget.take(1, 0.0), 0.1)
    assert budget.allowed == 100


def test_what_the_api_counts_beyond_ours_was_taken_by_somebody_else_until_the_reset() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    place = budget.take(1, 0.0)
    budget.learn(Heard(count=291, allowed=300, reset_s=30.0), place, 0.1)
    budget.settle(place, 0.1)
    assert budget.occupied(0.2) == 291
    assert budget.occupied(30.2) == 1


def test_our_own_later_requests_are_not_taken_for_somebody_elses() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    first = budget.take(1, 0.0)
    others = [budget.take(1, 0.0) for _ in range(5)]
    budget.learn(Heard(count=6, allowed=300, reset_s=60.0), first, 0.1)
    assert budget.occupied(0.1) == 6
    for each in others:
        budget.settle(each, 0.2)


def refuse(budget: Budget, pause_s: float | None, now_s: float) -> None:
    budget.refuse(budget.take(1, now_s), pause_s, now_s)


def pass_one(budget: Budget, now_s: float) -> None:
    budget.accepted(budget.take(1, now_s), now_s)


def test_a_refusal_closes_the_budget_for_everybody_until_one_probe_has_passed() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    refuse(budget, 7.0, 0.0)
    assert budget.wait_s(1, 0.0) == pytest.approx(7.0)
    assert budget.blocked_s(3.0) == pytest.approx(4.0)
    probe = budget.take(1, 7.0)
    assert not budget.fits(1, 7.1)
    budget.accepted(probe, 7.2)
    assert budget.wait_s(1, 7.2) < 6.0


def test_what_was_refused_occupies_no_place() -> None:
    budget = Budget("b", allowed=10, window_s=60.0, now_s=0.0)
    for at_s in (0.0, 10.0, 20.0):
        refuse(budget, 1.0, at_s)
    assert budget.occupied(21.0) == 0


def test_a_retry_after_of_a_day_closes_it_for_a_minute() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    refuse(budget, 86400.0, 0.0)
    assert budget.blocked_s(0.0) == 60.0


def drive(budget: Budget, limit: int, begin_s: int, end_s: int) -> int:
    """Send as much as the budget lets through to an API that allows so many in each minute; return the refusals."""
    counts: Counter[int] = Counter()
    refused = 0
    for quarter in range(begin_s * 4, end_s * 4):
        at_s = quarter / 4
        if not budget.fits(1, at_s):
            continue
        minute = int(at_s // 60)
        if counts[minute] < limit:
            counts[minute] += 1
            pass_one(budget, at_s)
        else:
            refused += 1
            refuse(budget, math.ceil((minute + 1) * 60.0 - at_s), at_s)
    return refused


def learned() -> Budget:
    """Return a budget that was refused after the same number in two windows."""
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    assert drive(budget, 30, 20, 122) == 2
    return budget


def test_the_count_of_two_refusals_is_taken_for_the_limit_which_grows_when_it_passes_quietly() -> None:
    budget = learned()
    assert budget.allowed == 30
    assert drive(budget, 300, 122, 400) == 0
    assert budget.allowed > 40


def test_one_refusal_teaches_no_limit() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    for second in range(40, 100):
        pass_one(budget, float(second))
    refuse(budget, 5.0, 100.0)
    pass_one(budget, 105.0)
    assert budget.allowed == 300


def test_a_learned_limit_that_nobody_uses_does_not_grow() -> None:
    budget = learned()
    seen = []
    for at_s in (4000.0, 9000.0, 19000.0):  # it had been used in the first of these times
        assert budget.fits(1, at_s)
        seen.append(budget.allowed)
    assert len(set(seen)) == 1


def test_a_cost_beyond_the_allowance_counts_as_all_of_it() -> None:
    budget = Budget("b", allowed=10, window_s=60.0, now_s=0.0)
    assert budget.fits(500, 0.0)
    budget.settle(budget.take(500, 0.0), 0.0)
    assert budget.occupied(1.0) == 10
    assert budget.wait_s(1, 1.0) == pytest.approx(59.0, abs=0.01)


def test_a_users_limit_can_be_set_later() -> None:
    budget = Budget("b", allowed=None, window_s=60.0, now_s=0.0)
    budget.override(60, 30.0, 0.0)
    assert budget.rate_per_s() == 2.0

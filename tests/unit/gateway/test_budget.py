from __future__ import annotations

import math

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


def test_a_refusal_closes_the_budget_for_everybody_and_reopens_it_slowly() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    budget.refuse(7.0, 0.0)
    assert budget.wait_s(1, 0.0) == pytest.approx(7.0)
    assert spend(budget, 300, 7.0) == 20  # the level rose meanwhile
    assert budget.blocked_s(3.0) == pytest.approx(4.0)


def test_an_absurd_retry_after_closes_it_for_three_minutes_at_most() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    budget.refuse(86400.0, 0.0)
    assert budget.blocked_s(0.0) == 180.0


def test_an_unexplained_refusal_takes_the_count_for_the_limit_and_lets_it_grow_again() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    for tenth in range(300):
        spend(budget, 300, tenth / 10)
    count = budget.occupied(30.0)
    budget.refuse(1.0, 30.0, guess=True)
    assert budget.allowed == count - 1
    assert budget.fits(1, 400.0)
    assert budget.allowed is not None
    assert count - 1 < budget.allowed <= 300


def test_one_storm_of_refusals_cuts_once() -> None:
    budget = Budget("b", allowed=300, window_s=60.0, now_s=0.0)
    spend(budget, 20, 0.0)
    budget.refuse(1.0, 0.0, guess=True)
    once = budget.allowed
    budget.refuse(1.0, 0.1, guess=True)
    assert budget.allowed == once
    assert budget.refusals == 2


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

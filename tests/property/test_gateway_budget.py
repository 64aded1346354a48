"""Whatever the traffic and the network do, no window of any kind, as the API sees it, holds more than the allowance."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.gateway.budget import Budget, Place

WINDOW_S = 10.0


@dataclass(frozen=True, slots=True)
class Trip:
    """How one request travels: gap before it, way out, way back, and whether it never leaves."""

    gap_s: float
    out_s: float
    back_s: float
    is_unsent: bool


trips = st.builds(
    Trip,
    gap_s=st.floats(0.0, 1.0),
    out_s=st.floats(0.0, 6.0),
    back_s=st.floats(0.0, 6.0),
    is_unsent=st.sampled_from([False] * 9 + [True]),
)


def drive(budget: Budget, traffic: list[Trip]) -> list[float]:
    """Send everything as soon as it fits; return when each request arrived at the API."""
    now_s = 0.0
    arrivals: list[float] = []
    answers: list[tuple[float, int, Place]] = []
    numbers = itertools.count()

    def pass_time(until_s: float) -> None:
        while answers and answers[0][0] <= until_s:
            at_s, _, place = heapq.heappop(answers)
            budget.settle(place, at_s)

    for trip in traffic:
        now_s += trip.gap_s
        pass_time(now_s)
        while (wait_s := budget.wait_s(1, now_s)) > 0:
            step_s = min(wait_s, answers[0][0] - now_s) if answers else wait_s
            now_s += max(step_s, 1e-6)
            pass_time(now_s)
        place = budget.take(1, now_s)
        if trip.is_unsent:
            budget.unsent(place)
            continue
        arrivals.append(now_s + trip.out_s)
        heapq.heappush(answers, (now_s + trip.out_s + trip.back_s, next(numbers), place))
    return sorted(arrivals)


NO_TIME = Trip(
    gap_s=0.0, out_s=5.455908995918635, back_s=0.0, is_unsent=False
)  # once found: 10 s later, less a rounding


def most_in_any_window(arrivals: list[float], window_s: float) -> int:
    """Count the fullest half-open window; every fixed window is one of them."""
    most, first = 0, 0
    for last, at_s in enumerate(arrivals):
        while arrivals[first] <= at_s - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.promise("P7")
@settings(max_examples=150, deadline=None)
@given(traffic=st.lists(trips, min_size=1, max_size=120), allowed=st.integers(1, 30))
def test_no_window_fixed_or_sliding_ever_holds_more_than_the_allowance(traffic: list[Trip], allowed: int) -> None:
    budget = Budget("b", allowed=allowed, window_s=WINDOW_S, now_s=0.0)
    assert most_in_any_window(drive(budget, traffic), WINDOW_S) <= allowed


@pytest.mark.promise("P7")
@settings(max_examples=100, deadline=None)
@given(traffic=st.lists(trips, min_size=20, max_size=80), allowed=st.integers(2, 20), cut=st.integers(1, 10))
def test_a_lowered_limit_holds_for_everything_sent_after_it(traffic: list[Trip], allowed: int, cut: int) -> None:
    budget = Budget("b", allowed=allowed, window_s=WINDOW_S, now_s=0.0)
    drive(budget, traffic[:10])
    late = Budget("b", allowed=allowed, window_s=WINDOW_S, now_s=0.0)
    late.override(cut, WINDOW_S, 0.0)
    assert most_in_any_window(drive(late, traffic[10:]), WINDOW_S) <= cut


@pytest.mark.promise("P7")
@settings(max_examples=60, deadline=None)
@given(latency_s=st.floats(0.0, 0.3), allowed=st.integers(20, 200))
def test_who_always_wants_more_gets_nearly_all_of_every_window(latency_s: float, allowed: int) -> None:
    budget = Budget("b", allowed=allowed, window_s=WINDOW_S, now_s=0.0)
    arrivals = drive(budget, [Trip(0.0, latency_s, 0.0, False)] * (allowed * 4))
    took_s = arrivals[-1] - arrivals[0]
    windows = took_s / (WINDOW_S + latency_s)
    assert len(arrivals) >= allowed * windows * 0.98


@settings(max_examples=100, deadline=None)
@given(traffic=st.lists(trips, min_size=1, max_size=60), allowed=st.integers(1, 10))
def test_an_idle_budget_is_whole_again_after_a_window(traffic: list[Trip], allowed: int) -> None:
    budget = Budget("b", allowed=allowed, window_s=WINDOW_S, now_s=0.0)
    places = []
    for number, _ in enumerate(traffic):
        if budget.fits(1, number * 0.01):
            places.append(budget.take(1, number * 0.01))
    for place in places:
        budget.settle(place, 1.0)
    assert budget.occupied(1.01 + WINDOW_S) == 0
    assert budget.wait_s(1, 1.01 + WINDOW_S) == 0.0


def test_a_window_less_the_rounding_of_a_float_is_still_a_window() -> None:
    later = Trip(gap_s=0.0, out_s=0.0, back_s=0.0, is_unsent=False)
    budget = Budget("b", allowed=1, window_s=WINDOW_S, now_s=0.0)
    assert most_in_any_window(drive(budget, [NO_TIME, later, later]), WINDOW_S) == 1

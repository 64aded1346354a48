from __future__ import annotations

import pytest

from interlock.gateway.bucket import TooMany, emptied, full, level_at, take, wait_for


def test_a_full_bucket_gives_its_capacity_at_once_and_then_its_rate() -> None:
    bucket = full(capacity=10, rate_per_s=5, now_s=100.0)
    bucket, wait_s = take(bucket, 10, now_s=100.0)
    assert wait_s == 0.0
    bucket, wait_s = take(bucket, 1, now_s=100.0)
    assert wait_s == pytest.approx(0.2)
    _, wait_s = take(bucket, 1, now_s=100.0 + wait_s)
    assert wait_s == 0.0


def test_a_refused_take_changes_nothing() -> None:
    bucket, _ = take(full(capacity=1, rate_per_s=1, now_s=0.0), 1, now_s=0.0)
    same, wait_s = take(bucket, 1, now_s=0.5)
    assert same is bucket
    assert wait_s == pytest.approx(0.5)


def test_asking_for_more_than_the_capacity_is_refused_because_no_wait_would_help() -> None:
    with pytest.raises(TooMany):
        wait_for(full(capacity=3, rate_per_s=1, now_s=0.0), 4, now_s=0.0)


def test_a_clock_that_repeats_or_goes_back_gives_nothing_away() -> None:
    bucket, _ = take(full(capacity=2, rate_per_s=1, now_s=10.0), 2, now_s=10.0)
    assert level_at(bucket, 9.0) == 0.0
    assert level_at(bucket, 10.0) == 0.0


def test_an_emptied_bucket_starts_slowly() -> None:
    assert level_at(emptied(full(capacity=5, rate_per_s=1, now_s=0.0), now_s=3.0), 4.0) == pytest.approx(1.0)

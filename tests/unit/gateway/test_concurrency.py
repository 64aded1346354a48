from __future__ import annotations

from interlock.gateway.concurrency import Concurrency, Sample, after, may_send


def test_success_under_load_grows_the_limit_by_one_per_round() -> None:
    limit = Concurrency(limit=10.0)
    for _ in range(10):
        limit = after(limit, Sample.SUCCESS, in_flight=10, sent_s=0.0, now_s=1.0)
    assert 10.9 < limit.limit < 11.0


def test_an_unused_limit_does_not_grow() -> None:
    assert after(Concurrency(limit=10.0), Sample.SUCCESS, in_flight=2, sent_s=0.0, now_s=1.0).limit == 10.0


def test_one_congestion_cuts_once_whatever_number_of_requests_tell_of_it() -> None:
    limit = after(Concurrency(limit=16.0), Sample.DROPPED, in_flight=16, sent_s=0.0, now_s=1.0)
    assert limit.limit == 12.0
    assert after(limit, Sample.DROPPED, in_flight=15, sent_s=0.5, now_s=1.1).limit == 12.0
    assert after(limit, Sample.DROPPED, in_flight=15, sent_s=1.5, now_s=2.0).limit == 9.0


def test_ignored_samples_change_nothing() -> None:
    limit = Concurrency(limit=16.0)
    assert after(limit, Sample.IGNORED, in_flight=16, sent_s=0.0, now_s=1.0) is limit


def test_the_limit_stays_between_floor_and_ceiling() -> None:
    low = Concurrency(limit=1.0)
    assert after(low, Sample.DROPPED, in_flight=1, sent_s=0.0, now_s=1.0).limit == 1.0
    assert may_send(low, 0)
    assert not may_send(low, 1)
    high = Concurrency(limit=128.0, ceiling=128.0)
    assert after(high, Sample.SUCCESS, in_flight=128, sent_s=0.0, now_s=1.0).limit == 128.0

from __future__ import annotations

from interlock.store.polling import NearPolling, Polling


def _looks(polling: Polling, *, within_s: float) -> int:
    elapsed_s = 0.0
    count = 0
    for wait_s in polling.waits_s():
        elapsed_s += wait_s
        if elapsed_s > within_s:
            break
        count += 1
    return count


def test_a_long_wait_needs_few_requests() -> None:
    assert _looks(Polling(), within_s=60) <= 45
    assert 6 * _looks(Polling(), within_s=10) <= 75  # a heartbeat every ten seconds starts the pace anew


def test_a_look_follows_soon_after_a_short_hold() -> None:
    elapsed_s = 0.0
    for wait_s in Polling().waits_s():
        assert wait_s < 0.7
        elapsed_s += wait_s
        if elapsed_s > 2.0:
            break


def test_a_prefix_is_looked_at_more_rarely() -> None:
    assert _looks(Polling().rarer(), within_s=60) <= 10


def test_the_pace_never_exceeds_its_limit() -> None:
    polling = Polling(first_s=1, growth=10, most_s=3)
    waits = polling.waits_s()
    assert [next(waits) for _ in range(4)] == [1, 3, 3, 3]


def test_what_is_near_is_looked_at_more_often_from_the_next_look_on() -> None:
    pace = NearPolling(far=Polling(first_s=1.0, growth=2.0, most_s=8.0), near=Polling(first_s=0.1, growth=1.0))
    waits_s = pace.waits_s()
    assert [next(waits_s), next(waits_s)] == [1.0, 2.0]
    pace.is_near = True
    assert next(waits_s) == 0.1
    pace.is_near = False
    assert next(waits_s) == 8.0
    assert pace.rarer() == pace.far.rarer()

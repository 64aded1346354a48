from __future__ import annotations

from interlock.gateway.concurrency import Sample
from interlock.gateway.trouble import EVERYWHERE, OPENS_AT, TOGETHER_S, Endpoint, Trouble


def fail(endpoint: Endpoint, call: str, now_s: float, *, status: int = 503) -> None:
    endpoint.under_way += 1
    endpoint.ended(Sample.DROPPED, call.encode(), status, sent_s=now_s, now_s=now_s)


def succeed(endpoint: Endpoint, now_s: float) -> None:
    endpoint.under_way += 1
    endpoint.ended(Sample.SUCCESS, b"ok", 200, sent_s=now_s, now_s=now_s)


def new() -> Trouble:
    return Trouble(limit=32.0, ceiling=128.0)


def test_an_endpoint_whose_calls_all_fail_is_held_and_the_others_go_on() -> None:
    trouble = new()
    for number in range(OPENS_AT):
        fail(trouble.of("GET a"), str(number), 0.0)
    assert trouble.of("GET a").wait_s(0.5) > 0.0
    assert trouble.of("GET b").wait_s(0.5) == 0.0
    assert trouble.text("GET a").startswith("GET a answers 503 (3 calls in a row)")
    assert trouble.text("GET b") == ""


def test_one_call_that_always_fails_does_not_close_its_endpoint() -> None:
    endpoint = new().of("GET a")
    for _ in range(3 * OPENS_AT):
        fail(endpoint, "the same", 0.0)
    assert not endpoint.is_open


def test_after_its_pause_one_call_tries_and_a_success_closes_the_circuit() -> None:
    endpoint = new().of("GET a")
    for number in range(OPENS_AT):
        fail(endpoint, str(number), 0.0)
    assert endpoint.wait_s(1.1) == 0.0
    endpoint.under_way += 1
    assert endpoint.wait_s(1.2) > 0.0
    endpoint.ended(Sample.SUCCESS, b"probe", 200, sent_s=1.1, now_s=1.3)
    assert endpoint.wait_s(1.3) == 0.0


def test_a_probe_that_fails_doubles_the_pause() -> None:
    endpoint = new().of("GET a")
    for number in range(OPENS_AT):
        fail(endpoint, str(number), 0.0)
    fail(endpoint, "probe", 1.1, status=0)
    assert endpoint.wait_s(1.1) == 2.0


def test_only_failures_of_several_endpoints_are_the_apis() -> None:
    trouble = new()
    assert not any(trouble.is_everywhere("GET a", float(second)) for second in range(9))
    names = [f"GET {number}" for number in range(EVERYWHERE)]
    assert [trouble.is_everywhere(name, 100.0) for name in names][-1]
    assert not trouble.is_everywhere("GET a", 101.0 + TOGETHER_S)


def test_an_endpoints_own_limit_shrinks_on_failures_and_grows_on_success() -> None:
    endpoint = new().of("GET a")
    fail(endpoint, "1", 0.0)
    low = endpoint.concurrency.limit
    assert low < 32.0
    endpoint.under_way = 30
    succeed(endpoint, 1.0)
    assert endpoint.concurrency.limit > low

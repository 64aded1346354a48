import pytest

from interlock.genesys.limits import rate_limits
from interlock.simulator import DEFAULT_LIMITS, ApiRefusal, Limit, Scope, WindowKind
from interlock.simulator.limits import Meter

TOKEN = {Scope.TOKEN: "t"}


def limit(kind: WindowKind, allowed: int = 3, **fields: object) -> Limit:
    return Limit(**{"key": "k", "scope": Scope.TOKEN, "allowed": allowed, "window": kind, **fields})  # type: ignore[arg-type]


def take(meter: Meter, now_s: float, keys: dict[Scope, str] | None = None, path: str = "/x") -> int:
    """Return 200 or the refusal's Retry-After as a negative number."""
    try:
        meter.take("GET", path, TOKEN if keys is None else keys, now_s)
    except ApiRefusal as refusal:
        return -int(dict(refusal.headers)["Retry-After"])
    return 200


def test_a_fixed_window_starts_with_the_first_request_and_opens_all_at_once() -> None:
    meter = Meter([limit(WindowKind.FIXED)])
    assert [take(meter, at) for at in (0, 50, 59, 59.5)] == [200, 200, 200, -1]
    assert [take(meter, at) for at in (60, 60, 60, 60)] == [200, 200, 200, -60]


def test_a_sliding_window_opens_one_request_at_a_time() -> None:
    meter = Meter([limit(WindowKind.SLIDING)])
    assert [take(meter, at) for at in (0, 50, 59, 59.5)] == [200, 200, 200, -1]
    assert [take(meter, at) for at in (60, 60)] == [200, -50]


def test_no_stretch_of_a_sliding_window_holds_more_than_allowed() -> None:
    meter, now_s, taken = Meter([limit(WindowKind.SLIDING, allowed=5)]), 0.0, []
    for step in range(500):
        now_s += (step * 37 % 11) * 0.9
        if take(meter, now_s) == 200:
            taken.append(now_s)
    assert len(taken) > 100
    assert all(sixth - first >= 60 for first, sixth in zip(taken, taken[5:], strict=False))


def test_headers_tell_count_allowed_and_seconds_until_reset() -> None:
    meter = Meter([limit(WindowKind.FIXED)])
    standing = meter.take("GET", "/x", TOKEN, 0.0)
    assert standing is not None
    assert standing.headers() == (
        ("inin-ratelimit-count", "1"),
        ("inin-ratelimit-allowed", "3"),
        ("inin-ratelimit-reset", "61"),
    )


def test_a_refusal_names_the_seconds_in_header_and_message_and_counts_nothing() -> None:
    meter = Meter([limit(WindowKind.FIXED, allowed=1)])
    take(meter, 0)
    with pytest.raises(ApiRefusal) as refused:
        meter.take("GET", "/x", TOKEN, 18.5)
    assert refused.value.code == "too.many.requests.retry.after"
    assert "[42]" in refused.value.message
    assert dict(refused.value.headers)["Retry-After"] == "42"
    assert take(meter, 60) == 200


def test_each_token_has_a_window_of_its_own_and_the_organisation_one_for_all() -> None:
    meter = Meter([limit(WindowKind.FIXED, 2), limit(WindowKind.FIXED, 3, key="org", scope=Scope.ORGANIZATION)])
    first = {Scope.TOKEN: "a", Scope.ORGANIZATION: "o"}
    second = {Scope.TOKEN: "b", Scope.ORGANIZATION: "o"}
    assert [take(meter, 0, first), take(meter, 0, first), take(meter, 0, first)] == [200, 200, -60]
    assert [take(meter, 0, second), take(meter, 0, second)] == [200, -60]


def test_an_endpoint_limit_counts_only_its_method_and_path() -> None:
    meter = Meter([limit(WindowKind.FIXED, 1, scope=Scope.ENDPOINT, path="/architect/.*")])
    assert [take(meter, 0, path="/architect/ivrs"), take(meter, 0, path="/architect/x")] == [200, -60]
    assert take(meter, 0, path="/users") == 200


def test_a_user_limit_does_not_bind_a_caller_without_a_user() -> None:
    meter = Meter([limit(WindowKind.FIXED, 1, scope=Scope.USER)])
    assert [take(meter, 0), take(meter, 0)] == [200, 200]


def test_limits_can_be_halved_while_windows_run() -> None:
    meter = Meter([limit(WindowKind.FIXED, 4)])
    assert [take(meter, 0), take(meter, 0)] == [200, 200]
    meter.replace([limit(WindowKind.FIXED, 2)])
    assert take(meter, 1) == -59
    meter.replace([limit(WindowKind.SLIDING, 2)])
    assert [take(meter, 2), take(meter, 2), take(meter, 2)] == [200, 200, -60]


@pytest.mark.parametrize("kind", list(WindowKind))
def test_a_limit_may_count_what_a_request_asks_for(kind: WindowKind) -> None:
    meter = Meter([limit(kind, 1000, cost_query="pageSize", cost_default=25)])
    for size, count in (("500", 500), ("475", 975), ("", 1000)):
        standing = meter.take("GET", "/flows", TOKEN, 0.0, {"pageSize": size})
        assert standing is not None
        assert standing.count == count
    with pytest.raises(ApiRefusal):
        meter.take("GET", "/flows", TOKEN, 1.0, {"pageSize": "1"})
    assert meter.take("GET", "/flows", TOKEN, 60.0, {"pageSize": "999999999"}) is not None


def test_the_default_limits_are_the_published_ones() -> None:
    published = {rate.name: rate for rate in rate_limits()}
    for name, default in zip(("token", "ivr-update", "flows-list"), DEFAULT_LIMITS, strict=True):
        assert (default.allowed, default.window_s) == (published[name].allowed, published[name].window_s)
        assert default.cost_query == published[name].cost_from


def test_speed_shortens_every_window() -> None:
    meter = Meter([limit(WindowKind.FIXED, 1)], speed=20.0)
    assert [take(meter, 0), take(meter, 0), take(meter, 3)] == [200, -3, 200]

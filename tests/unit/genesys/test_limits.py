from __future__ import annotations

from interlock.genesys.limits import Scope, login_limit, published_limits, rate_limits


def test_a_token_has_three_hundred_requests_a_minute() -> None:
    [token] = [each for each in rate_limits() if each.scope is Scope.TOKEN]
    assert (token.allowed, token.window_s, token.enforce) == (300, 60, True)


def test_limits_that_bind_nobody_are_known_but_not_enforced() -> None:
    idle = {each.name for each in rate_limits() if not each.enforce}
    assert idle == {"user", "organisation"}


def test_every_rate_limit_names_a_source_and_has_a_unique_name() -> None:
    names = [each.name for each in rate_limits()]
    assert len(names) == len(set(names))
    assert all(each.sources and each.trust for each in rate_limits())


def test_tokens_are_asked_for_at_a_pace() -> None:
    login = login_limit()
    assert 0 < login.mint_every_s < login.backoff_min_s < login.backoff_max_s


def test_published_limits_keep_what_is_not_known_as_none() -> None:
    assert any(each.value is None for each in published_limits())
    assert any(each.key == "request.bytes.max" and each.value == 512_000 for each in published_limits())

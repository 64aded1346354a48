from __future__ import annotations

import pytest

from interlock.errors import UsageError
from interlock.gateway.rules import ENDPOINTS_MAX, Override, Rules, apply_overrides, endpoint_of, parse_override
from interlock.genesys import rate_limits


@pytest.fixture
def rules() -> Rules:
    return Rules(rate_limits())


def test_every_request_needs_the_organisation_and_its_endpoint(rules: Rules) -> None:
    assert rules.needs("GET", "/api/v2/routing/queues/4fa8a1a0-1c1f-4f0e-8f4a-0a1b2c3d4e5f", "") == (
        ("organisation", 1),
        ("GET routing/queues/{id}", 1),
    )


def test_listing_flows_costs_its_page_size(rules: Rules) -> None:
    assert ("flows-list", 500) in rules.needs("GET", "/api/v2/flows", "pageSize=500&pageNumber=1")
    assert ("flows-list", 25) in rules.needs("GET", "/api/v2/flows/divisionviews", "")
    assert ("flows-list", 25) in rules.needs("GET", "/api/v2/flows", "pageSize=abc")
    assert all(name != "flows-list" for name, _ in rules.needs("GET", "/api/v2/flows/abc", ""))
    assert all(name != "flows-list" for name, _ in rules.needs("POST", "/api/v2/flows", ""))


def test_an_ivr_update_has_a_limit_of_its_own(rules: Rules) -> None:
    assert ("ivr-update", 1) in rules.needs("PUT", "/api/v2/architect/ivrs/123", "")
    assert all(name != "ivr-update" for name, _ in rules.needs("GET", "/api/v2/architect/ivrs/123", ""))


def test_endpoints_are_named_without_ids() -> None:
    assert endpoint_of("GET", "/api/v2/users/11111111-1111-4111-a111-111111111111/routingskills") == (
        "GET users/{id}/routingskills"
    )
    assert endpoint_of("GET", "/api/v2/flows/datatables/a%2Fb") == "GET flows/datatables/{id}"


def test_invented_endpoints_do_not_fill_the_memory(rules: Rules) -> None:
    for number in range(ENDPOINTS_MAX * 2):
        rules.needs("GET", f"/api/v2/a{chr(97 + number % 26)}{'x' * (number // 26)}", "")
    assert ("other", 1) in rules.needs("GET", "/api/v2/never/seen/before", "")


def test_an_override_is_read() -> None:
    assert parse_override("token=600/60s") == Override(name="token", allowed=600, window_s=60.0)
    assert parse_override("organisation=3000/0.5").window_s == 0.5


@pytest.mark.parametrize("text", ["", "token", "token=0/60s", "token=5/0s", "token=-1/60s", "TOKEN=1/1s", "a=1/1m"])
def test_an_override_that_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_override(text)
    assert "token=300/60s" in caught.value.fix


def test_an_override_turns_a_limit_on() -> None:
    limits = apply_overrides(rate_limits(), [Override(name="user", allowed=10, window_s=1.0)])
    assert ("user", 1) in Rules(limits).needs("GET", "/api/v2/users", "")


def test_an_override_of_an_unknown_limit_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        apply_overrides(rate_limits(), [Override(name="tokn", allowed=10, window_s=1.0)])
    assert "token" in caught.value.fix

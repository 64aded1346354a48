from __future__ import annotations

import math

import pytest

from interlock.errors import BudgetExhausted
from interlock.gateway.allotment import Allotment
from interlock.gateway.estimate import Estimate, Planned, check_deadline, estimate
from interlock.gateway.rules import Override, apply_overrides
from interlock.genesys import RateLimit, rate_limits

QUEUE, SKILL, FLOW = "genesyscloud_routing_queue", "genesyscloud_routing_skill", "genesyscloud_flow"


def run(*planned: Planned, tokens: int = 10, parallelism: int | None = None) -> Estimate:
    return estimate(planned, limits=rate_limits(), tokens=tokens, parallelism=parallelism)


def test_calls_are_those_of_the_table_and_the_providers_two_starts() -> None:
    found = run(Planned(type=QUEUE, action="create", count=10), Planned(type=SKILL, action="delete", count=5))
    assert found.calls == 10 * 7 + 5 * 2 + 2 * 2
    assert found.by_type[0] == (QUEUE, 70)


def test_a_small_plan_is_limited_by_latency_and_a_large_one_by_its_tokens() -> None:
    assert run(Planned(type=SKILL, action="create", count=3)).limited_by == "latency"
    large = run(Planned(type=QUEUE, action="create", count=5000), parallelism=50)
    assert large.limited_by == "token"
    assert large.shortest_s == pytest.approx((35004 - 200) / 50, rel=0.01)


def test_more_tokens_make_it_shorter() -> None:
    many = Planned(type=QUEUE, action="create", count=5000)
    assert run(many, tokens=20, parallelism=50).shortest_s < run(many, tokens=10, parallelism=50).shortest_s


def test_the_recommended_parallelism_keeps_the_budget_busy_and_no_more() -> None:
    found = run(Planned(type=QUEUE, action="create", count=5000), tokens=10)
    assert found.parallelism == math.ceil(50 * 0.25)
    assert found.token_pool_size == found.parallelism
    assert run(Planned(type=QUEUE, action="create", count=2)).parallelism == 2
    assert len(found.explanation) == 3


def test_the_users_own_parallelism_stays() -> None:
    assert run(Planned(type=QUEUE, action="create", count=100), parallelism=7).parallelism == 7


def test_a_flow_takes_at_least_one_poll() -> None:
    found = run(Planned(type=FLOW, action="create", count=1))
    assert (found.shortest_s, found.limited_by) == (15.0, FLOW)


def test_ivr_updates_have_a_limit_of_their_own() -> None:
    found = run(Planned(type="genesyscloud_architect_ivr", action="update", count=400), parallelism=50)
    assert found.limited_by == "ivr-update"
    assert found.shortest_s > 200


def test_guessed_types_are_named() -> None:
    found = run(Planned(type="genesyscloud_journey_segment", action="create"))
    assert found.unknown_types == ("genesyscloud_journey_segment",)
    assert "journey_segment" in found.explanation[-1]


def test_nothing_to_do_costs_only_the_start() -> None:
    assert run(Planned(type=QUEUE, action="no-op", count=100)).calls == 4
    assert run().parallelism == 1


def test_an_organisation_limit_counts_for_all_tokens_together() -> None:
    limits: tuple[RateLimit, ...] = apply_overrides(
        rate_limits(), [Override(name="organisation", allowed=60, window_s=60)]
    )
    found = estimate([Planned(type=QUEUE, action="create", count=100)], limits=limits, tokens=10)
    assert found.rate_per_s == 1.0
    assert found.limited_by == "organisation"


def test_a_run_that_cannot_end_in_time_is_refused_before_it_changes_anything() -> None:
    found = run(Planned(type=QUEUE, action="create", count=5000), parallelism=50)
    check_deadline(found, left_s=3600)
    with pytest.raises(BudgetExhausted) as caught:
        check_deadline(found, left_s=60)
    assert caught.value.exit_status == 31
    with pytest.raises(BudgetExhausted):
        check_deadline(found, left_s=1000, queued_calls=50_000)


@pytest.mark.promise("P7")
def test_a_share_makes_a_plan_longer_is_said_and_counts_against_a_deadline() -> None:
    many = [Planned(type=QUEUE, action="create", count=1000)]
    allotment = Allotment(share=0.3, policy="small")
    alone = estimate(many, limits=rate_limits(), tokens=10)
    capped = estimate(many, limits=rate_limits(), tokens=10, allotment=allotment)
    assert capped.rate_per_s == pytest.approx(0.3 * alone.rate_per_s)
    assert capped.shortest_s == pytest.approx(alone.shortest_s / 0.3, rel=0.05)  # the bursts differ
    assert capped.parallelism < alone.parallelism
    assert "this state may use 30 % of the API budget (policy small)" in capped.explanation
    check_deadline(alone, left_s=alone.shortest_s + 1)
    with pytest.raises(BudgetExhausted):
        check_deadline(capped, left_s=alone.shortest_s + 1)

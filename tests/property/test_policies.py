"""Laws of policies: another policy never allows more, and what is told of a hold is true."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import InterlockError
from interlock.policy import Freeze, Layer, Policies, Policy, Window, join
from interlock.policy.approval import Approval, Decision, Kind, Standing, Verdict, decided, standing, used
from interlock.policy.judging import judge, refused
from interlock.policy.summary import Resource, summarise
from interlock.policy.windows import DAYS, find_hold

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata"]
INSTANTS = st.integers(0, 2 * 365 * 86_400).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
MINUTES = st.sampled_from([0, 1, 30, 59])
CLOCKS = st.builds(lambda h, m: f"{h:02d}:{m:02d}", st.integers(0, 23), MINUTES) | st.just("24:00")
WINDOWS = st.builds(
    Window,
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True).map(tuple),
    begin=CLOCKS.filter(lambda text: text != "24:00"),
    end=CLOCKS,
    zone=st.sampled_from(ZONES),
)
FREEZES = st.builds(
    lambda begin, hours, reason: Freeze(reason=reason, begin=begin, end=begin + timedelta(hours=hours)),
    INSTANTS,
    st.integers(1, 400),
    st.just("audit"),
)
POLICIES = st.builds(
    Policy,
    name=st.sampled_from(["a", "b", "c"]),
    layer=st.sampled_from(Layer),
    windows=st.lists(WINDOWS, max_size=2).map(tuple),
    freezes=st.lists(FREEZES, max_size=2).map(tuple),
    max_deletes=st.none() | st.integers(0, 3),
    protected_types=st.lists(st.sampled_from(["genesyscloud_*", "terraform_data"]), max_size=1).map(tuple),
    protected_addresses=st.lists(st.sampled_from(["*.a", 'x.y["k"]']), max_size=1).map(tuple),
    approvals=st.integers(0, 3),
    own_approval=st.booleans(),
    wait_s=st.none() | st.floats(1, 100),
    api_budget_share=st.none() | st.floats(0.01, 1.0),
)
RESOURCES = st.lists(
    st.builds(
        Resource,
        address=st.sampled_from(["terraform_data.a", "terraform_data.b", 'x.y["k"]', "genesyscloud_flow.a"]),
        type=st.sampled_from(["terraform_data", "x", "genesyscloud_flow"]),
        action=st.sampled_from(["create", "update", "replace", "delete"]),
    ),
    max_size=5,
    unique_by=lambda one: one.address,
)


def share_of(policies: Policies) -> float:
    saying = policies.api_budget_share
    return 1.0 if saying is None else saying.api_budget_share or 1.0


@given(st.lists(POLICIES, max_size=3), POLICIES, RESOURCES, st.booleans())
@pytest.mark.promise("P8")
def test_another_policy_never_allows_what_was_refused(
    policies: list[Policy], more: Policy, resources: list[Resource], agree: bool
) -> None:
    plan = summarise(resources, state="prod", operation="apply")
    agreed = frozenset(plan.destroyed) if agree else frozenset()
    before, after = join(policies, "prod"), join([*policies, more], "prod")
    assert set(refused(judge(before, plan, agreed=agreed))) <= set(refused(judge(after, plan, agreed=agreed)))
    assert after.approvals >= before.approvals
    assert not (after.own_approval and before.approvals and not before.own_approval)
    assert (after.wait_s or 1e9) <= (before.wait_s or 1e9)
    assert share_of(after) <= share_of(before)


@given(st.lists(POLICIES, max_size=3), POLICIES, INSTANTS)
def test_another_policy_never_opens_a_closed_window(policies: list[Policy], more: Policy, now: datetime) -> None:
    if find_hold(policies, now, ZoneInfo) is not None:
        assert find_hold([*policies, more], now, ZoneInfo) is not None


@given(st.lists(POLICIES, min_size=1, max_size=2), INSTANTS, st.integers(1, 200))
def test_a_hold_lasts_until_the_instant_that_is_told_and_no_longer(
    policies: list[Policy], now: datetime, part: int
) -> None:
    held = find_hold(policies, now, ZoneInfo)
    if held is None or held.until is None:
        return
    assert held.until > now
    assert find_hold(policies, held.until, ZoneInfo) is None
    between = now + (held.until - now) * part / 201
    assert find_hold(policies, between, ZoneInfo) is not None, "it was let go before"


DECISIONS = st.lists(
    st.tuples(st.sampled_from(["ann", "ben", "cid", "dan"]), st.sampled_from(Verdict), st.integers(0, 30)), max_size=8
)
T0 = datetime(2026, 11, 30, tzinfo=UTC)


@given(DECISIONS, st.integers(1, 3), st.booleans(), st.integers(0, 30))
@pytest.mark.promise("P8")
def test_a_request_is_used_only_after_enough_others_approved_and_nobody_rejected(
    said: list[tuple[str, Verdict, int]], needed: int, own: bool, use_after: int
) -> None:
    request = Approval(
        id="r1",
        kind=Kind.APPLY,
        state="prod",
        digest="d",
        what="apply",
        asked_by="ann",
        asked_at=T0,
        expires_at=T0 + timedelta(hours=24),
        needed=needed,
        own_approval=own,
    )
    accepted: list[tuple[str, Verdict]] = []
    for who, verdict, hour in said:
        at = T0 + timedelta(hours=hour)
        try:
            after = decided(request, Decision(who=who, verdict=verdict, reason="r", at=at))
        except InterlockError:
            continue
        request = after
        accepted.append((who, verdict))
    yes = {who for who, verdict in accepted if verdict is Verdict.APPROVE and (own or who != "ann")}
    no = any(verdict is Verdict.REJECT for _, verdict in accepted)
    now = T0 + timedelta(hours=use_after)
    may = len(yes) >= needed and not no and use_after < 24
    try:
        after = used(request, by="r2", digest="d", now=now)
    except InterlockError:
        assert not may
        return
    assert may
    assert standing(after, now) is Standing.USED
    with pytest.raises(InterlockError):
        used(after, by="r3", digest="d", now=now)

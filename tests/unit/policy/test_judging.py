from __future__ import annotations

import pytest
from msgspec.structs import replace

from interlock.policy import Layer, Policy, join
from interlock.policy.judging import Result, judge, refusal, refused
from interlock.policy.summary import ACTIONS, PlanSummary, Resource, as_plain, summarise


def plan(*changes: tuple[str, str]) -> PlanSummary:
    resources = [
        Resource(address=address, type=address.split(".")[-2].partition("[")[0], action=action)
        for address, action in changes
    ]
    return summarise(resources, state="prod/routing", operation="apply")


def wrong(policy: Policy, seen: PlanSummary, agreed: frozenset[str] = frozenset()) -> tuple[Result, ...]:
    return refused(judge(join([policy], "prod/routing"), seen, agreed=agreed))


TWO = plan(("x.a", "delete"), ("x.b", "replace"), ("x.c", "create"), ("x.d", "remove"))


def test_a_summary_counts_every_action_and_names_what_is_destroyed() -> None:
    assert set(TWO.counts) == {*ACTIONS, "other"}
    assert (TWO.counts["delete"], TWO.counts["read"], TWO.destroyed) == (1, 0, ("x.a", "x.b"))
    assert TWO.types == {"x": {"delete": 1, "replace": 1, "create": 1, "remove": 1}}
    assert as_plain(TWO)["version"] == 1


@pytest.mark.parametrize(("limit", "addresses"), [(2, None), (1, ("x.a", "x.b")), (0, ("x.a", "x.b"))])
def test_more_deletions_than_allowed_are_refused_replacements_counted(
    limit: int, addresses: tuple[str, ...] | None
) -> None:
    found = wrong(Policy(name="p", max_deletes=limit), TWO)
    assert [each.addresses for each in found] == ([addresses] if addresses else [])


@pytest.mark.parametrize(
    ("types", "addresses", "expected"),
    [
        (("x",), (), ("x.a", "x.b")),
        (("y",), (), ()),
        ((), ("x.a",), ("x.a",)),
        ((), ("*.b",), ("x.b",)),
        ((), ("x.c",), ()),
        ((), ("x.[ab]",), ()),
    ],
)
def test_what_is_protected_is_neither_deleted_nor_replaced(
    types: tuple[str, ...], addresses: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    found = wrong(Policy(name="p", protected_types=types, protected_addresses=addresses), TWO)
    assert tuple(address for each in found for address in each.addresses) == expected


def test_brackets_in_a_pattern_are_an_index() -> None:
    seen = plan(('module.m["a"].x.b[0]', "delete"))
    assert wrong(Policy(name="p", protected_addresses=('module.m["a"].*[0]',)), seen)


def test_a_consent_in_the_change_counts_against_the_repositorys_word_alone() -> None:
    agreed = frozenset({"x.a", "x.b"})
    policy = Policy(name="p", max_deletes=0, protected_types=("x",))
    assert wrong(policy, TWO, agreed) == ()
    for layer in (Layer.SERVER, Layer.OPERATOR):
        assert len(wrong(replace(policy, layer=layer), TWO, agreed)) == 2


def test_a_policy_is_for_the_states_that_its_glob_names_and_the_strongest_layer_comes_first() -> None:
    policies = [
        Policy(name="repo", states="prod/*"),
        Policy(name="server", states="**", layer=Layer.SERVER),
        Policy(name="other", states="test/**"),
    ]
    assert [one.name for one in join(policies, "prod/routing").each] == ["server", "repo"]


def test_the_strictest_word_counts() -> None:
    joined = join(
        [
            Policy(name="a", approvals=1, own_approval=True, wait_s=60, approval_s=50.0),
            Policy(name="b", approvals=2, wait_s=30, approval_s=90.0),
            Policy(name="c", own_approval=True, two_persons=True),
        ],
        "s",
    )
    assert (joined.approvals, joined.own_approval, joined.asks_for) == (2, False, "b")
    assert (joined.wait_s, joined.approval_s, joined.two_persons) == (30, 50.0, True)


def test_a_refusal_says_rule_addresses_and_the_next_command() -> None:
    found = judge(join([Policy(name="p", max_deletes=0, protected_types=("x",))], "prod/routing"), TWO)
    error = refusal(found, state="prod/routing")
    assert error is not None
    assert error.exit_status == 41
    assert error.what == "policy p refuses the plan: the plan deletes 2 resources, more than the 0 allowed"
    assert error.why == "rule max_deletes (repository): x.a, x.b; 1 more rule of policies: p protected"
    assert error.fix == "interlock policies show prod/routing"
    assert refusal((), state="s") is None

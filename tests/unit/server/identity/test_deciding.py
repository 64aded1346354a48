"""Which job gets what: a table of platforms, events and roles, and what holds for any claims at all."""

from __future__ import annotations

import itertools
import string
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.identity_issuer import AZURE, ENTRA, GITHUB, GITLAB

from interlock.rights import Role
from interlock.server.identity.claims import Claims
from interlock.server.identity.deciding import Asked, Because, Granted, Refusal, decide, is_run
from interlock.server.identity.platforms import PLATFORMS, Platform
from interlock.server.identity.rules import Issuer, TrustRule, check_rule, fits, may_write

JOBS = tuple(platform for platform in Platform if platform is not Platform.PERSON)
SAID: Mapping[Platform, Mapping[str, Any]] = {
    Platform.GITHUB: GITHUB,
    Platform.GITLAB: GITLAB,
    Platform.AZURE: AZURE,
    Platform.AZURE_ENTRA: ENTRA,
    Platform.OTHER: {"repositoryUuid": "{5f}", "branchName": "main"},
}
RULE_CLAIMS: Mapping[Platform, Mapping[str, tuple[str, ...]]] = {
    Platform.GITHUB: {"repository_id": ("74",), "ref": ("refs/heads/main",)},
    Platform.GITLAB: {"project_id": ("20",), "ref_protected": ("true",)},
    Platform.AZURE: {"prj_id": (AZURE["prj_id"],), "def_id": ("42",), "rpo_ref": ("refs/heads/main",)},
    Platform.AZURE_ENTRA: {
        "organization_id": ("8f3b1ab6-7cf2-4b9a-8a4a-1d8d8e0f9a01",),
        "service_connection_id": ("0c5f1ab6-7cf2-4b9a-8a4a-1d8d8e0f9a04",),
    },
    Platform.OTHER: {"repositoryUuid": ("{5f}",), "branchName": ("main",)},
}
EVENTS = {
    Platform.GITHUB: {
        "push": True, "schedule": True, "workflow_dispatch": True, "release": True,
        "pull_request": False, "pull_request_target": False, "pull_request_review": False,
        "pull_request_review_comment": False, "issue_comment": False, "issues": False, "workflow_run": False,
        "merge_group": False, "discussion": False, "fork": False, "watch": False, "repository_dispatch": False,
        "deployment": False, "": False, None: False, "Push": False, "an event of next year": False,
    },
    Platform.GITLAB: {
        "push": True, "schedule": True, "web": True, "api": True,
        "merge_request_event": False, "external_pull_request_event": False, "parent_pipeline": False,
        "pipeline": False, "trigger": False, "chat": False, "webide": False, "external": False, "": False, None: False,
    },
}  # fmt: skip


def claims_of(platform: Platform, **said: Any) -> Claims:
    whole = {name: value for name, value in {**SAID[platform], **said}.items() if value is not None}
    return Claims(platform=platform, said=whole, digest="d", ends_s=0.0)


def rule_of(
    platform: Platform,
    role: Role = Role.RUNNER,
    *,
    name: str = "r",
    claims: Mapping[str, tuple[str, ...]] | None = None,
) -> TrustRule:
    issuer = Issuer(url=PLATFORMS[platform].issuer or "https://issuer.example")
    whole = {**RULE_CLAIMS[platform], **(claims or {})}
    return check_rule(TrustRule(name=name, platform=platform, issuer=issuer, claims=whole, role=role, states="prod/*"))


PROD = Asked(state="prod/routing")


@pytest.mark.parametrize("platform", JOBS)
def test_a_job_that_fits_gets_the_role_of_its_rule_for_its_state_alone(platform: Platform) -> None:
    granted = decide(claims_of(platform), [rule_of(platform)], Asked(state="prod/routing", run="0123456789abcdef"))
    assert isinstance(granted, Granted)
    assert (granted.role, granted.state, granted.run) == (Role.RUNNER, "prod/routing", "0123456789abcdef")
    assert granted.lasts_s <= 900
    assert granted.job.startswith(platform.value)
    assert "sub" not in granted.facts


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    ("platform", "said", "account"),
    [
        (Platform.GITHUB, {}, "github:12"),
        (Platform.GITHUB, {"actor_id": None}, ""),
        (Platform.GITHUB, {"actor_id": "anna"}, ""),
        (Platform.GITHUB, {"actor_id": "\u0661\u0662"}, ""),
        (Platform.GITHUB, {"actor_id": ["12", "13"]}, ""),
        (Platform.GITHUB, {"actor": "anna"}, "github:12"),
        (Platform.GITHUB, {"actor": "github-actions[bot]", "actor_id": "41898282"}, ""),
        (Platform.GITLAB, {}, "gitlab:1"),
        (Platform.GITLAB, {"user_login": "anna"}, "gitlab:1"),
        (Platform.GITLAB, {"user_login": "project_20_bot_4ffca233d8298ea1"}, ""),
        (Platform.GITLAB, {"user_login": "group_72_bot"}, ""),
        (Platform.AZURE, {"actor_id": "12", "user_id": "1"}, ""),
        (Platform.AZURE_ENTRA, {"user_id": "1"}, ""),
        (Platform.OTHER, {"actor_id": "12", "user_id": "1"}, ""),
    ],
)
def test_the_account_that_began_a_job_is_known_where_its_platform_names_it(
    platform: Platform, said: Mapping[str, Any], account: str
) -> None:
    granted = decide(claims_of(platform, **said), [rule_of(platform)], PROD)
    assert isinstance(granted, Granted)
    assert granted.account == account


@pytest.mark.promise("P8")
def test_a_person_is_the_same_account_at_each_login_whatever_they_are_called() -> None:
    issuer = Issuer(url="https://login.example", audience="client")
    claims = {"groups": ("operators",)}
    rule = TrustRule(
        name="ops", platform=Platform.PERSON, issuer=issuer, claims=claims, role=Role.OPERATOR, states="prod/*"
    )
    accounts = set()
    for name in ("ann", "somebody else"):
        said = {"iss": issuer.url, "sub": "u-1017", "preferred_username": name, "groups": ["operators"]}
        granted = decide(Claims(platform=Platform.PERSON, said=said, digest="d", ends_s=0.0), [rule], Asked(state=""))
        assert isinstance(granted, Granted)
        accounts.add(granted.account)
    assert accounts == {"person:u-1017 https://login.example"}


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    ("platform", "event", "is_open"),
    [(platform, event, is_open) for platform, table in EVENTS.items() for event, is_open in table.items()],
)
def test_what_outsiders_can_start_writes_nothing_unless_the_rule_names_it(
    platform: Platform, event: str | None, is_open: bool
) -> None:
    claim = PLATFORMS[platform].event
    claims = claims_of(platform, **{claim: event})
    for role in (Role.READER, Role.PLANNER, Role.RUNNER):
        decided = decide(claims, [rule_of(platform, role)], PROD)
        assert isinstance(decided, Granted) == (is_open or not may_write(role)), (event, role)
        if isinstance(decided, Refusal):
            assert decided.because is Because.EVENT
            assert claim in decided.why
    if event:
        named = decide(claims, [rule_of(platform, claims={claim: (event,)})], PROD)
        assert isinstance(named, Granted), "a rule that names it lets it in"


@pytest.mark.parametrize("platform", JOBS)
def test_each_claim_of_a_rule_must_be_said_as_it_is(platform: Platform) -> None:
    for name in RULE_CLAIMS[platform]:
        for other in ("x", None, "", 7, ["x"], {"a": 1}, 1.5):
            said = (
                {"sub": ENTRA["sub"].replace("8f3b", "9f3b").replace("0c5f", "1c5f")}
                if platform is Platform.AZURE_ENTRA
                else {name: other}
            )
            decided = decide(claims_of(platform, **said), [rule_of(platform)], PROD)
            assert isinstance(decided, Refusal)
            assert decided.because is Because.NO_RULE


def test_flags_are_the_texts_of_the_platform_and_ids_may_be_numbers() -> None:
    rule = rule_of(Platform.GITLAB)
    assert isinstance(decide(claims_of(Platform.GITLAB, project_id=20, ref_protected=True), [rule], PROD), Granted)
    for said in ("false", False, "True", "1", 1):
        assert isinstance(decide(claims_of(Platform.GITLAB, ref_protected=said), [rule], PROD), Refusal)


def test_a_fork_in_the_pipeline_of_its_parent_is_the_fork() -> None:
    """GitLab says the fork's own project for pipelines of its merge requests."""
    decided = decide(claims_of(Platform.GITLAB, project_id="99"), [rule_of(Platform.GITLAB)], PROD)
    assert isinstance(decided, Refusal)
    assert "20" not in decided.why, "what rules say of other projects is not told"


def test_states_and_roles_that_no_rule_gives_are_refused_each_with_its_reason() -> None:
    rules = [rule_of(Platform.GITHUB, Role.PLANNER)]
    state = decide(claims_of(Platform.GITHUB), rules, Asked(state="test/routing"))
    role = decide(claims_of(Platform.GITHUB), rules, Asked(state="prod/routing", role=Role.RUNNER))
    assert isinstance(state, Refusal)
    assert isinstance(role, Refusal)
    assert (state.because, role.because) == (Because.STATE, Because.ROLE)


def test_the_least_rule_that_is_enough_is_used_and_without_a_wish_the_most_that_is_given() -> None:
    rules = [
        rule_of(Platform.GITHUB, Role.RUNNER, name="writes"),
        rule_of(Platform.GITHUB, Role.PLANNER, name="plans"),
        rule_of(Platform.GITHUB, Role.READER, name="reads"),
    ]
    wanted = {None: "writes", Role.READER: "reads", Role.PLANNER: "plans", Role.RUNNER: "writes"}
    for order in itertools.permutations(rules):
        for role, name in wanted.items():
            granted = decide(claims_of(Platform.GITHUB), order, Asked(state="prod/routing", role=role))
            assert isinstance(granted, Granted)
            assert (granted.rule, granted.role) == (name, role or Role.RUNNER)


def test_a_preview_gets_the_planner_that_one_rule_gives_beside_a_runner_that_is_not_for_it() -> None:
    rules = [rule_of(Platform.GITHUB, Role.PLANNER, name="plans"), rule_of(Platform.GITHUB, Role.RUNNER, name="writes")]
    granted = decide(claims_of(Platform.GITHUB, event_name="pull_request"), rules, PROD)
    assert isinstance(granted, Granted)
    assert granted.role is Role.PLANNER


def test_a_star_stands_for_nothing_beyond_a_slash_or_a_colon() -> None:
    assert fits("refs/heads/*", "refs/heads/main")
    assert fits("refs/*/release-*", "refs/heads/release-1")
    assert fits("*", "")
    for value in ("refs/heads/a/b", "refs/heads", "refs/tags/main", "xrefs/heads/main", "refs/heads/main:x"):
        assert not fits("refs/heads/*", value)
    assert not fits("repo:octo/*", "repo:octo/a:ref")
    assert not fits("a*a", "a")
    assert fits("a*b*c", "a1b2b3c")


_TEXT = st.text(string.ascii_letters + "/:*.-", max_size=12)


@given(value=_TEXT.filter(lambda text: "*" not in text), other=_TEXT.filter(lambda text: "*" not in text))
def test_without_a_star_a_pattern_is_the_value_and_nothing_else(value: str, other: str) -> None:
    assert fits(value, other) == (value == other)


@given(pattern=_TEXT, value=_TEXT.filter(lambda text: "*" not in text))
def test_what_a_pattern_fits_has_its_slashes_and_colons_in_their_order(pattern: str, value: str) -> None:
    import re

    expected = re.fullmatch(re.escape(pattern).replace(r"\*", "[^/:]*"), value) is not None
    assert fits(pattern, value) == expected


_WORDS = ("74", "refs/heads/main", "push", "pull_request", "production", "*")
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(_WORDS),
    st.text(max_size=8),
    st.lists(st.sampled_from(["74", "x"]), max_size=2),
)


@given(
    said=st.dictionaries(st.sampled_from([*GITHUB, "sub", "x"]), _VALUES, max_size=8),
    role=st.sampled_from([None, *Role]),
    given_role=st.sampled_from([Role.READER, Role.PLANNER, Role.RUNNER]),
    state=st.sampled_from(["prod/routing", "prod/a/b", "test/x", "prod"]),
)
def test_nothing_is_granted_that_no_rule_says(
    said: dict[str, Any], role: Role | None, given_role: Role, state: str
) -> None:
    rule = rule_of(Platform.GITHUB, given_role)
    decided = decide(
        Claims(platform=Platform.GITHUB, said=said, digest="", ends_s=0), [rule], Asked(state=state, role=role)
    )
    if isinstance(decided, Granted):
        assert said["repository_id"] in ("74", 74, ["74"]) or "74" in said["repository_id"]
        assert said["ref"] == "refs/heads/main"
        assert state == decided.state == "prod/routing"
        assert list(Role).index(decided.role) <= list(Role).index(given_role)
        assert not may_write(given_role) or said["event_name"] in PLATFORMS[Platform.GITHUB].usual
    else:
        assert decided.why


def test_a_run_is_spelled_like_the_ids_of_runs() -> None:
    from interlock.ids import RandomIds
    from interlock.testing.clock import START

    assert is_run(RandomIds().run(START))
    assert not any(map(is_run, ("", "i" * 16, "0123456789abcdeI", "0123456789abcdef\n", "../../../../../../")))

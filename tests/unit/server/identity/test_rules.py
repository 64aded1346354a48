from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from tests.unit.server.identity.test_deciding import JOBS, RULE_CLAIMS, rule_of

from interlock.errors import UsageError
from interlock.rights import Role
from interlock.server.identity.platforms import NEVER, PLATFORMS, Platform
from interlock.server.identity.rules import ALGORITHMS, Issuer, TrustRule, check_rule, warnings_of

GOOD = rule_of(Platform.GITHUB)


def refusal(rule: TrustRule) -> str:
    with pytest.raises(UsageError) as refused:
        check_rule(rule)
    return f"{refused.value}"


@pytest.mark.parametrize("platform", [platform for platform in Platform if PLATFORMS[platform].needed])
def test_a_rule_without_the_ids_of_its_platform_is_refused(platform: Platform) -> None:
    for name in PLATFORMS[platform].needed:
        claims = {each: values for each, values in RULE_CLAIMS[platform].items() if each != name}
        assert name in refusal(replace(rule_of(platform), claims=claims))


def test_a_rule_of_any_other_issuer_names_at_least_one_claim() -> None:
    assert "every job" in refusal(replace(rule_of(Platform.OTHER), claims={}))


@pytest.mark.parametrize("platform", JOBS)
@pytest.mark.parametrize("name", sorted(NEVER))
def test_no_rule_matches_sub_or_what_every_token_says(platform: Platform, name: str) -> None:
    rule = rule_of(platform)
    assert name in refusal(replace(rule, claims={**rule.claims, name: ("x",)}))


@pytest.mark.parametrize("platform", [Platform.GITHUB, Platform.GITLAB, Platform.AZURE])
def test_a_job_that_writes_is_of_a_branch_or_an_environment(platform: Platform) -> None:
    rule = rule_of(platform)
    facts = PLATFORMS[platform]
    bare = replace(rule, claims={name: rule.claims[name] for name in facts.needed})
    assert "any branch" in refusal(bare)
    check_rule(replace(bare, role=Role.PLANNER))
    for place in facts.places:
        check_rule(replace(bare, claims={**bare.claims, place: ("x",)}))


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
def test_what_is_for_persons_is_given_to_no_job(role: Role) -> None:
    assert "persons" in refusal(replace(GOOD, role=role))


@pytest.mark.parametrize("algorithms", [(), ("none",), ("HS256",), ("RS256", "HS512"), ("rs256",), ("ES256K",)])
def test_only_signatures_with_a_public_key_are_configured(algorithms: tuple[str, ...]) -> None:
    refusal(replace(GOOD, issuer=replace(GOOD.issuer, algorithms=algorithms)))
    assert not [name for name in ALGORITHMS if name.startswith("HS") or name == "none"]


@pytest.mark.parametrize(
    "url", ["", "http://issuer.example", "ftp://x", "https://", "file:///etc/passwd", " https://a"]
)
def test_keys_come_by_https_alone(url: str) -> None:
    refusal(replace(GOOD, issuer=Issuer(url=url)))
    if url:
        refusal(replace(GOOD, issuer=replace(GOOD.issuer, keys_url=url)))


@pytest.mark.parametrize(
    "url",
    [
        "https://token.actions.githubusercontent.com",
        "https://gitlab.com",
        "https://vstoken.dev.azure.com/8f3b1ab6",
        "https://login.microsoftonline.com/t/v2.0",
    ],
)
def test_a_known_issuer_is_not_passed_off_as_another_that_needs_no_ids(url: str) -> None:
    assert "is the issuer of" in refusal(replace(rule_of(Platform.OTHER), issuer=Issuer(url=url)))


@pytest.mark.parametrize(
    "claims",
    [
        {"repository_id": ("7*",)},
        {"repository_id": ("*",)},
        {"ref": ("*",)},
        {"ref": ("*/*/*",)},
        {"ref": ()},
        {"ref": ("",)},
        {"ref": ("a\nb",)},
        {"ref": ("x" * 600,)},
        {"repository": ("octo/repo",)},
        {"actor": ("ann",)},
        {"": ("x",)},
    ],
)
def test_claims_that_name_too_much_or_nothing_are_refused(claims: dict[str, tuple[str, ...]]) -> None:
    refusal(replace(GOOD, claims={**GOOD.claims, **claims}))


def test_names_and_states_are_checked() -> None:
    for name in ("", "Prod", "a b", "../x", "x" * 64, "a/b"):
        refusal(replace(GOOD, name=name))
    refusal(replace(GOOD, states="***"))
    refusal(replace(GOOD, claims={**GOOD.claims, **{f"x{number}": ("y",) for number in range(30)}}))


def test_the_issuer_that_azure_retires_is_told_before_and_after() -> None:
    rule = rule_of(Platform.AZURE)
    assert "retires" in warnings_of(rule, datetime(2027, 6, 30, tzinfo=UTC))[0]
    assert "has retired" in warnings_of(rule, datetime(2027, 7, 1, tzinfo=UTC))[0]
    assert warnings_of(GOOD, datetime(2027, 7, 1, tzinfo=UTC)) == ()


def test_one_claim_of_an_unknown_issuer_is_asked_about() -> None:
    rule = rule_of(Platform.OTHER)
    assert warnings_of(rule, datetime(2027, 1, 1, tzinfo=UTC)) == ()
    alone = replace(rule, claims={"repositoryUuid": ("{5f}",)})
    assert "branch" in warnings_of(alone, datetime(2027, 1, 1, tzinfo=UTC))[0]

from __future__ import annotations

from typing import Any

import pytest

from interlock.ci.pipeline import MAX_STATES, Pipeline, StateFacts, check_limits, read_pipeline
from interlock.errors import UsageError

STATES = {"prod/routing": StateFacts(directory="infra/routing", environment=None)}


NEEDED = {"package_sha256": "a" * 64, "plan_key": "ilwrap_" + "A" * 43}


def pipeline(section: dict[str, Any], states: dict[str, StateFacts] | None = None) -> Pipeline:
    return read_pipeline(NEEDED | section, states or STATES, server=None, interlock_version="1.2.3")


def test_an_empty_section_gives_a_pipeline() -> None:
    found = pipeline({})
    (target,) = found.targets
    assert (target.name, target.slug, target.directory) == ("prod/routing", "prod-routing", "infra/routing")
    assert (target.environment, found.branch, found.tool, found.interlock_version) == (
        "production", "main", "terraform", "1.2.3",
    )  # fmt: skip


def test_what_the_section_says_counts() -> None:
    section = {
        "branch": "trunk",
        "tofu": "1.10.0",
        "drift": False,
        "notify": True,
        "wait": "1h30m",
        "aws": {
            "region": "eu-central-1",
            "plan_role": "arn:aws:iam::111122223333:role/p",
            "apply_role": "arn:aws:iam::111122223333:role/a",
        },
    }
    found = pipeline(section, {"a": StateFacts(directory=".", environment="live")})
    assert (found.tool, found.tool_version, found.branch, found.drift_cron, found.notify, found.wait_min) == (
        "tofu", "1.10.0", "trunk", "", True, 90,
    )  # fmt: skip
    assert found.targets[0].environment == "live"
    assert found.aws is not None


def test_limits_hold_waiting_and_work_and_end_before_the_machine_does() -> None:
    found = pipeline({"wait": "60m"})
    assert found.limit_min(30) == 105


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"brunch": "main"}, "write 'branch'"),
        ({"branch": 1}, "must be text"),
        ({"branch": "a b; rm -rf /"}, "cannot go into"),
        ({"branch": "${{ secrets.X }}"}, "cannot go into"),
        ({"terraform": "latest"}, "cannot go into"),
        ({"package": "interlock; curl x"}, "cannot go into"),
        ({"wait": "soon"}, "between 1m and 24h"),
        ({"wait": "25h"}, "between 1m and 24h"),
        ({"drift": "every day"}, "cannot go into"),
        ({"notify": "yes"}, "true or false"),
        ({"aws": "role"}, "must be a mapping"),
        ({"aws": {"region": "eu-central-1"}}, "lacks plan_role, apply_role"),
        ({"aws": {"regions": "x"}}, "write 'region'"),
        ({"package_sha256": []}, "package_sha256 is missing"),
        ({"package_sha256": ["short"]}, "must be a SHA-256"),
        ({"plan_key": "ilplan_" + "A" * 86}, "cannot go into"),
        ({"image": "hashicorp/terraform:1.11.4"}, "cannot go into"),
        ({"wheel": "http://example.com/x.whl"}, "cannot go into"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(section: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        pipeline(section)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["a b", "a'b", "$(id)", "../x", "", "a\nb"])
def test_a_state_whose_name_could_be_read_by_a_shell_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        pipeline({}, {name: StateFacts(directory="x", environment=None)})


@pytest.mark.parametrize("directory", ["../x", "/etc", "a b", "a;b", "-x"])
def test_a_directory_outside_the_repository_is_refused(directory: str) -> None:
    with pytest.raises(UsageError):
        pipeline({}, {"a": StateFacts(directory=directory, environment=None)})


def test_states_that_would_share_a_job_name_are_refused() -> None:
    states = {name: StateFacts(directory=".", environment=None) for name in ("a/b", "a-b")}
    with pytest.raises(UsageError, match="same job name"):
        pipeline({}, states)


def test_nothing_to_deploy_and_too_much_are_refused() -> None:
    with pytest.raises(UsageError, match="no state to deploy"):
        pipeline({}, {"a": StateFacts(directory=None, environment=None)})
    many = {f"s{number}": StateFacts(directory=".", environment=None) for number in range(MAX_STATES + 1)}
    with pytest.raises(UsageError, match="too many"):
        pipeline({}, many)


@pytest.mark.parametrize("server", ["http://interlock.example.com", "https://u:p@x", "javascript:x"])
def test_a_server_that_is_not_plain_https_is_refused(server: str) -> None:
    with pytest.raises(UsageError):
        read_pipeline({}, STATES, server=server, interlock_version="1.0.0")


@pytest.mark.parametrize(
    ("package", "backend", "expected"),
    [
        ("interlock", "", ""),
        ("interlock", "s3", "[aws]"),
        ("interlock", "pg", "[postgres]"),
        ("interlock[aws]", "", "[aws]"),
        ("interlock[embedded]", "s3", "[aws,embedded]"),
    ],
)
def test_the_package_is_installed_with_what_the_states_need(package: str, backend: str, expected: str) -> None:
    found = pipeline({"package": package}, {"a": StateFacts(directory="x", environment=None, backend=backend)})
    assert found.extras == expected


def test_limits_that_a_hosted_job_would_cut_are_refused_and_one_of_our_own_keeps_them() -> None:
    long = pipeline({"wait": "5h", "apply_timeout": "2h"})
    assert long.limit_min(long.apply_min) == 7 * 60 + 15
    with pytest.raises(UsageError, match="435 minutes"):
        check_limits(long)
    check_limits(pipeline({"wait": "60m", "apply_timeout": "4h"}))

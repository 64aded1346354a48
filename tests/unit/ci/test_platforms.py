"""The platforms' APIs against small simulated ones: what is asked, what is understood, what is said without a token."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from interlock.ci.checks import Answer, Check
from interlock.ci.pipeline import Pipeline, Target
from interlock.ci.platforms.azure import Azure, open_azure
from interlock.ci.platforms.github import GitHub, only_file, open_github
from interlock.ci.platforms.gitlab import GitLab, open_gitlab
from interlock.ci.platforms.opening import find_vendor, identity, open_platform
from interlock.ci.workflow import Vendor
from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError

PIPELINE = Pipeline(targets=(Target(name="prod/routing", directory="infra", environment="production"),))
MARK = "<!-- interlock plan prod -->"
TOKEN = "not-a-real-token"


def github(api: Any, **more: str) -> GitHub:
    return open_github({"GITHUB_API_URL": api.url, "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": TOKEN, **more})


def gitlab(api: Any, **more: str) -> GitLab:
    return open_gitlab({"CI_API_V4_URL": api.url, "CI_PROJECT_ID": "7", "INTERLOCK_CI_TOKEN": TOKEN, **more})


def azure(api: Any, **more: str) -> Azure:
    environ = {"SYSTEM_COLLECTIONURI": f"{api.url}/org/", "SYSTEM_TEAMPROJECT": "p", "SYSTEM_ACCESSTOKEN": TOKEN}
    return open_azure({**environ, **more})


def answers(checks: list[Check]) -> list[tuple[str, str]]:
    return [(check.subject, check.answer.value) for check in checks]


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


# -- GitHub ----------------------------------------------------------------------------------------------------------

ENVIRONMENT = "/repos/o/r/environments/production"


def test_a_protected_github_environment_is_good(fake_api: Any) -> None:
    rules = [{"type": "wait_timer"}, {"type": "required_reviewers", "reviewers": [{"type": "Team"}]}]
    fake_api.on(
        "GET", ENVIRONMENT, {"protection_rules": rules, "deployment_branch_policy": {"protected_branches": True}}
    )
    assert answers(list(github(fake_api).checks(PIPELINE))) == [("environment production", "good")] * 2
    assert fake_api.seen[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"protection_rules": []}, ["wrong", "wrong"]),
        ({"protection_rules": [{"type": "required_reviewers", "reviewers": []}]}, ["wrong", "wrong"]),
        (
            {"protection_rules": [], "deployment_branch_policy": {"custom_branch_policies": True}},
            ["wrong", "good"],
        ),
    ],
)
def test_an_unprotected_github_environment_is_wrong(fake_api: Any, answer: object, expected: list[str]) -> None:
    fake_api.on("GET", ENVIRONMENT, answer)
    found = list(github(fake_api).checks(PIPELINE))
    assert [check.answer.value for check in found] == expected
    assert all(check.fix for check in found if check.answer is Answer.WRONG)


def test_a_missing_github_environment_is_wrong(fake_api: Any) -> None:
    assert answers(list(github(fake_api).checks(PIPELINE))) == [("environment production", "wrong")]


def test_what_a_token_may_not_read_is_unknown(fake_api: Any) -> None:
    fake_api.on("GET", ENVIRONMENT, {}, status=403)
    (check,) = github(fake_api).checks(PIPELINE)
    assert check.answer is Answer.UNKNOWN
    assert TOKEN not in f"{check} {github(fake_api)}"


def test_a_github_comment_is_made_once_and_then_replaced(fake_api: Any, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 5}}))
    comments = "/repos/o/r/issues/5/comments"
    fake_api.on("GET", comments, [{"id": 1, "body": "hello"}])
    fake_api.on("POST", comments, {"html_url": "https://x/1"})
    hub = github(fake_api, GITHUB_EVENT_PATH=str(event))
    assert hub.comment(f"{MARK}\nnew", MARK) == "https://x/1"
    fake_api.on("GET", comments, [{"id": 1, "body": "hello"}, {"id": 2, "body": f"{MARK}\nold"}])
    fake_api.on("PATCH", "/repos/o/r/issues/comments/2", {"html_url": "https://x/2"})
    assert hub.comment(f"{MARK}\nnewer", MARK) == "https://x/2"
    assert [request.json()["body"] for request in fake_api.sent("PATCH")] == [f"{MARK}\nnewer"]


def test_a_github_job_without_a_pull_request_says_so(fake_api: Any) -> None:
    with pytest.raises(UsageError, match="no pull request"):
        github(fake_api).comment("x", MARK)


def test_the_newest_plan_of_our_own_branches_is_fetched(fake_api: Any) -> None:
    def artifact(number: int, at: str, *, head: int = 1, expired: bool = False) -> dict[str, object]:
        run = {"head_repository_id": head, "repository_id": 1}
        return {"id": number, "name": "n", "created_at": at, "expired": expired, "workflow_run": run}

    listed = [
        artifact(1, "2026-01-01"),
        artifact(2, "2026-01-03"),
        artifact(3, "2026-01-04", head=666),
        artifact(4, "2026-01-05", expired=True),
    ]
    fake_api.on("GET", "/repos/o/r/actions/artifacts", {"artifacts": listed})
    fake_api.on("GET", "/repos/o/r/actions/artifacts/2/zip", zipped("plan.bin.sealed", b"sealed"))
    assert github(fake_api).fetch("n") == b"sealed"
    assert fake_api.seen[0].query["name"] == "n"


def test_no_plan_is_none(fake_api: Any) -> None:
    fake_api.on("GET", "/repos/o/r/actions/artifacts", {"artifacts": []})
    assert github(fake_api).fetch("n") is None


# With names: a zip holds the time of its making, and workers must collect the same names.
@pytest.mark.parametrize("archive", [b"", b"not a zip", zipped("a", b"x")[:-10]], ids=["empty", "other", "cut"])
def test_a_broken_archive_is_refused(archive: bytes) -> None:
    with pytest.raises(UsageError):
        only_file(archive)


def test_the_identity_of_a_github_job_needs_no_other_token(fake_api: Any) -> None:
    fake_api.on("GET", "/oidc", {"value": "jwt"})
    environ = {
        "GITHUB_ACTIONS": "true",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{fake_api.url}/oidc?v=2",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t",
    }
    assert identity(environ, "interlock") == "jwt"
    assert fake_api.seen[0].query == {"v": "2", "audience": "interlock"}
    assert fake_api.seen[0].headers["authorization"] == "Bearer t"
    with pytest.raises(UsageError, match="identity"):
        identity({"GITHUB_ACTIONS": "true"}, "interlock")


# -- GitLab ----------------------------------------------------------------------------------------------------------

GROUP = "/projects/7/resource_groups/interlock-prod-routing"
PROTECTED = "/projects/7/protected_environments/production"
SCHEDULES = "/projects/7/pipeline_schedules"


def test_an_ordered_gitlab_project_is_good(fake_api: Any) -> None:
    fake_api.on("GET", GROUP, {"process_mode": "oldest_first"})
    fake_api.on("GET", PROTECTED, {"required_approval_count": 1})
    fake_api.on("GET", SCHEDULES, [{"active": True}])
    found = list(gitlab(fake_api).checks(PIPELINE))
    assert [check.answer for check in found] == [Answer.GOOD] * 3
    assert fake_api.seen[0].headers["private-token"] == TOKEN


def test_an_unordered_gitlab_project_is_wrong_and_can_be_repaired(fake_api: Any) -> None:
    fake_api.on("GET", GROUP, {"process_mode": "unordered"})
    fake_api.on("PUT", GROUP, {"process_mode": "oldest_first"})
    fake_api.on("GET", SCHEDULES, [])
    found = list(gitlab(fake_api).checks(PIPELINE))
    assert [check.answer for check in found] == [Answer.WRONG] * 3
    assert fake_api.sent("PUT") == []
    repaired = list(gitlab(fake_api).checks(PIPELINE, repair=True))
    assert repaired[0].answer is Answer.GOOD
    assert [request.query for request in fake_api.sent("PUT")] == [{"process_mode": "oldest_first"}]


def test_a_group_that_no_job_used_yet_is_unknown(fake_api: Any) -> None:
    assert next(gitlab(fake_api).checks(PIPELINE)).answer is Answer.UNKNOWN


def test_a_gitlab_note_is_made_once_and_then_replaced(fake_api: Any) -> None:
    notes = "/projects/7/merge_requests/3/notes"
    lab = gitlab(fake_api, CI_MERGE_REQUEST_IID="3")
    fake_api.on("GET", notes, [])
    fake_api.on("POST", notes, {"id": 9})
    lab.comment(f"{MARK}\nnew", MARK)
    fake_api.on("GET", notes, [{"id": 9, "body": f"{MARK}\nold"}])
    fake_api.on("PUT", f"{notes}/9", {"id": 9})
    lab.comment(f"{MARK}\nnewer", MARK)
    assert [request.method for request in fake_api.seen] == ["GET", "POST", "GET", "PUT"]
    with pytest.raises(UsageError, match="no merge request"):
        gitlab(fake_api).comment("x", MARK)


def test_a_plan_goes_through_gitlabs_package_registry(fake_api: Any) -> None:
    path = "/projects/7/packages/generic/interlock-plans/n/plan.sealed"
    lab = gitlab(fake_api, CI_JOB_TOKEN="job")
    assert lab.fetch("n") is None
    fake_api.on("PUT", path, {"message": "201 Created"}, status=201)
    lab.publish("n", b"\0sealed")
    fake_api.on("GET", path, b"\0sealed")
    assert lab.fetch("n") == b"\0sealed"
    assert fake_api.sent("PUT")[0].body == b"\0sealed"
    assert {request.headers.get("job-token") for request in fake_api.seen} == {"job"}


def test_the_identity_of_a_gitlab_job() -> None:
    assert identity({"GITLAB_CI": "true", "INTERLOCK_ID_TOKEN": "jwt"}, "interlock") == "jwt"
    with pytest.raises(UsageError, match="identity"):
        identity({"GITLAB_CI": "true"}, "interlock")


# -- Azure DevOps ----------------------------------------------------------------------------------------------------

ENVIRONMENTS = "/org/p/_apis/distributedtask/environments"
CHECKS = "/org/p/_apis/pipelines/checks/configurations"


def test_azure_environments_are_looked_at(fake_api: Any) -> None:
    fake_api.on("GET", ENVIRONMENTS, {"value": [{"id": 4, "name": "production"}]})
    fake_api.on("GET", CHECKS, {"value": [{"type": {"name": "ExclusiveLock"}}, {"type": {"name": "Approval"}}]})
    assert [check.answer for check in azure(fake_api).checks(PIPELINE)] == [Answer.GOOD] * 2
    assert fake_api.seen[1].query["resourceId"] == "4"
    fake_api.on("GET", CHECKS, {"value": []})
    assert [check.answer for check in azure(fake_api).checks(PIPELINE)] == [Answer.WRONG] * 2
    fake_api.on("GET", ENVIRONMENTS, {"value": []})
    assert [check.answer for check in azure(fake_api).checks(PIPELINE)] == [Answer.WRONG]


def test_an_azure_thread_is_made_once_and_then_replaced(fake_api: Any) -> None:
    threads = "/org/p/_apis/git/repositories/r/pullRequests/8/threads"
    service = azure(fake_api, SYSTEM_PULLREQUEST_PULLREQUESTID="8", BUILD_REPOSITORY_ID="r")
    fake_api.on("GET", threads, {"value": [{"id": 1, "comments": [{"id": 1, "content": None}]}]})
    fake_api.on("POST", threads, {"id": 2})
    assert service.comment(f"{MARK}\nnew", MARK) == "8"
    fake_api.on("GET", threads, {"value": [{"id": 2, "comments": [{"id": 1, "content": f"{MARK}\nold"}]}]})
    fake_api.on("PATCH", f"{threads}/2/comments/1", {"id": 1})
    service.comment(f"{MARK}\nnewer", MARK)
    assert [request.method for request in fake_api.seen] == ["GET", "POST", "GET", "PATCH"]
    with pytest.raises(UsageError, match="no pull request"):
        azure(fake_api, SYSTEM_PULLREQUEST_PULLREQUESTID="8", BUILD_REPOSITORY_PROVIDER="GitHub").comment("x", MARK)


def test_a_plan_is_found_in_the_newest_build_that_has_it(fake_api: Any) -> None:
    fake_api.on("GET", "/org/p/_apis/build/builds", {"value": [{"id": 3}, {"id": 2}]})
    resource = {"downloadUrl": f"{fake_api.url}/content?format=zip"}
    fake_api.on("GET", "/org/p/_apis/build/builds/2/artifacts", {"resource": resource})
    fake_api.on("GET", "/content", zipped("n/plan.bin.sealed", b"sealed"))
    assert azure(fake_api, SYSTEM_DEFINITIONID="1").fetch("n") == b"sealed"


def test_the_identity_of_an_azure_job(fake_api: Any) -> None:
    fake_api.on("POST", "/oidc", {"oidcToken": "jwt"})
    environ = {"TF_BUILD": "True", "SYSTEM_OIDCREQUESTURI": f"{fake_api.url}/oidc", "SYSTEM_ACCESSTOKEN": TOKEN}
    assert identity(environ, "interlock") == "jwt"
    with pytest.raises(UsageError, match="SYSTEM_ACCESSTOKEN"):
        identity({**environ, "SYSTEM_ACCESSTOKEN": ""}, "interlock")


def test_outside_ci_there_is_no_identity() -> None:
    with pytest.raises(UsageError, match="no job"):
        identity({}, "interlock")


# -- all -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "vendor", "words"),
    [
        ({}, Vendor.GITHUB, "GITHUB_TOKEN"),
        ({"GITHUB_TOKEN": "x"}, Vendor.GITHUB, "GITHUB_REPOSITORY"),
        ({}, Vendor.GITLAB, "INTERLOCK_CI_TOKEN"),
        ({"SYSTEM_COLLECTIONURI": "https://x/", "SYSTEM_TEAMPROJECT": "p"}, Vendor.AZURE, "SYSTEM_ACCESSTOKEN"),
        ({}, None, "--platform"),
    ],
)
def test_without_a_token_the_variable_is_named(environ: dict[str, str], vendor: Vendor | None, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_platform(environ, vendor)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "vendor"),
    [
        ({"GITHUB_ACTIONS": "true"}, Vendor.GITHUB),
        ({"GITLAB_CI": "true"}, Vendor.GITLAB),
        ({"TF_BUILD": "True"}, Vendor.AZURE),
        ({}, None),
    ],
)
def test_the_platform_is_known_by_its_variables(environ: dict[str, str], vendor: Vendor | None) -> None:
    assert find_vendor(environ) is vendor


def test_a_refused_token_and_a_broken_server_are_told_apart(fake_api: Any) -> None:
    fake_api.on("GET", "/repos/o/r/actions/artifacts", {}, status=401)
    with pytest.raises(AuthenticationFailed):
        github(fake_api).fetch("n")
    fake_api.on("GET", "/repos/o/r/actions/artifacts", {}, status=502)
    with pytest.raises(BackendUnavailable):
        github(fake_api).fetch("n")
    fake_api.on("GET", "/repos/o/r/actions/artifacts", b"<html>")
    with pytest.raises(BackendUnavailable, match="not JSON"):
        github(fake_api).fetch("n")


def test_a_server_that_is_not_there_is_said(fake_api: Any) -> None:
    hub = open_github({"GITHUB_API_URL": "http://127.0.0.1:9", "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": TOKEN})
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        hub.fetch("n")


def test_an_address_of_another_kind_is_refused() -> None:
    hub = open_github({"GITHUB_API_URL": "file:///etc", "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": TOKEN})
    with pytest.raises(UsageError):
        hub.fetch("n")

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
from interlock.ci.reviewed import Source
from interlock.ci.workflow import Vendor
from interlock.errors import AuthenticationFailed, BackendUnavailable, PolicyGate, UsageError

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
LIMITED = {"deployment_branch_policy": {"protected_branches": True}}


def seal_environment(api: Any, answer: object = LIMITED) -> None:
    api.on("GET", f"{ENVIRONMENT}-seal", answer)


def test_a_protected_github_environment_is_good(fake_api: Any) -> None:
    rules = [{"type": "wait_timer"}, {"type": "required_reviewers", "reviewers": [{"type": "Team"}]}]
    fake_api.on(
        "GET", ENVIRONMENT, {"protection_rules": rules, "deployment_branch_policy": {"protected_branches": True}}
    )
    seal_environment(fake_api)
    found = answers(list(github(fake_api).checks(PIPELINE)))
    assert found == [("environment production", "good")] * 2 + [("environment production-seal", "good")]
    assert fake_api.seen[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"protection_rules": []}, ["wrong", "wrong"]),
        ({"protection_rules": [{"type": "required_reviewers", "reviewers": []}]}, ["wrong", "wrong"]),
        (
            {"protection_rules": [], "deployment_branch_policy": {"protected_branches": True}},
            ["wrong", "good"],
        ),
    ],
)
def test_an_unprotected_github_environment_is_wrong(fake_api: Any, answer: object, expected: list[str]) -> None:
    fake_api.on("GET", ENVIRONMENT, answer)
    seal_environment(fake_api, {"protection_rules": []})
    found = list(github(fake_api).checks(PIPELINE))
    assert [check.answer.value for check in found] == [*expected, "wrong"]
    assert all(check.fix for check in found if check.answer is Answer.WRONG)


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([{"name": "main", "type": "branch"}], "good"),
        ([{"name": "*"}], "wrong"),
        ([{"name": "main"}, {"name": "release/*"}], "wrong"),
        ([{"name": "main", "type": "tag"}], "wrong"),
        ([], "wrong"),
        (None, "unknown"),
    ],
)
def test_a_policy_of_chosen_branches_is_good_only_for_the_branch_alone(
    fake_api: Any, policies: object, expected: str
) -> None:
    rules = [{"type": "required_reviewers", "reviewers": [{"type": "Team"}]}]
    custom = {"protection_rules": rules, "deployment_branch_policy": {"custom_branch_policies": True}}
    fake_api.on("GET", ENVIRONMENT, custom)
    seal_environment(fake_api)
    if policies is not None:
        fake_api.on("GET", f"{ENVIRONMENT}/deployment-branch-policies", {"branch_policies": policies})
    assert [check.answer.value for check in github(fake_api).checks(PIPELINE)] == ["good", expected, "good"]


def test_a_missing_github_environment_is_wrong(fake_api: Any) -> None:
    found = answers(list(github(fake_api).checks(PIPELINE)))
    assert found == [("environment production", "wrong"), ("environment production-seal", "wrong")]


def test_what_a_token_may_not_read_is_unknown(fake_api: Any) -> None:
    fake_api.on("GET", ENVIRONMENT, {}, status=403)
    seal_environment(fake_api)
    check, _ = github(fake_api).checks(PIPELINE)
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


RUN = {"id": 50, "head_sha": "d" * 40, "event": "pull_request", "head_repository": {"full_name": "o/r"}}
PULL = {
    "number": 5,
    "merged_at": "2026-11-30T12:00:00Z",
    "merge_commit_sha": "c" * 40,
    "base": {"ref": "main"},
    "head": {"sha": "d" * 40, "repo": {"full_name": "o/r"}},
}
RUNS = "/repos/o/r/actions/workflows/interlock-plan.yml/runs"
REVIEWS = "/repos/o/r/pulls/5/reviews"


def artifact(number: int, at: str, name: str = "interlock-plan-prod-1", **more: object) -> dict[str, object]:
    return {"id": number, "name": name, "created_at": f"2026-11-30T{at}:00Z", "expired": False, **more}


@pytest.fixture
def merged(fake_api: Any) -> Any:
    """A merged pull request of this repository with one plan, made an hour before the merge."""
    fake_api.on("GET", f"/repos/o/r/commits/{'c' * 40}/pulls", [PULL])
    for commit in ("c" * 40, "d" * 40):
        fake_api.on("GET", f"/repos/o/r/git/commits/{commit}", {"tree": {"sha": "a" * 40}})
    fake_api.on("GET", RUNS, {"workflow_runs": [RUN]})
    fake_api.on("GET", "/repos/o/r/actions/runs/50/artifacts", {"artifacts": [artifact(1, "11:00")]})
    for number in (1, 2, 3):
        content = zipped("plan.bin.wrapped", f"plan {number}".encode())
        fake_api.on("GET", f"/repos/o/r/actions/artifacts/{number}/zip", content)
    return fake_api


def source(api: Any, **more: str) -> Source:
    environ = {"GITHUB_SHA": "c" * 40, "GITHUB_RUN_ID": "90", "GITHUB_EVENT_NAME": "push", **more}
    return github(api, **environ).source("prod", state="prod", branch="main")


@pytest.mark.promise("P11")
def test_the_plan_of_the_merged_pull_request_is_found_by_run_and_commit(merged: Any) -> None:
    found = source(merged)
    assert (found.run, found.attempt, found.commit, found.tree) == ("50", "1", "d" * 40, "a" * 40)
    assert found.wrapped == b"plan 1"


@pytest.mark.promise("P11")
def test_a_plan_of_a_repetition_after_the_approval_is_not_taken(merged: Any) -> None:
    both = [artifact(1, "11:00"), artifact(2, "11:40", "interlock-plan-prod-2")]
    merged.on("GET", "/repos/o/r/actions/runs/50/artifacts", {"artifacts": both})
    approval = {"state": "APPROVED", "commit_id": "d" * 40, "submitted_at": "2026-11-30T11:30:00Z"}
    merged.on("GET", REVIEWS, [approval])
    assert source(merged).wrapped == b"plan 1"
    merged.on("GET", REVIEWS, [])
    assert source(merged).attempt == "2"
    merged.on("GET", "/repos/o/r/actions/runs/50/artifacts", {"artifacts": both[1:]})
    merged.on("GET", REVIEWS, [approval])
    with pytest.raises(PolicyGate, match="no reviewed plan"):
        source(merged)


@pytest.mark.promise("P11")
@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (f"/repos/o/r/commits/{'c' * 40}/pulls", []),
        (f"/repos/o/r/commits/{'c' * 40}/pulls", [{**PULL, "merged_at": None}]),
        (f"/repos/o/r/commits/{'c' * 40}/pulls", [{**PULL, "merge_commit_sha": "e" * 40}]),
        (f"/repos/o/r/commits/{'c' * 40}/pulls", [{**PULL, "base": {"ref": "other"}}]),
        (f"/repos/o/r/commits/{'c' * 40}/pulls", [{**PULL, "head": {"sha": "d" * 40, "repo": {"full_name": "f/r"}}}]),
        (f"/repos/o/r/git/commits/{'d' * 40}", {"tree": {"sha": "b" * 40}}),
        (RUNS, {"workflow_runs": []}),
        (RUNS, {"workflow_runs": [{**RUN, "head_repository": {"full_name": "f/r"}}]}),
        (RUNS, {"workflow_runs": [{**RUN, "head_sha": "e" * 40}]}),
        (RUNS, {"workflow_runs": [{**RUN, "event": "workflow_dispatch"}]}),
        ("/repos/o/r/actions/runs/50/artifacts", {"artifacts": [artifact(1, "11:00", "interlock-plan-other-1")]}),
        ("/repos/o/r/actions/runs/50/artifacts", {"artifacts": [artifact(1, "11:00", expired=True)]}),
        (REVIEWS, [{"state": "APPROVED", "commit_id": "e" * 40, "submitted_at": "2026-11-30T11:30:00Z"}]),
    ],
)
def test_a_plan_that_nobody_reviewed_for_these_files_is_refused(merged: Any, path: str, answer: object) -> None:
    merged.on("GET", path, answer)
    with pytest.raises(PolicyGate, match="no reviewed plan"):
        source(merged)


def test_by_hand_only_the_plan_of_this_very_run_counts(merged: Any) -> None:
    merged.on("GET", "/repos/o/r/actions/runs/90/artifacts", {"artifacts": [artifact(3, "11:00")]})
    found = source(merged, GITHUB_EVENT_NAME="workflow_dispatch")
    assert (found.run, found.commit, found.wrapped) == ("90", "c" * 40, b"plan 3")


def test_an_artifact_of_another_run_is_never_this_runs_own(merged: Any) -> None:
    own = github(merged, GITHUB_RUN_ID="90")
    assert own.own("interlock-sealed-prod") is None
    found = {"artifacts": [artifact(3, "11:00", "interlock-sealed-prod")]}
    merged.on("GET", "/repos/o/r/actions/runs/90/artifacts", found)
    assert own.own("interlock-sealed-prod") == b"plan 3"


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


def schedule(api: Any, variables: dict[str, str] | None, *, ref: str = "refs/heads/main") -> None:
    """Let the project have one schedule; None: its variables are not shown."""
    api.on("GET", SCHEDULES, [{"id": 1, "active": True, "ref": ref}])
    shown = {} if variables is None else {"variables": [{"key": k, "value": v} for k, v in variables.items()]}
    api.on("GET", f"{SCHEDULES}/1", shown)


@pytest.mark.parametrize(
    ("variables", "ref", "expected"),
    [
        ({"INTERLOCK_DRIFT": "1"}, "main", Answer.GOOD),
        ({}, "main", Answer.WRONG),
        ({"INTERLOCK_DRIFT": "1"}, "refs/heads/feature", Answer.WRONG),
        (None, "main", Answer.UNKNOWN),
    ],
    ids=["ours", "somebody else's", "another branch", "hidden"],
)
def test_only_our_own_schedule_counts(
    fake_api: Any, variables: dict[str, str] | None, ref: str, expected: Answer
) -> None:
    schedule(fake_api, variables, ref=ref)
    assert list(gitlab(fake_api).checks(PIPELINE))[-1].answer is expected


def test_an_approval_rule_that_asks_nobody_is_told(fake_api: Any) -> None:
    fake_api.on("GET", PROTECTED, {"approval_rules": [{"required_approvals": 0}]})
    assert "nobody is asked" in list(gitlab(fake_api).checks(PIPELINE))[1].message


def test_an_ordered_gitlab_project_is_good(fake_api: Any) -> None:
    fake_api.on("GET", GROUP, {"process_mode": "oldest_first"})
    fake_api.on("GET", PROTECTED, {"required_approval_count": 1})
    schedule(fake_api, {"INTERLOCK_DRIFT": "1"})
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
    for off in ([], [{"type": {"name": "Approval"}, "isDisabled": True}]):
        fake_api.on("GET", CHECKS, {"value": off})
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


@pytest.mark.promise("P11")
def test_the_plan_of_the_completed_pull_request_is_found_in_its_own_build(fake_api: Any) -> None:
    pull = {"pullRequestId": 8, "closedDate": "2026-11-30T12:00:00Z", "lastMergeCommit": {"commitId": "c" * 40}}
    pull["lastMergeSourceCommit"] = {"commitId": "d" * 40}
    repository = "/org/p/_apis/git/repositories/r"
    build = {"id": 3, "finishTime": "2026-11-30T11:00:00Z", "sourceVersion": "e" * 40}
    build["triggerInfo"] = {"pr.sourceSha": "d" * 40}
    later = {**build, "id": 4, "finishTime": "2026-11-30T12:30:00Z"}
    running = {**build, "id": 5, "finishTime": None}
    foreign = {**build, "id": 6, "triggerInfo": {"pr.sourceSha": "f" * 40}}
    fake_api.on("GET", f"{repository}/pullrequests", {"value": [pull]})
    fake_api.on("GET", "/org/p/_apis/build/builds", {"value": [running, later, foreign, build]})
    for number in (3, 4, 5, 6):
        resource = {"downloadUrl": f"{fake_api.url}/content/{number}"}
        found = {"value": [{"name": "interlock-plan-prod-1", "resource": resource}]}
        fake_api.on("GET", f"/org/p/_apis/build/builds/{number}/artifacts", found)
        fake_api.on("GET", f"/content/{number}", zipped("a/plan.bin.wrapped", f"plan {number}".encode()))
    for commit in ("c" * 40, "e" * 40):
        fake_api.on("GET", f"{repository}/commits/{commit}", {"treeId": "a" * 40})
    job = {"SYSTEM_DEFINITIONID": "1", "BUILD_REPOSITORY_ID": "r", "BUILD_SOURCEVERSION": "c" * 40}
    taken = azure(fake_api, **job).source("prod", state="prod", branch="main")
    assert (taken.run, taken.attempt, taken.commit, taken.wrapped) == ("3", "1", "e" * 40, b"plan 3")
    fake_api.on("GET", f"{repository}/commits/{'e' * 40}", {"treeId": "b" * 40})
    with pytest.raises(PolicyGate, match="no reviewed plan"):
        azure(fake_api, **job).source("prod", state="prod", branch="main")
    fake_api.on("GET", f"{repository}/pullrequests", {"value": [{**pull, "forkSource": {}}]})
    fake_api.on("GET", f"{repository}/pullrequests", {"value": []})
    with pytest.raises(PolicyGate, match="nobody reviewed"):
        azure(fake_api, **job).source("prod", state="prod", branch="main")


def test_the_identity_of_an_azure_job(fake_api: Any) -> None:
    fake_api.on("POST", "/oidc", {"oidcToken": "jwt"})
    environ = {"TF_BUILD": "True", "SYSTEM_OIDCREQUESTURI": f"{fake_api.url}/oidc", "SYSTEM_ACCESSTOKEN": TOKEN}
    assert identity(environ, "interlock") == "jwt"
    with pytest.raises(UsageError, match="SYSTEM_ACCESSTOKEN"):
        identity({**environ, "SYSTEM_ACCESSTOKEN": ""}, "interlock")


def test_outside_ci_there_is_no_identity() -> None:
    with pytest.raises(UsageError, match="not a job"):
        identity({}, "interlock")


# -- all -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "vendor", "words"),
    [
        ({}, Vendor.GITHUB, "GITHUB_TOKEN"),
        ({"GITHUB_TOKEN": "x"}, Vendor.GITHUB, "GITHUB_REPOSITORY"),
        ({}, Vendor.GITLAB, "INTERLOCK_CI_TOKEN"),
        ({"SYSTEM_COLLECTIONURI": "https://x/", "SYSTEM_TEAMPROJECT": "p"}, Vendor.AZURE, "SYSTEM_ACCESSTOKEN"),
        ({}, None, "run it in a job of the pipeline"),
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
    fake_api.on("GET", "/repos/o/r/actions/runs/90/artifacts", {}, status=401)
    with pytest.raises(AuthenticationFailed):
        github(fake_api, GITHUB_RUN_ID="90").own("n")
    fake_api.on("GET", "/repos/o/r/actions/runs/90/artifacts", {}, status=502)
    with pytest.raises(BackendUnavailable):
        github(fake_api, GITHUB_RUN_ID="90").own("n")
    fake_api.on("GET", "/repos/o/r/actions/runs/90/artifacts", b"<html>")
    with pytest.raises(BackendUnavailable, match="not JSON"):
        github(fake_api, GITHUB_RUN_ID="90").own("n")


def test_a_comment_that_the_platform_does_not_take_is_never_done(fake_api: Any, tmp_path: Path) -> None:
    """404 is what a token gets that may not see the place; a job was green without a comment."""
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 5}}))
    with pytest.raises(AuthenticationFailed, match="404"):
        github(fake_api, GITHUB_EVENT_PATH=str(event)).comment("x", MARK)
    with pytest.raises(AuthenticationFailed, match="404"):
        gitlab(fake_api, CI_MERGE_REQUEST_IID="7").comment("x", MARK)
    with pytest.raises(AuthenticationFailed, match="404"):
        azure(fake_api, SYSTEM_PULLREQUEST_PULLREQUESTID="7", BUILD_REPOSITORY_ID="r").comment("x", MARK)


@pytest.mark.parametrize(
    ("status", "headers"),
    [(203, {"Content-Type": "text/html; charset=utf-8"}), (302, {"Location": "https://x.example/_signin?realm=y"})],
)
def test_a_sign_in_page_is_a_refused_token(fake_api: Any, status: int, headers: dict[str, str]) -> None:
    path = "/repos/o/r/actions/runs/90/artifacts"
    fake_api.on("GET", path, b"<html>sign in</html>", status=status)
    fake_api.more_headers["GET", path] = headers
    with pytest.raises(AuthenticationFailed):
        github(fake_api, GITHUB_RUN_ID="90").own("n")


def test_a_server_that_is_not_there_is_said(fake_api: Any) -> None:
    hub = open_github(
        {
            "GITHUB_API_URL": "http://127.0.0.1:9",
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_RUN_ID": "90",
        }
    )
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        hub.own("n")


def test_an_address_of_another_kind_is_refused() -> None:
    hub = open_github(
        {"GITHUB_API_URL": "file:///etc", "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": TOKEN, "GITHUB_RUN_ID": "90"}
    )
    with pytest.raises(UsageError):
        hub.own("n")

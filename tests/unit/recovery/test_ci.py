from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from interlock.ci.job import JobReference, parse_job
from interlock.recovery import Evidence, Says
from interlock.recovery.witnesses import ci
from interlock.recovery.witnesses.ci import Trust
from interlock.recovery.witnesses.ci_sighting import Machine, Sighting, Stage
from interlock.testing.answers import AnswerServer, Told

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
EARLIER = "2026-11-24T02:30:00Z"
JUST_NOW = "2026-11-24T02:58:00Z"
OURS = datetime(1999, 1, 1, tzinfo=UTC)  # our own clock is wrong, and it must not matter


def ask(
    url: str, environ: dict[str, str] | None = None, *, ephemeral: bool = False, since: datetime | None = None
) -> Evidence:
    job = parse_job(url)
    assert job is not None
    vouched = {"INTERLOCK_CI_SERVERS": job.server} if environ is None else environ
    return ci.collect(job, vouched, now=OURS, trust=Trust(ephemeral_runners=ephemeral), held_since=since)


# -- GitHub -----------------------------------------------------------------------------------------------------------


def github_job(**more: Any) -> dict[str, Any]:
    return {
        "name": "apply",
        "status": "completed",
        "conclusion": "cancelled",
        "started_at": "2026-11-24T02:00:00Z",
        "completed_at": EARLIER,
        "labels": ["ubuntu-24.04"],
        "runner_name": "GitHub Actions 7",
        "runner_group_name": "GitHub Actions",
        **more,
    }


def github(api: AnswerServer, run: dict[str, Any], *jobs: dict[str, Any], total: int | None = None) -> str:
    base = "/api/v3/repos/o/r/actions/runs/7/attempts/2"
    listed = {"total_count": len(jobs) if total is None else total, "jobs": list(jobs)}
    api.routes({base: run, f"{base}/jobs": listed})
    return f"{api.url}/o/r/actions/runs/7/attempts/2"


def test_a_cancelled_job_on_githubs_own_runner_is_gone(api: AnswerServer) -> None:
    found = ask(github(api, {"status": "completed", "conclusion": "cancelled"}, github_job()))
    assert found.says is Says.GONE
    assert "30 minutes ago" in found.text
    assert found.source.endswith("/runs/7/attempts/2")


@pytest.mark.parametrize(
    "more",
    [
        {"labels": ["self-hosted", "linux"], "runner_group_name": "Default", "runner_name": "vm-17"},
        {"labels": ["big"], "runner_group_name": "larger runners", "runner_name": "vm-17"},
        {"labels": ["self-hosted"], "runner_name": "vm-17"},
    ],
)
def test_a_cancelled_job_on_a_machine_that_outlives_it_says_nothing(api: AnswerServer, more: dict[str, Any]) -> None:
    url = github(api, {"status": "completed", "conclusion": "cancelled"}, github_job(), github_job(**more))
    found = ask(url)
    assert found.says is Says.NOTHING
    assert "on vm-17: interlock lock explain" in found.how_to
    assert ask(url, ephemeral=True).says is Says.GONE


def test_a_job_that_ended_a_moment_ago_says_nothing_yet(api: AnswerServer) -> None:
    found = ask(github(api, {"status": "completed", "conclusion": "failure"}, github_job(completed_at=JUST_NOW)))
    assert found.says is Says.NOTHING
    assert "wait 240s" in found.how_to


def test_a_run_with_a_job_under_way_is_alive(api: AnswerServer) -> None:
    running = github_job(status="in_progress", conclusion=None, completed_at=None)
    assert ask(github(api, {"status": "in_progress"}, github_job(), running)).says is Says.ALIVE


def test_a_run_that_waits_while_none_of_its_jobs_runs_says_nothing_until_the_job_is_named(api: AnswerServer) -> None:
    found = ask(github(api, {"status": "waiting"}, github_job()))
    assert found.says is Says.NOTHING
    assert "/job/JOB" in found.how_to
    api.routes({"/api/v3/repos/o/r/actions/jobs/99": github_job()})
    assert ask(f"{api.url}/o/r/actions/runs/7/job/99").says is Says.GONE


def test_jobs_that_were_not_listed_leave_their_machines_unknown(api: AnswerServer) -> None:
    found = ask(github(api, {"status": "completed", "conclusion": "success"}, github_job(), total=150))
    assert found.says is Says.NOTHING


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_an_api_that_refuses_us_or_is_down_says_nothing(api: AnswerServer, status: int) -> None:
    api.answer = lambda _: Told(status=status, body={"message": "no"})
    for url in (
        f"{api.url}/o/r/actions/runs/7",
        f"{api.url}/g/p/-/jobs/8",
        f"{api.url}/org/proj/_build/results?buildId=9",
    ):
        found = ask(url)
        assert found.says is Says.NOTHING
        assert found.how_to


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"3", b'{"status": "completed", "jobs": 5}', b'{"status": 1}'])
def test_an_answer_that_makes_no_sense_says_nothing(api: AnswerServer, body: bytes) -> None:
    api.answer = lambda _: Told(body=body)
    for url in (f"{api.url}/o/r/actions/runs/7", f"{api.url}/g/p/-/jobs/8", f"{api.url}/o/p/_build/results?buildId=9"):
        assert ask(url).says is Says.NOTHING


def test_a_server_that_is_not_there_says_nothing() -> None:
    assert ask("http://127.0.0.1:1/o/r/actions/runs/7").says is Says.NOTHING


def test_our_token_goes_only_to_our_own_server_and_to_those_that_are_named(api: AnswerServer) -> None:
    url = github(api, {"status": "completed", "conclusion": "cancelled"}, github_job())
    ask(url, {"GITHUB_TOKEN": "secret-token"})
    assert api.calls == []
    ask(url, {"GITHUB_TOKEN": "secret-token", "INTERLOCK_CI_SERVERS": f"https://elsewhere {api.url}/"})
    assert api.calls[-1].headers["authorization"] == "Bearer secret-token"
    ask(url, {"GITHUB_TOKEN": "secret-token", "GITHUB_SERVER_URL": api.url, "GITHUB_API_URL": f"{api.url}/api/v3"})
    assert api.calls[-1].headers["authorization"] == "Bearer secret-token"


def test_a_token_for_gitlab_is_not_sent_to_a_server_that_a_lock_names(api: AnswerServer) -> None:
    url = gitlab(api, status="running")
    ask(url, {"GITLAB_TOKEN": "secret-token", "CI_SERVER_URL": "https://gitlab.example.com"})
    assert api.calls == []
    ask(url, {"GITLAB_TOKEN": "secret-token", "CI_SERVER_URL": api.url})
    assert api.calls[-1].headers["private-token"] == "secret-token"


# -- GitLab -----------------------------------------------------------------------------------------------------------


def gitlab(api: AnswerServer, **job: Any) -> str:
    api.routes({"/api/v4/projects/g%2Fp/jobs/8": job})
    return f"{api.url}/g/p/-/jobs/8"


@pytest.mark.parametrize("status", ["running", "canceling"])
def test_a_gitlab_job_that_runs_or_is_being_cancelled_is_alive(api: AnswerServer, status: str) -> None:
    assert ask(gitlab(api, status=status)).says is Says.ALIVE


def test_a_gitlab_job_that_has_not_started_is_not_the_holders(api: AnswerServer) -> None:
    assert ask(gitlab(api, status="pending")).says is Says.NOTHING


@pytest.mark.parametrize("status", ["canceled", "failed", "success"])
def test_a_gitlab_job_that_is_over_says_nothing_because_a_shell_executor_may_run_on(
    api: AnswerServer, status: str
) -> None:
    runner = {"description": "shell-3", "is_shared": True, "runner_type": "instance_type"}
    url = gitlab(api, status=status, finished_at=EARLIER, runner=runner)
    found = ask(url)
    assert found.says is Says.NOTHING
    assert "shell-3" in found.how_to
    assert ask(url, ephemeral=True).says is Says.GONE


def test_gitlabs_own_runners_give_each_job_a_machine_of_its_own() -> None:
    over = Sighting(
        stage=Stage.OVER,
        text="over",
        machine=Machine.ENDS_WITH_JOB,
        ended_at=NOW - timedelta(minutes=10),
        asked_at=NOW,
    )
    assert ci.testify(over, trust=Trust(), held_since=None)[0] is Says.GONE
    from interlock.recovery.witnesses import ci_gitlab

    own = {"is_shared": True, "runner_type": "instance_type"}
    job = parse_job("https://gitlab.com/g/p/-/jobs/8")
    assert job is not None
    assert ci_gitlab._is_hosted(job, own)
    assert not ci_gitlab._is_hosted(job, {**own, "is_shared": False})


# -- Azure ------------------------------------------------------------------------------------------------------------


def azure(api: AnswerServer, build: dict[str, Any], *records: dict[str, Any], hosted: bool | None = True) -> str:
    routes: dict[str, Any] = {
        "/org/proj/_apis/build/builds/9": build,
        "/org/proj/_apis/build/builds/9/timeline": {"records": list(records)},
    }
    if hosted is not None:
        routes["/org/proj/_apis/distributedtask/queues/5"] = {"pool": {"isHosted": hosted}}
    api.routes(routes)
    return f"{api.url}/org/proj/_build/results?buildId=9"


def record(**more: Any) -> dict[str, Any]:
    return {
        "id": "j1",
        "type": "Job",
        "name": "apply",
        "state": "completed",
        "startTime": "2026-11-24T02:00:00Z",
        "finishTime": EARLIER,
        "queueId": 5,
        "workerName": "agent-4",
        **more,
    }


def test_a_completed_build_in_a_hosted_pool_is_gone(api: AnswerServer) -> None:
    assert ask(azure(api, {"status": "completed", "result": "canceled"}, record())).says is Says.GONE


@pytest.mark.parametrize("hosted", [False, None])
def test_a_completed_build_in_a_pool_of_ones_own_or_of_unknown_kind_says_nothing(
    api: AnswerServer, hosted: bool | None
) -> None:
    found = ask(azure(api, {"status": "completed", "result": "canceled"}, record(), hosted=hosted))
    assert found.says is Says.NOTHING
    assert "agent-4" in found.how_to


def test_a_build_with_a_job_under_way_or_being_cancelled_is_alive(api: AnswerServer) -> None:
    assert ask(azure(api, {"status": "inProgress"}, record(state="inProgress"))).says is Says.ALIVE
    assert ask(azure(api, {"status": "cancelling"}, record())).says is Says.ALIVE


def test_one_job_of_a_build_that_goes_on_may_be_named(api: AnswerServer) -> None:
    url = azure(api, {"status": "inProgress"}, record(), record(id="j2", state="pending", startTime=None))
    assert ask(url).says is Says.NOTHING
    assert ask(f"{url}&view=logs&j=j1").says is Says.GONE


# -- all --------------------------------------------------------------------------------------------------------------


def test_without_a_job_nothing_is_said_and_the_way_is_named() -> None:
    found = ci.collect(None, {}, now=OURS, trust=Trust(), held_since=None)
    assert (found.says, found.how_to) == (Says.NOTHING, "if the holder is a CI job, name it: --job URL")


def test_a_job_without_an_end_says_nothing() -> None:
    over = Sighting(stage=Stage.OVER, text="over", machine=Machine.ENDS_WITH_JOB, asked_at=NOW)
    assert ci.testify(over, trust=Trust(ephemeral_runners=True), held_since=None)[0] is Says.NOTHING


def test_job_references_name_what_they_need() -> None:
    job = parse_job("https://github.com/o/r/actions/runs/7")
    assert isinstance(job, JobReference)

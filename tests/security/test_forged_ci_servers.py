"""A server that says of every job that it is over, on a machine that ended with it, long ago. Whom it can fool."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from interlock.ci.job import parse_job
from interlock.recovery import Evidence, Says
from interlock.recovery.witnesses import ci
from interlock.recovery.witnesses.ci import CLOCK_SKEW_S, Trust
from interlock.recovery.witnesses.ci_servers import SERVERS, doubt
from interlock.testing.answers import AnswerServer, Call, Told, answer_server

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
BEGAN, ENDED = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
HELD = NOW - timedelta(minutes=90)


@pytest.fixture
def forger() -> Iterator[AnswerServer]:
    """Answers in the words of all three systems at once."""
    with answer_server(NOW) as server:
        server.answer = _everything_is_over
        yield server


def _everything_is_over(call: Call) -> Told:
    if "/jobs/8" in call.path or "/jobs?" in call.path or call.path.endswith("/jobs"):
        job: dict[str, object] = {
            "status": "completed" if "/actions/" in call.path else "success",
            "started_at": BEGAN.isoformat(),
            "completed_at": ENDED.isoformat(),
            "finished_at": ENDED.isoformat(),
            "runner_group_name": "GitHub Actions",
            "labels": [],
        }
        return Told(body={**job, "total_count": 1, "jobs": [job]})
    if call.path.partition("?")[0].endswith("/timeline"):
        times = {"startTime": BEGAN.isoformat(), "finishTime": ENDED.isoformat()}
        return Told(body={"records": [{"type": "Job", "queueId": 5, "state": "completed", **times}]})
    return Told(body={"status": "completed", "conclusion": "cancelled", "pool": {"isHosted": True}})


PAGES = ("/o/r/actions/runs/1", "/o/r/actions/runs/1/job/8", "/g/p/-/jobs/8", "/org/proj/_build/results?buildId=9")


def ask(url: str, environ: dict[str, str] | None = None, *, held_since: datetime | None = HELD) -> Evidence:
    job = parse_job(url)
    assert job is not None
    return ci.collect(job, environ or {}, now=NOW, trust=Trust(ephemeral_runners=True), held_since=held_since)


@pytest.mark.promise("P5")
@pytest.mark.parametrize("page", PAGES)
def test_a_server_that_only_the_lock_or_a_pasted_address_names_is_not_even_asked(
    forger: AnswerServer, page: str
) -> None:
    found = ask(forger.url + page)
    assert (found.says, forger.calls) == (Says.NOTHING, [])
    assert "unverified" in found.text
    assert f'export INTERLOCK_CI_SERVERS="{forger.url}"' in found.how_to


@pytest.mark.parametrize("page", PAGES)
def test_a_server_that_the_operator_names_is_asked_and_believed(forger: AnswerServer, page: str) -> None:
    assert ask(forger.url + page, {SERVERS: f"https://other.example {forger.url}/"}).says is Says.GONE


@pytest.mark.parametrize("variable", [SERVERS, "CI_SERVER_URL"])
def test_a_gitlab_below_a_path_is_asked_there_and_with_its_token(forger: AnswerServer, variable: str) -> None:
    environ = {variable: f"{forger.url}/git/lab/", "GITLAB_TOKEN": "tok"}
    assert ask(f"{forger.url}/git/lab/g/p/-/jobs/8", environ).says is Says.GONE
    (call,) = forger.calls
    assert call.path == "/git/lab/api/v4/projects/g%2Fp/jobs/8"
    assert call.headers["private-token"] == "tok"


@pytest.mark.promise("P5")
@pytest.mark.parametrize(
    ("named", "page"),
    [
        ("/gitlab", "/pages/p/-/jobs/8"),
        ("/gitlab", "/gitlab2/g/p/-/jobs/8"),
        ("/tfs", "/~evil/proj/_build/results?buildId=9"),
        ("/tfs", "/tfs/../~evil/proj/_build/results?buildId=9"),
        ("/tfs", "/tfs/%2E%2e/~evil/proj/_build/results?buildId=9"),
        ("/tfs", "/tfs/..%2f~evil/proj/_build/results?buildId=9"),
    ],
)
def test_what_is_beside_the_path_of_a_named_server_may_not_testify(forger: AnswerServer, named: str, page: str) -> None:
    assert ask(forger.url + page, {SERVERS: forger.url + named}).says is Says.NOTHING
    assert forger.calls == []


@pytest.mark.parametrize(
    ("page", "variable"),
    [(PAGES[0], "GITHUB_SERVER_URL"), (PAGES[2], "CI_SERVER_URL"), (PAGES[3], "SYSTEM_COLLECTIONURI")],
)
def test_the_server_of_our_own_job_is_asked_in_its_own_words_only(
    forger: AnswerServer, page: str, variable: str
) -> None:
    assert ask(forger.url + page, {variable: forger.url}).says is Says.GONE
    others = {"GITHUB_SERVER_URL", "CI_SERVER_URL", "SYSTEM_COLLECTIONURI"} - {variable}
    asked = len(forger.calls)
    assert ask(forger.url + page, dict.fromkeys(others, forger.url)).says is Says.NOTHING
    assert len(forger.calls) == asked


@pytest.mark.promise("P5")
@pytest.mark.parametrize(
    "url",
    [
        "http://github.com/o/r/actions/runs/1",
        "http://gitlab.com/g/p/-/jobs/8",
        "https://github.com:8443/o/r/actions/runs/1",
        "https://github.com.evil.example/o/r/actions/runs/1",
        "https://evilgithub.com/o/r/actions/runs/1",
        "https://api.github.com/o/r/actions/runs/1",
        "https://127.0.0.1/o/r/actions/runs/1",
        "https://169.254.169.254/o/r/actions/runs/1",
        "https://[::1]/o/r/actions/runs/1",
        "https://gitlab.com/o/r/actions/runs/1",
        "https://github.com/g/p/-/jobs/8",
        "https://dev.azure.com/o/r/actions/runs/1",
        "https://evil.visualstudio.com/proj/_build/results?buildId=9",
        "https://dev.azure.com.evil.example/org/proj/_build/results?buildId=9",
    ],
)
def test_what_looks_like_a_public_service_is_not_taken_for_it(url: str) -> None:
    job = parse_job(url)
    assert job is not None
    assert doubt(job, {}) != ""


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com@evil.example/o/r/actions/runs/1",
        "https://github.com\\@evil.example/o/r/actions/runs/1",
        "https://github.com#@evil.example/o/r/actions/runs/1",
        "https://evil.example?https://github.com/o/r/actions/runs/1",
        "https://dev.azure.com@evil.example/org/proj/_build/results?buildId=9",
        "https://dev.azure.com/org?x=/proj/_build/results?buildId=9",
        "https://github.com/../../actions/runs/1",
        "https://github.com/o/../actions/runs/1",
        "file:///etc/o/r/actions/runs/1",
        "https://github.com/o/r/actions/runs/1\nhttps://evil.example",
    ],
)
def test_an_address_that_two_readers_would_read_differently_names_no_job(url: str) -> None:
    assert parse_job(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/o/r/actions/runs/1",
        "https://GitHub.com:443/o/.github/actions/runs/1/attempts/2",
        "https://gitlab.com/g/sub/p/-/jobs/8",
        "https://dev.azure.com/org/proj/_build/results?buildId=9&view=logs&j=j1",
    ],
)
def test_the_public_services_may_testify(url: str) -> None:
    job = parse_job(url)
    assert job is not None
    assert doubt(job, {}) == ""


def test_a_server_of_our_own_that_speaks_in_clear_is_not_believed() -> None:
    job = parse_job("http://gitlab.corp.example/g/p/-/jobs/8")
    assert job is not None
    environ = {"CI_SERVER_URL": "http://gitlab.corp.example", "INTERLOCK_CI_SERVERS": "http://gitlab.corp.example"}
    assert "https" in doubt(job, environ)


@pytest.mark.promise("P5")
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("held_since", "says"),
    [
        (BEGAN - timedelta(seconds=CLOCK_SKEW_S + 1), Says.NOTHING),
        (BEGAN - timedelta(seconds=CLOCK_SKEW_S - 1), Says.GONE),
        (ENDED + timedelta(seconds=CLOCK_SKEW_S - 1), Says.GONE),
        (ENDED + timedelta(seconds=CLOCK_SKEW_S + 1), Says.NOTHING),
        (NOW, Says.NOTHING),
    ],
)
def test_a_finished_job_that_did_not_run_when_the_lock_was_taken_proves_nothing(
    forger: AnswerServer, page: str, held_since: datetime, says: Says
) -> None:
    found = ask(forger.url + page, {SERVERS: forger.url}, held_since=held_since)
    assert found.says is says
    assert says is Says.GONE or "when the lock was taken" in found.text


@pytest.mark.promise("P5")
@pytest.mark.promise("P10")
def test_a_redirect_of_a_ci_server_is_not_followed_to_another_and_the_token_stays(forger: AnswerServer) -> None:
    with answer_server(NOW) as trusted:
        trusted.answer = lambda call: Told(status=302, headers={"Location": forger.url + call.path})
        environ = {"GITHUB_TOKEN": "secret-token", "GITHUB_SERVER_URL": trusted.url}
        found = ask(f"{trusted.url}/o/r/actions/runs/1", environ)
        assert (found.says, forger.calls) == (Says.NOTHING, [])
        assert "leads to another server" in found.text
        assert trusted.calls[0].headers["authorization"] == "Bearer secret-token"

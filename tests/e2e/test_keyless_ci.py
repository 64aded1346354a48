"""A job without any stored secret: identity token, `interlock ci login`, a server, the state's lock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.identity_issuer import AZURE, GITHUB, GITLAB, Issuer, identity_issuer
from tests.replicas import STEP_S, Replica, answer, lock_body, state_body

pytestmark = pytest.mark.e2e
STATE = "prod/routing"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with identity_issuer() as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Replica]:
    running = Replica(f"sqlite:{tmp_path / 'server.db'}", tmp_path / "server")
    yield running
    running.end()


def interlock(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "GITLAB_", "CI_"))}
    return subprocess.run(
        [sys.executable, "-m", "interlock", *words],
        env={**kept, "INTERLOCK_HOME": str(folder / "home"), **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=STEP_S,
        check=False,
    )


def trust(server: Replica, folder: Path, issuer: Issuer, platform: str, role: str, **claims: str) -> None:
    words = [word for name, value in claims.items() for word in ("--claim", f"{name}={value}")]
    store = ("--store", server.said["store"])
    options = ("--platform", platform, "--issuer", issuer.url, "--role", role, "--states", "prod/*")
    added = interlock(folder, "trust", "add", f"{platform}-{role}", *options, *words, *store, "--json")
    assert added.returncode == 0, added.stderr


def ask(server: Replica, token: str, method: str, body: bytes = b"", query: str = "", state: str = STATE) -> int:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=STEP_S)
    with closing(connection):
        connection.request(method, f"/state/{state}{query}", body, {"Authorization": f"Bearer {token}"})
        return answer(connection)[0]


@pytest.mark.promise("P10")
def test_a_job_of_github_plans_and_applies_without_a_stored_secret(
    server: Replica, issuer: Issuer, tmp_path: Path
) -> None:
    trust(server, tmp_path, issuer, "github", "runner", repository_id="74", ref="refs/heads/main")
    trust(server, tmp_path, issuer, "github", "planner", repository_id="74")
    issuer.job = dict(GITHUB)
    job = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_ENV": str(tmp_path / "env"),
        "INTERLOCK_SERVER": server.said["address"],
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{issuer.url}/job?api-version=2",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request",
    }
    login = interlock(tmp_path, "ci", "login", "--state", STATE, "--role", "runner", **job)
    assert login.returncode == 0, login.stderr
    token = (tmp_path / "env").read_text().strip().removeprefix("INTERLOCK_TOKEN=")
    assert issuer.audiences[-1] == server.said["address"]
    assert ask(server, token, "LOCK", lock_body("a"), "?wait=0") == 200
    assert ask(server, token, "POST", state_body(1, "l", "x"), "?ID=a") == 200
    assert ask(server, token, "UNLOCK", lock_body("a")) == 200
    assert ask(server, token, "GET", state="prod/other") == 403, "it is for one state"
    issuer.job = {**GITHUB, "event_name": "pull_request", "ref": "refs/pull/7/merge"}
    refused = interlock(tmp_path, "ci", "login", "--state", STATE, "--role", "runner", **job)
    assert refused.returncode == 32
    assert interlock(tmp_path, "ci", "login", "--state", STATE, "--role", "planner", **job).returncode == 0
    preview = (tmp_path / "env").read_text().splitlines()[-1].removeprefix("INTERLOCK_TOKEN=")
    assert ask(server, preview, "LOCK", lock_body("b"), "?wait=0") == 403, "a preview changes nothing"
    assert ask(server, preview, "GET") == 200
    store = ("--store", server.said["store"])
    listed = json.loads(interlock(tmp_path, "token", "ls", "--json", *store).stdout)["tokens"]
    assert {each["role"] for each in listed} == {"runner", "planner"}
    audit = interlock(tmp_path, "audit", "ls", "--json", INTERLOCK_HOME=str(tmp_path / "server")).stdout
    for secret in (token, preview):
        assert secret not in login.stderr + login.stdout.replace(f"::add-mask::{token}", "") + audit


@pytest.mark.slow
def test_jobs_of_gitlab_and_azure_log_in_too(server: Replica, issuer: Issuer, tmp_path: Path) -> None:
    trust(server, tmp_path, issuer, "gitlab", "runner", project_id="20", ref_protected="true")
    gitlab = {
        "GITLAB_CI": "true",
        "INTERLOCK_SERVER": server.said["address"],
        "INTERLOCK_ID_TOKEN": issuer.token(GITLAB, now_s=now_s(), audience=server.said["address"]),
    }
    login = interlock(tmp_path, "ci", "login", "--state", STATE, "--print", **gitlab)
    assert login.returncode == 0, login.stderr
    assert ask(server, login.stdout.strip(), "LOCK", lock_body("a"), "?wait=0") == 200
    again = interlock(tmp_path, "ci", "login", "--state", STATE, "--print", **gitlab)
    assert again.returncode == 32, "each identity token is taken once"
    removed = interlock(tmp_path, "trust", "remove", "gitlab-runner", "--store", server.said["store"])
    assert removed.returncode == 0
    claims = {name: AZURE[name] for name in ("prj_id", "def_id", "rpo_ref")}
    trust(server, tmp_path, issuer, "azure", "planner", **claims)
    issuer.job = dict(AZURE)
    azure = {
        "TF_BUILD": "True",
        "INTERLOCK_SERVER": server.said["address"],
        "SYSTEM_OIDCREQUESTURI": f"{issuer.url}/job",
        "SYSTEM_ACCESSTOKEN": "agent",
    }
    login = interlock(tmp_path, "ci", "login", "--state", STATE, "--out", "token", **azure)
    assert login.returncode == 0, login.stderr
    token = (tmp_path / "token").read_text().strip()
    assert ask(server, token, "GET") in {200, 204}


def now_s() -> float:
    from datetime import UTC, datetime

    return datetime.now(UTC).timestamp()

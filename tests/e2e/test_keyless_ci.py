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
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests import forking
from tests.identity_issuer import AZURE, GITHUB, GITLAB, Issuer, identity_issuer
from tests.replicas import STEP_S, Replica, answer, lock_body, state_body

from interlock.ci.seal import make_keys

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
    return forking.run(
        words, env={**kept, "INTERLOCK_HOME": str(folder / "home"), **environ}, cwd=folder, timeout=STEP_S
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
    assert {each["role"] for each in listed if each["rule"]} == {"runner", "planner"}
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


NAMED = "https://interlock.example.com"
CHECKOUT = """\
version: 1
states:
  prod/routing: {directory: infra, environment: production}
pipeline:
  package_sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  image: terraform:1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  plan_key: PLAN_KEY
"""


def generated(folder: Path, platform: str, path: str) -> dict[str, Any]:
    (folder / "infra").mkdir(exist_ok=True)
    (folder / "infra/main.tf").write_text('output "x" {\n  value = 1\n}\n')
    (folder / "interlock.yaml").write_text(CHECKOUT.replace("PLAN_KEY", make_keys(b"s" * 32 + b"p" * 32).wrap))
    made = interlock(folder, "ci", "generate", platform, INTERLOCK_SERVER=NAMED)
    assert made.returncode == 0, made.stderr
    document: dict[str, Any] = YAML(typ="safe", pure=True).load((folder / path).read_text())
    return document


def step(folder: Path, script: str, server: Replica, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a step of a generated job, at the server of this test."""
    address = server.said["address"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "GITLAB_", "CI_"))}
    values = {name: value.replace(NAMED, address) for name, value in environ.items()}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-c", script],
        env={**kept, "PATH": path, "INTERLOCK_HOME": str(folder / "home"), **values},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=STEP_S,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("job", "role"), [("plan-prod-routing", "planner"), ("apply-prod-routing", "runner")])
def test_the_jobs_that_are_generated_for_github_log_in_as_what_they_do(
    server: Replica, issuer: Issuer, tmp_path: Path, job: str, role: str
) -> None:
    workflow = "interlock-plan.yml" if role == "planner" else "interlock-apply.yml"
    document = generated(tmp_path, "github", f".github/workflows/{workflow}")["jobs"][job]
    assert document["permissions"]["id-token"] == "write"
    trust(server, tmp_path, issuer, "github", "runner", repository_id="74", ref="refs/heads/main")
    trust(server, tmp_path, issuer, "github", "planner", repository_id="74")
    preview = {"event_name": "pull_request", "ref": "refs/pull/7/merge"}
    issuer.job = {**GITHUB, **(preview if role == "planner" else {})}
    (login,) = [each for each in document["steps"] if each.get("name") == "Log in to Interlock"]
    environ = {name: str(value) for name, value in document["env"].items() if "${{" not in str(value)}
    done = step(
        tmp_path,
        login["run"],
        server,
        {
            **environ,
            "GITHUB_ACTIONS": "true",
            "GITHUB_ENV": str(tmp_path / "env"),
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{issuer.url}/job?api-version=2",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request",
        },
    )
    assert done.returncode == 0, done.stderr
    token = (tmp_path / "env").read_text().strip().removeprefix("INTERLOCK_TOKEN=")
    assert ask(server, token, "LOCK", lock_body("a"), "?wait=0") == (200 if role == "runner" else 403)
    assert ask(server, token, "GET") == 204


@pytest.mark.slow
@pytest.mark.parametrize(("job", "role"), [(".interlock-plan", "planner"), (".interlock-apply", "runner")])
def test_the_jobs_that_are_generated_for_gitlab_log_in_as_what_they_do(
    server: Replica, issuer: Issuer, tmp_path: Path, job: str, role: str
) -> None:
    document = generated(tmp_path, "gitlab", ".gitlab/interlock.gitlab-ci.yml")
    base = document[".interlock"]
    assert base["id_tokens"]["INTERLOCK_ID_TOKEN"]["aud"] == NAMED
    trust(server, tmp_path, issuer, "gitlab", "runner", project_id="20", ref_protected="true")
    lines = [line for line in base["before_script"] if isinstance(line, str) and "INTERLOCK_TOKEN" in line]
    variables = {**base["variables"], **document[job]["variables"], "STATE": STATE}
    done = step(
        tmp_path,
        "\n".join([*lines, 'printf %s "$INTERLOCK_TOKEN" > token']),
        server,
        {
            **{name: str(value) for name, value in variables.items()},
            "GITLAB_CI": "true",
            "INTERLOCK_ID_TOKEN": issuer.token(GITLAB, now_s=now_s(), audience=server.said["address"]),
        },
    )
    assert done.returncode == 0, done.stderr
    token = (tmp_path / "token").read_text()
    assert token not in done.stdout + done.stderr
    assert ask(server, token, "LOCK", lock_body("a"), "?wait=0") == (200 if role == "runner" else 403)


@pytest.mark.slow
def test_the_jobs_that_are_generated_for_azure_log_in_as_what_they_do(
    server: Replica, issuer: Issuer, tmp_path: Path
) -> None:
    document = generated(tmp_path, "azure", "interlock.azure-pipelines.yml")
    claims = {name: AZURE[name] for name in ("prj_id", "def_id", "rpo_ref")}
    trust(server, tmp_path, issuer, "azure", "runner", **claims)
    issuer.job = dict(AZURE)
    found = [*steps_named(document, "Log in to Interlock")]
    assert {("runner" if "runner" in each["bash"] else "planner") for each in found} == {"runner", "planner"}
    (login, *_) = [each for each in found if "runner" in each["bash"]]
    assert login["env"] == {"SYSTEM_ACCESSTOKEN": "$(System.AccessToken)"}
    done = step(
        tmp_path,
        login["bash"],
        server,
        {
            "STATE": STATE,
            "INTERLOCK_SERVER": NAMED,
            "INTERLOCK_OIDC_AUDIENCE": NAMED,
            "TF_BUILD": "True",
            "SYSTEM_OIDCREQUESTURI": f"{issuer.url}/job",
            "SYSTEM_ACCESSTOKEN": "agent",
        },
    )
    assert done.returncode == 0, done.stderr
    setting = "##vso[task.setvariable variable=INTERLOCK_TOKEN;issecret=true]"
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(setting)]
    assert ask(server, line.removeprefix(setting), "LOCK", lock_body("a"), "?wait=0") == 200


def steps_named(document: object, name: str) -> Iterator[dict[str, Any]]:
    inside = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    if isinstance(document, dict) and document.get("displayName") == name:
        yield document
    for each in inside:
        yield from steps_named(each, name)


@pytest.mark.slow
@pytest.mark.promise("P10")
def test_supervised_runs_of_a_job_plan_and_apply_at_the_server_with_the_tokens_of_their_jobs(
    server: Replica, issuer: Issuer, tmp_path: Path
) -> None:
    trust(server, tmp_path, issuer, "github", "runner", repository_id="74", ref="refs/heads/main")
    trust(server, tmp_path, issuer, "github", "planner", repository_id="74")
    issuer.job = dict(GITHUB)
    (tmp_path / "main.tf").write_text('terraform {\n  backend "http" {}\n}\n\noutput "x" {\n  value = 1\n}\n')
    job = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_ENV": str(tmp_path / "env"),
        "INTERLOCK_SERVER": server.said["address"],
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{issuer.url}/job?api-version=2",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request",
    }

    def works(role: str, *words: str, state: str = STATE) -> int:
        login = interlock(tmp_path, "ci", "login", "--state", STATE, "--role", role, **job)
        assert login.returncode == 0, login.stderr
        token = (tmp_path / "env").read_text().splitlines()[-1].partition("=")[2]
        own = {"INTERLOCK_SERVER": server.said["address"], "INTERLOCK_TOKEN": token}
        done = interlock(tmp_path, *words, ".", "--state", state, **own)
        assert token not in done.stdout + done.stderr
        return done.returncode

    assert works("planner", "plan") == 0
    assert works("planner", "apply", "--auto-approve") == 32
    assert works("runner", "apply", "--auto-approve") == 0
    assert works("runner", "apply", "--auto-approve", state="prod/other") == 32

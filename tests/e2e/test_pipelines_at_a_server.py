"""Whole generated pipelines at a server: log in as the job, plan, seal, ask, approve, apply. Each in a real shell.

The server is a real one, the CI system's identity provider a double that signs tokens (`tests/identity_issuer.py`).
A policy of the server wants a person's approval, and what is typed then is what the job printed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests import forking
from tests.ci_jobs import NAMED_SERVER, SECRETS, Runner
from tests.code_host import deliver, github_event, github_headers, gitlab_event, gitlab_headers
from tests.identity_issuer import AZURE, GITHUB, GITLAB, Issuer, identity_issuer
from tests.pipeline_platforms import PLATFORMS, OnJenkins, Platform
from tests.replicas import STEP_S, TOKEN, Replica

from interlock.simulator import DEFAULT_CLIENT
from interlock.testing.postgres import why_not

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STATES = ("--states", "prod/*")
RULES = {
    "github": (("repository_id=74",), ("repository_id=74", "ref=refs/heads/main")),
    "gitlab": (("project_id=20",), ("project_id=20", "ref_protected=true")),
    "azure": tuple(
        (f"prj_id={AZURE['prj_id']}", "def_id=42", f"rpo_ref={ref}") for ref in ("refs/pull/8/merge", AZURE["rpo_ref"])
    ),
}
"""Claims for planners and for runners, as docs/howto/keyless-ci.md has them."""
OF_A_CHANGE = {
    "github": {"event_name": "pull_request", "ref": "refs/pull/7/merge"},
    "gitlab": {"pipeline_source": "merge_request_event", "ref_protected": "false", "ref": "feature"},
    "azure": {"rpo_ref": "refs/pull/8/merge"},
}


class Signing:
    """What a CI system signs for its jobs; see `tests.ci_jobs.Identity`."""

    def __init__(self, issuer: Issuer, server: str) -> None:
        self.issuer = issuer
        self.server = server
        self.of_event: dict[str, str] = {}

    def github(self) -> dict[str, str]:
        self.issuer.job = {**GITHUB, **self.of_event}
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.issuer.url}/job?api-version=2",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request",
        }

    def gitlab(self, audience: str) -> str:
        at = self.server if audience == NAMED_SERVER else audience
        return self.issuer.token({**GITLAB, **self.of_event}, now_s=datetime.now(UTC).timestamp(), audience=at)

    def azure(self) -> dict[str, str]:
        self.issuer.job = {**AZURE, **self.of_event}
        return {"SYSTEM_OIDCREQUESTURI": f"{self.issuer.url}/job"}


class Person:
    """Somebody at a laptop, with a token of their own."""

    def __init__(self, folder: Path, server: str, token: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.environ = {"INTERLOCK_HOME": str(folder / "home"), "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self.environ |= {"INTERLOCK_SERVER": server, "INTERLOCK_TOKEN": token}

    def types(self, *words: str) -> str:
        done = forking.run(words, env={**os.environ, **self.environ}, cwd=self.folder, timeout=STEP_S)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout


@pytest.fixture
def encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server that is started next keep secrets."""
    key = tmp_path / "encryption-key"
    made = subprocess.run(
        [sys.executable, "-m", "interlock", "encryption", "new-key"], capture_output=True, text=True, check=True
    )
    key.write_text(made.stdout)
    key.chmod(0o600)
    monkeypatch.setenv("INTERLOCK_ENCRYPTION_KEY_FILE", str(key))


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Replica]:
    address = f"sqlite:{tmp_path / 'server.db'}"
    if request.param == "postgresql":
        address = f"{request.getfixturevalue('postgres').url}&schema=s{uuid.uuid4().hex[:12]}"
    running = Replica(address, tmp_path / "server")
    yield running
    running.end()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with identity_issuer() as running:
        yield running


def at_server(runner: Runner, server: Replica, issuer: Issuer, platform: str, admin: Person) -> Platform:
    """Generate the pipeline of a server, and have the server trust it."""
    for role, claims in zip(("planner", "runner"), RULES.get(platform, ()), strict=False):
        words = [word for claim in claims for word in ("--claim", claim)]
        named = ("trust", "add", f"{platform}-{role}", "--platform", platform, "--issuer", issuer.url)
        admin.types(*named, "--role", role, *STATES, *words)
    runner.identity = Signing(issuer, server.said["address"])
    runner.environ["INTERLOCK_SERVER"] = NAMED_SERVER
    runner.generate(platform)
    del runner.environ["INTERLOCK_SERVER"]  # a job has what its file says
    return PLATFORMS[platform](runner)


def typed(text: str) -> list[list[str]]:
    """Return the commands after `next`, as they are printed."""
    lines = [line for line in text.splitlines() if line.strip().startswith("next")]
    return [shlex.split(re.split(r"\s{4,}", line.strip().removeprefix("next").strip())[0]) for line in lines]


def _approver(admin: Person, folder: Path, *accounts: str) -> Person:
    """Return a person who may approve, with a token that says who they are."""
    named = [word for account in accounts for word in ("--person", account)]
    made = json.loads(admin.types("token", "create", "--role", "operator", *named, "--json"))
    return Person(folder, admin.environ["INTERLOCK_SERVER"], made["token"])


@pytest.mark.promise("P8")
@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    ("server", "platform"),
    [
        *(("sqlite", platform) for platform in PLATFORMS),
        pytest.param("postgresql", "github", marks=pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")),
    ],
    indirect=["server"],
)
def test_a_whole_pipeline_at_a_server_applies_what_a_person_approved(
    server: Replica, runner: Runner, issuer: Issuer, platform: str, tmp_path: Path
) -> None:
    address = server.said["address"]
    admin = Person(tmp_path / "admin", address, TOKEN)
    bob = _approver(admin, tmp_path / "bob", "bob", "github:13", "gitlab:2")
    pipeline = at_server(runner, server, issuer, platform, admin)
    if isinstance(pipeline, OnJenkins):
        for stage, role in (("plan", "planner"), ("apply", "runner")):
            token = json.loads(admin.types("token", "create", "--role", role, *STATES, "--json"))["token"]
            pipeline.tokens[f"interlock-{stage}-token"] = token
    (admin.folder / "policies.yaml").write_text(
        '{"policies": [{"name": "production", "states": "prod/**", "approvals": 1}]}'
    )
    admin.types("policies", "set", "policies.yaml")

    signing = runner.identity
    assert isinstance(signing, Signing)
    signing.of_event = OF_A_CHANGE.get(platform, {})
    planned = pipeline.change()
    assert [step for step in planned if step[1]] == [], runner.failures
    signing.of_event = {}
    refused = pipeline.merge()
    assert [code for name, code in refused if name == "apply"] == [41], (refused, runner.failures)
    assert runner.skills() == []

    early = pipeline.merge()  # whoever starts the job again before anybody has looked asks no second time
    assert [code for name, code in early if name == "apply"] == [41], (early, runner.failures)
    (approve,) = {tuple(words) for failure in runner.failures for words in typed(failure) if "approve" in words}
    assert approve[0] == "interlock"
    words = [word.replace("TEXT", "seen") for word in approve[1:]]
    bob.types(*words)
    runner.failures.clear()
    applied = pipeline.merge()
    assert [step for step in applied if step[1]] == [], (applied, runner.failures)
    assert runner.skills() == ["Billing"]
    (request,) = json.loads(bob.types("approvals", "ls", "--all", "--json"))["approvals"]
    assert (request["standing"], request["id"]) == ("used", approve[2])
    done = [entry["action"] for entry in json.loads(admin.types("audit", "ls", "--json"))["entries"]]
    assert {each for each in done if each.startswith("approv")} == {"approval-asked", "approved", "approval-used"}
    versions = json.loads(bob.types("state", "history", "prod/routing", "--json"))["versions"]
    assert len(versions) == 1


@pytest.mark.promise("P10")
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_a_generated_pipeline_plans_and_applies_at_a_server_and_no_job_holds_a_secret_of_the_organisation(
    encrypted: None, server: Replica, runner: Runner, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = Person(tmp_path / "admin", server.said["address"], TOKEN)
    upstream = [f"--upstream-{each}={runner.served.url}" for each in ("api", "login")]
    words = ("--region", "us-east-1", "--client-id", DEFAULT_CLIENT.id, "--states", "prod/**", *upstream)
    store = f"sqlite:{tmp_path / 'server.db'}"
    subprocess.run(
        [sys.executable, "-m", "interlock", "organisation", "add", "acme", *words, f"--store={store}"],
        env={**os.environ, "INTERLOCK_HOME": str(tmp_path / "server"), "HOME": str(tmp_path)},
        input=DEFAULT_CLIENT.secret,
        text=True,
        check=True,
        timeout=STEP_S,
    )
    monkeypatch.delenv("INTERLOCK_ENCRYPTION_KEY_FILE")
    for name in ("ID", "SECRET"):
        monkeypatch.setitem(SECRETS, f"GENESYSCLOUD_OAUTHCLIENT_{name}", "")  # as GitHub gives a secret that is not set
    for name in ("PROTOCOL", "HOST", "PORT"):
        del runner.environ[f"GENESYSCLOUD_GATEWAY_{name}"]
    pipeline = at_server(runner, server, issuer, "github", admin)
    signing = runner.identity
    assert isinstance(signing, Signing)
    signing.of_event = OF_A_CHANGE["github"]
    assert [step for step in pipeline.change() if step[1]] == [], runner.failures
    signing.of_event = {}
    assert [step for step in pipeline.merge() if step[1]] == [], runner.failures
    assert runner.skills() == ["Billing"]
    kept = [file for file in runner.folder.rglob("*") if file.is_file() and "server" not in file.parts]
    assert kept
    assert not any(DEFAULT_CLIENT.secret.encode() in file.read_bytes() for file in kept)


@pytest.mark.promise("P8")
@pytest.mark.parametrize(("server", "platform"), [("sqlite", "github"), ("sqlite", "gitlab")], indirect=["server"])
def test_a_whole_pipeline_at_a_server_applies_what_a_comment_approved(
    encrypted: None, server: Replica, runner: Runner, issuer: Issuer, platform: str, tmp_path: Path
) -> None:
    admin = Person(tmp_path / "admin", server.said["address"], TOKEN)
    pipeline = at_server(runner, server, issuer, platform, admin)
    (admin.folder / "policies.yaml").write_text(
        '{"policies": [{"name": "production", "states": "prod/**", "approvals": 1}]}'
    )
    admin.types("policies", "set", "policies.yaml")
    repository, author = {"github": ("74", 12), "gitlab": ("20", 1)}[platform]
    named = ("hook", "add", "prs", "--platform", platform, "--repository-id", repository, *STATES)
    hook = json.loads(admin.types(*named, "--person", "583231=bob", "--person", f"{author}=anna", "--json"))

    def comments(text: str, person: int) -> str:
        said, signs = (github_event, github_headers) if platform == "github" else (gitlab_event, gitlab_headers)
        body = json.dumps(said(text, person=person)).encode()
        status, heard = deliver(hook["url"], body, signs(body, hook["secret"]))
        assert status == 200, heard
        return str(heard["outcome"])

    signing = runner.identity
    assert isinstance(signing, Signing)
    signing.of_event = OF_A_CHANGE[platform]
    pipeline.change()
    signing.of_event = {}
    refused = pipeline.merge()
    assert [code for name, code in refused if name == "apply"] == [41], (refused, runner.failures)
    (line,) = set(re.findall(r"/interlock approve \S+ \S+ REASON", "\n".join(runner.failures)))
    assert comments(line.replace("REASON", "mine"), author) == "refused", "anna merged it"
    early = pipeline.merge()
    assert [code for name, code in early if name == "apply"] == [41], (early, runner.failures)
    assert comments(line.replace("REASON", "seen"), 583231) == "approved"
    runner.failures.clear()
    applied = pipeline.merge()
    assert [step for step in applied if step[1]] == [], (applied, runner.failures)
    assert runner.skills() == ["Billing"]

"""The shell steps of generated pipelines, executed: real commands, real Terraform, the simulated organisation.

Only the environment is faked: what a runner does besides running steps (checking out, keeping artifacts, filling in
expressions) is done here, and the platform's API is a small simulated one. Steps that install software are left out.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.platform_api import FakeApi, platform_api

from interlock.ci.seal import make_keys
from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.provider.install import install

pytestmark = pytest.mark.e2e

STEP_S = 180.0
KEYS = make_keys(b"s" * 32 + b"p" * 32)
HEAD, MERGE = "d" * 40, "c" * 40  # the pull request's last commit, and the commit that its merge made
CONFIGURATION = """\
version: 1
run: {lease: 1.2s, heartbeat: 0.3s}
states:
  prod/routing: {directory: infra, environment: production}
pipeline:
  package_sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  image: terraform:1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  plan_key: PLAN_KEY
  runner: own-linux
  pool: own
  home: HOME
""".replace("PLAN_KEY", KEYS.wrap)
MODULE = """\
terraform {
  required_providers {
    genesyscloud = {
      source  = "mypurecloud/genesyscloud"
      version = ">= 1.77.0"
    }
  }
}

provider "genesyscloud" {
  gateway {}
}

resource "genesyscloud_routing_skill" "billing" {
  name = "Billing"
}
"""
SLOW = """
resource "terraform_data" "slow" {
  depends_on = [genesyscloud_routing_skill.billing]

  provisioner "local-exec" {
    command = "touch $MARK && sleep 2"
  }
}
"""


@dataclass(kw_only=True)
class Outcome:
    """One executed step."""

    name: str
    code: int
    out: str
    err: str


@dataclass(kw_only=True)
class Runner:
    """What a CI machine has: a checkout, a home, an environment."""

    folder: Path
    api: FakeApi
    served: Served
    environ: dict[str, str] = field(default_factory=dict)
    artifacts: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.checkout = self.folder / "checkout"
        self.temp = self.folder / "temp"
        (self.checkout / "infra").mkdir(parents=True)
        self.temp.mkdir()
        (self.checkout / "interlock.yaml").write_text(CONFIGURATION.replace("HOME", str(self.folder / "home")))
        (self.checkout / "infra/main.tf").write_text(MODULE)
        self.environ = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "INTERLOCK_HOME": str(self.folder / "home"),
            "TF_CLI_CONFIG_FILE": str(install(self.folder / "plugin", speed=1000.0)),
            "CHECKPOINT_DISABLE": "1",
            "GENESYSCLOUD_GATEWAY_PROTOCOL": "http",
            "GENESYSCLOUD_GATEWAY_HOST": self.served.host,
            "GENESYSCLOUD_GATEWAY_PORT": str(self.served.port),
        }

    def generate(self, platform: str) -> None:
        self.run("interlock", "ci", "generate", platform)
        self.run("git", "init", "--quiet", "--initial-branch=main")
        self.commit()

    def commit(self) -> None:
        self.run("git", "add", "--all")
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        self.run("git", *identity, "commit", "--quiet", "--allow-empty", "--message=x")

    def run(self, *command: str) -> str:
        result = subprocess.run(
            command, cwd=self.checkout, env=self.environ, capture_output=True, text=True, timeout=STEP_S, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def shell(self, name: str, script: str, environ: Mapping[str, str], *, options: str = "-e") -> Outcome:
        file = self.temp / "step.sh"
        file.write_text(script)
        result = subprocess.run(
            ["bash", options, str(file)],
            cwd=self.checkout,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_S,
            check=False,
        )
        return Outcome(name=name, code=result.returncode, out=result.stdout, err=result.stderr)

    def tree(self) -> str:
        return self.run("git", "rev-parse", "HEAD^{tree}").strip()

    def skills(self) -> list[str]:
        return sorted(str(skill["name"]) for skill in self.served.simulation.snapshot()["skill"])


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    with serve_in_thread(Simulation()) as served, platform_api() as api:
        yield Runner(folder=tmp_path, api=api, served=served)


def _installs(script: str) -> bool:
    return "pip install" in script or "apk add" in script or " -m venv" in script


SECRETS = {
    "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
    "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
    "INTERLOCK_SEAL_KEY": KEYS.seal,
    "INTERLOCK_PLAN_KEY": KEYS.plan,
}


# -- GitHub ----------------------------------------------------------------------------------------------------------


class GitHubJob:
    """Executes a job's steps as GitHub's runner does, one after the other, `always()` steps in any case."""

    def __init__(
        self, runner: Runner, workflow: str, job: str, *, run: str = "77", needs: Mapping[str, str] | None = None
    ) -> None:
        path = runner.checkout / f".github/workflows/{workflow}"
        self._job = YAML(typ="safe", pure=True).load(path.read_text())["jobs"][job]
        self._runner = runner
        self._run_id = run
        self._needs = needs or {}
        self.outputs: dict[str, str] = {}
        self.outcomes: list[Outcome] = []

    def execute(self) -> list[Outcome]:
        failed = False
        for step in self._job["steps"]:
            condition = step.get("if", "success()")
            if failed and not ("always()" in condition or "!cancelled()" in condition or condition == "failure()"):
                continue
            if not failed and condition == "failure()":
                continue
            if "run" in step and not _installs(step["run"]):
                self.outcomes.append(self._run(step))
                failed = failed or self.outcomes[-1].code != 0
            elif step.get("uses", "").startswith("actions/upload-artifact@"):
                self._upload(step)
        return self.outcomes

    def environ(self, step: Mapping[str, Any]) -> dict[str, str]:
        runner = self._runner
        values = {**self._job.get("env", {}), **step.get("env", {})}
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": runner.api.url,
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_RUN_ID": self._run_id,
            "GITHUB_SHA": MERGE,
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_EVENT_PATH": str(runner.folder / "event.json"),
            "GITHUB_OUTPUT": str(runner.temp / "output"),
            "GITHUB_STEP_SUMMARY": str(runner.temp / "summary.md"),
            "RUNNER_TEMP": str(runner.temp),
            **{name: self.fill(str(value)) for name, value in values.items()},
        }

    def fill(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            kind, _, name = match[1].strip().partition(".")
            if kind == "secrets":
                return SECRETS[name]
            known = {"github.token": "gh-token", "runner.temp": str(self._runner.temp), "github.run_attempt": "1"}
            if kind == "needs":
                return self._needs[name.rpartition(".")[2]]
            return known[match[1].strip()]

        return re.sub(r"\$\{\{(.*?)\}\}", value, text)

    def _run(self, step: Mapping[str, Any]) -> Outcome:
        output = self._runner.temp / "output"
        output.write_text("")
        outcome = self._runner.shell(step["name"], step["run"], self.environ(step))
        for line in output.read_text().splitlines():
            name, _, value = line.partition("=")
            self.outputs[name] = value
        return outcome

    def _upload(self, step: Mapping[str, Any]) -> None:
        name, path = self.fill(step["with"]["name"]), Path(self.fill(step["with"]["path"]))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.write(path, path.name)
        kept = self._runner.artifacts
        number = len(kept) + 1
        at = f"2026-11-24T10:{number:02}:00Z"
        kept.append((self._run_id, {"id": number, "name": name, "created_at": at, "expired": False}))
        mine = [artifact for run, artifact in kept if run == self._run_id]
        self._runner.api.on("GET", f"/repos/o/r/actions/runs/{self._run_id}/artifacts", {"artifacts": mine})
        self._runner.api.on("GET", f"/repos/o/r/actions/artifacts/{number}/zip", buffer.getvalue())


def codes(outcomes: list[Outcome]) -> list[tuple[str, int]]:
    return [(outcome.name, outcome.code) for outcome in outcomes]


def merge_on_github(runner: Runner) -> None:
    """Let the API say that run 50 planned a pull request, which was then merged."""
    (runner.folder / "event.json").write_text(json.dumps({"pull_request": {"number": 5}}))
    repository = {"full_name": "o/r"}
    pull: dict[str, object] = {"number": 5, "merged_at": "2026-11-24T12:00:00Z", "merge_commit_sha": MERGE}
    pull |= {"base": {"ref": "main"}, "head": {"sha": HEAD, "repo": repository}}
    runner.api.on("GET", f"/repos/o/r/commits/{MERGE}/pulls", [pull])
    planned = {"id": 50, "head_sha": HEAD, "event": "pull_request", "head_repository": repository}
    runner.api.on("GET", "/repos/o/r/actions/workflows/interlock-plan.yml/runs", {"workflow_runs": [planned]})
    for commit in (HEAD, MERGE):
        runner.api.on("GET", f"/repos/o/r/git/commits/{commit}", {"tree": {"sha": runner.tree()}})


def plan_on_github(runner: Runner) -> list[Outcome]:
    merge_on_github(runner)
    return GitHubJob(runner, "interlock-plan.yml", "plan-prod-routing", run="50").execute()


def apply_on_github(runner: Runner) -> tuple[list[Outcome], list[Outcome]]:
    """Execute the seal job and, when that went well, the apply job."""
    seal = GitHubJob(runner, "interlock-apply.yml", "seal-prod-routing")
    sealed = seal.execute()
    if any(outcome.code for outcome in sealed):
        return sealed, []
    return sealed, GitHubJob(runner, "interlock-apply.yml", "apply-prod-routing", needs=seal.outputs).execute()


def test_github_plans_on_the_pull_request_and_applies_exactly_that_on_merge(runner: Runner) -> None:
    runner.generate("github")
    planned = plan_on_github(runner)
    names = ["Plan", "Let the run end", "Wrap the plan", "Write the report"]
    assert codes(planned) == [(name, 0) for name in names], planned
    comments = "/repos/o/r/issues/5/comments"
    runner.api.on("GET", comments, [])
    runner.api.on("POST", comments, {"html_url": "https://github.example/o/r/pull/5#1"})
    commented = GitHubJob(runner, "interlock-plan.yml", "comment-prod-routing", run="50").execute()
    assert codes(commented) == [("Comment", 0)], commented
    body = str(runner.api.sent("POST")[0].json()["body"])
    assert "**1 to add, 0 to change, 0 to remove.**" in body
    assert "genesyscloud_routing_skill.billing" in body
    assert "API calls of the apply: about" in body
    digest = hashlib.sha256((runner.temp / "plan.bin").read_bytes()).hexdigest()
    assert f"plan `{digest[:16]}`" in body
    assert runner.skills() == []

    runner.commit()  # the merge commit: another commit, the same tree
    sealed, applied = apply_on_github(runner)
    assert codes(sealed) == [("Seal the reviewed plan", 0)], sealed
    assert digest[:16] in (runner.temp / "summary.md").read_text()
    assert codes(applied) == [("Take the reviewed plan", 0), ("Apply", 0), ("Let the run end", 0)], applied
    assert runner.skills() == ["Billing"]
    assert codes(apply_on_github(runner)[1])[1] == ("Apply", 21)  # once; now it is stale


def test_github_applies_nothing_when_the_branch_has_moved_since_the_review(runner: Runner) -> None:
    runner.generate("github")
    plan_on_github(runner)
    (runner.checkout / "infra/main.tf").write_text(MODULE.replace("Billing", "Other"))
    runner.commit()
    runner.api.on("GET", f"/repos/o/r/git/commits/{MERGE}", {"tree": {"sha": runner.tree()}})
    sealed, applied = apply_on_github(runner)
    assert (codes(sealed), applied) == ([("Seal the reviewed plan", 41)], [])
    assert runner.skills() == []


@pytest.mark.slow
@pytest.mark.promise("P11")
def test_a_plan_that_was_put_in_the_place_of_the_approved_one_is_not_applied(runner: Runner) -> None:
    """Whoever may upload artifacts kept one of another plan under the sealed one's name after the approval."""
    runner.generate("github")
    plan_on_github(runner)
    seal = GitHubJob(runner, "interlock-apply.yml", "seal-prod-routing")
    assert codes(seal.execute()) == [("Seal the reviewed plan", 0)]
    approved = dict(seal.outputs)
    GitHubJob(runner, "interlock-plan.yml", "plan-prod-routing", run="51").execute()
    repository = {"full_name": "o/r"}
    other = {"id": 51, "head_sha": HEAD, "event": "pull_request", "head_repository": repository}
    runner.api.on("GET", "/repos/o/r/actions/workflows/interlock-plan.yml/runs", {"workflow_runs": [other]})
    assert codes(GitHubJob(runner, "interlock-apply.yml", "seal-prod-routing").execute()) == [
        ("Seal the reviewed plan", 0)
    ]
    applied = GitHubJob(runner, "interlock-apply.yml", "apply-prod-routing", needs=approved).execute()
    assert codes(applied)[0] == ("Take the reviewed plan", 41)
    assert ("Apply", 0) not in codes(applied)
    assert runner.skills() == []


@pytest.mark.slow
def test_by_hand_github_plans_anew_and_shows_it_on_the_jobs_page(runner: Runner) -> None:
    runner.generate("github")
    planned = GitHubJob(runner, "interlock-apply.yml", "plan-prod-routing").execute()
    assert codes(planned)[-1] == ("Show the plan", 0)
    assert "**1 to add" in (runner.temp / "summary.md").read_text()


@pytest.mark.slow
def test_a_cancelled_apply_saves_its_state_before_the_machine_goes_away(runner: Runner) -> None:
    """GitHub signals the step's entry process alone, kills its tree ten seconds later, and runs the always() step."""
    (runner.checkout / "infra/main.tf").write_text(MODULE + SLOW)
    mark = runner.folder / "slow-began"
    runner.environ["MARK"] = str(mark)
    runner.generate("github")
    plan_on_github(runner)
    seal = GitHubJob(runner, "interlock-apply.yml", "seal-prod-routing")
    assert codes(seal.execute()) == [("Seal the reviewed plan", 0)]

    job = GitHubJob(runner, "interlock-apply.yml", "apply-prod-routing", needs=seal.outputs)
    take, apply, wait = (step for step in job._job["steps"] if "run" in step and not _installs(step["run"]))
    assert runner.shell(take["name"], take["run"], job.environ(take)).code == 0
    script = runner.temp / "apply.sh"
    script.write_text(apply["run"])
    step = subprocess.Popen(
        ["bash", "-e", str(script)],
        cwd=runner.checkout,
        env={**runner.environ, **job.environ(apply)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + STEP_S
    while not mark.exists():
        assert step.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    step.send_signal(signal.SIGINT)
    ended = runner.shell(wait["name"], wait["run"], job.environ(wait))
    step.wait(timeout=STEP_S)
    assert ended.code == 130, ended.err
    assert json.loads(runner.run("interlock", "queue", "ls", "--json"))["states"][0]["holders"] == []
    state = json.loads(runner.run("interlock", "state", "pull", "prod/routing"))
    assert "genesyscloud_routing_skill" in [resource["type"] for resource in state["resources"]]
    assert runner.skills() == ["Billing"]


# -- GitLab ----------------------------------------------------------------------------------------------------------


def _gitlab_job(runner: Runner, name: str) -> tuple[dict[str, str], str, str]:
    """Return a job's variables, script and after_script with `extends` followed."""
    reader = YAML(typ="safe", pure=True)
    document = reader.load((runner.checkout / ".gitlab/interlock.gitlab-ci.yml").read_text())
    job: dict[str, Any] = {}
    chain = [name]
    while "extends" in document[chain[-1]]:
        chain.append(document[chain[-1]]["extends"])
    for part in reversed(chain):
        variables = {**job.get("variables", {}), **document[part].get("variables", {})}
        job = {**job, **document[part], "variables": variables}
    before = [line for line in _flat(job["before_script"]) if not _installs(line) and "/opt/interlock" not in line]
    after = [line for line in job.get("after_script", []) if "/opt/interlock" not in line]
    return job["variables"], "\n".join([*before, *job["script"]]), "\n".join(after)


def _flat(lines: list[Any]) -> list[str]:
    return [one for line in lines for one in (_flat(line) if isinstance(line, list) else [line])]


def _gitlab(runner: Runner, name: str, **more: str) -> tuple[Outcome, Outcome]:
    variables, script, after = _gitlab_job(runner, name)
    environ = {
        "GITLAB_CI": "true",
        "CI_API_V4_URL": runner.api.url,
        "CI_PROJECT_ID": "7",
        "CI_JOB_TOKEN": "job",
        "CI_JOB_ID": f"job-{name}",
        "CI_COMMIT_SHA": MERGE,
        "CI_PIPELINE_ID": "90",
        "CI_PIPELINE_SOURCE": "push",
        "INTERLOCK_CI_TOKEN": "token",
        **SECRETS,
        **{key: str(value) for key, value in variables.items()},
        **more,
    }
    return runner.shell(name, script, environ), runner.shell("after", after, environ)


def merge_on_gitlab(runner: Runner) -> None:
    """Let the API say that pipeline 50 planned a merge request, which was then merged."""
    merge: dict[str, object] = {"iid": 3, "state": "merged", "target_branch": "main", "merge_commit_sha": MERGE}
    merge |= {"sha": HEAD, "source_project_id": 7, "target_project_id": 7, "merged_at": "2026-11-24T12:00:00Z"}
    runner.api.on("GET", f"/projects/7/repository/commits/{MERGE}/merge_requests", [merge])
    rows = [line.replace("\t", " ").split(" ") for line in runner.run("git", "ls-tree", "HEAD").splitlines()]
    entries = [{"mode": mode, "id": name, "name": path} for mode, _, name, path in rows]
    runner.api.on("GET", "/projects/7/repository/tree", entries)
    runner.api.on("GET", "/projects/7/merge_requests/3/pipelines", [{"id": 50, "sha": HEAD}])
    job = {"id": 501, "name": "plan:prod-routing", "status": "success", "finished_at": "2026-11-24T11:00:00Z"}
    runner.api.on("GET", "/projects/7/pipelines/50/jobs", [job])
    wrapped = runner.checkout / "plan.bin.wrapped"
    if wrapped.exists():
        runner.api.on("GET", "/projects/7/jobs/501/artifacts/plan.bin.wrapped", wrapped.read_bytes())


@pytest.mark.slow
def test_gitlab_plans_in_the_merge_request_and_applies_exactly_that_on_merge(runner: Runner) -> None:
    runner.generate("gitlab")
    planned, waited = _gitlab(runner, "plan:prod-routing")
    assert (planned.code, waited.code) == (0, 0), planned.err
    notes = "/projects/7/merge_requests/3/notes"
    runner.api.on("GET", notes, [])
    runner.api.on("POST", notes, {"id": 1})
    commented, _ = _gitlab(runner, "comment:prod-routing", CI_MERGE_REQUEST_IID="3")
    assert commented.code == 0, commented.err
    assert "**1 to add" in str(runner.api.sent("POST")[0].json()["body"])
    merge_on_gitlab(runner)
    sealed, _ = _gitlab(runner, "seal:prod-routing")
    assert sealed.code == 0, sealed.err
    handed = dict(line.split("=") for line in (runner.checkout / "interlock.env").read_text().splitlines())
    applied, waited = _gitlab(runner, "apply:prod-routing", **handed)
    assert (applied.code, waited.code) == (0, 0), applied.err
    assert runner.skills() == ["Billing"]


def test_gitlab_applies_nothing_that_was_not_reviewed(runner: Runner) -> None:
    runner.generate("gitlab")
    merge_on_gitlab(runner)
    runner.api.on("GET", "/projects/7/pipelines/50/jobs", [])
    sealed, _ = _gitlab(runner, "seal:prod-routing")
    assert sealed.code == 41
    assert runner.skills() == []


# -- Azure -----------------------------------------------------------------------------------------------------------


def _azure_steps(runner: Runner, stage: str) -> Iterator[dict[str, Any]]:
    document = YAML(typ="safe", pure=True).load((runner.checkout / "interlock.azure-pipelines.yml").read_text())
    name, _, which = stage.partition("/")
    jobs = next(one for one in document["stages"] if one["stage"] == name)["jobs"]
    job = next(one for one in jobs if one.get("job", one.get("deployment")) == (which or name.split("_")[0]))
    steps = job.get("steps") or job["strategy"]["runOnce"]["deploy"]["steps"]
    for step in steps:
        yield {**step, "env": {**job["variables"], **step.get("env", {})}}


def _azure(runner: Runner, stage: str, **more: str) -> list[Outcome]:
    outcomes: list[Outcome] = []
    values = {**SECRETS, "System.AccessToken": "azure-token", "Agent.TempDirectory": str(runner.temp)}
    values |= {"System.JobAttempt": "1", "SEALED": more.get("SEALED", "")}
    environ = {
        "TF_BUILD": "True",
        "SYSTEM_COLLECTIONURI": f"{runner.api.url}/org/",
        "SYSTEM_TEAMPROJECT": "p",
        "SYSTEM_DEFINITIONID": "1",
        "BUILD_BUILDID": "90",
        "BUILD_REASON": "IndividualCI",
        "BUILD_SOURCEVERSION": MERGE,
        "BUILD_REPOSITORY_ID": "r",
        "AGENT_TEMPDIRECTORY": str(runner.temp),
        "PIPELINE_WORKSPACE": str(runner.folder / "workspace"),
    }

    def fill(text: object) -> str:
        return re.sub(r"\$\(([\w.]+)\)", lambda match: values[match[1]], str(text))

    for step in _azure_steps(runner, stage):
        failed = any(outcome.code for outcome in outcomes)
        if "bash" in step and not _installs(step["bash"]) and (not failed or step.get("condition") == "always()"):
            own = {name: fill(value) for name, value in step["env"].items()}
            outcome = runner.shell(step["displayName"], step["bash"], {**environ, **own, **more})
            outcomes.append(outcome)
        elif "publish" in step and not failed:
            _keep_azure(runner, Path(fill(step["publish"])), fill(step["artifact"]))
    return outcomes


def _handed(outcomes: list[Outcome]) -> dict[str, str]:
    """Return what a step handed to later jobs."""
    text = "".join(outcome.out + outcome.err for outcome in outcomes)
    return dict(re.findall(r"##vso\[task\.setvariable variable=(\w+);isOutput=true\](\S+)", text))


def _keep_azure(runner: Runner, path: Path, name: str) -> None:
    here = runner.folder / "workspace" / name
    here.mkdir(parents=True, exist_ok=True)
    (here / path.name).write_bytes(path.read_bytes())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.write(path, f"artifact/{path.name}")
    if name.startswith("interlock-plan-"):
        resource = {"downloadUrl": f"{runner.api.url}/content"}
        found = {"value": [{"name": name, "resource": resource}]}
        runner.api.on("GET", "/org/p/_apis/build/builds/3/artifacts", found)
        runner.api.on("GET", "/content", buffer.getvalue())


def merge_on_azure(runner: Runner) -> None:
    """Let the API say that build 3 planned a pull request, which was then completed."""
    repository = "/org/p/_apis/git/repositories/r"
    pull = {"pullRequestId": 8, "closedDate": "2026-11-24T12:00:00Z", "lastMergeCommit": {"commitId": MERGE}}
    pull["lastMergeSourceCommit"] = {"commitId": HEAD}
    build = {"id": 3, "finishTime": "2026-11-24T11:00:00Z", "sourceVersion": HEAD}
    runner.api.on("GET", f"{repository}/pullrequests", {"value": [pull]})
    runner.api.on("GET", "/org/p/_apis/build/builds", {"value": [{**build, "triggerInfo": {"pr.sourceSha": HEAD}}]})
    for commit in (HEAD, MERGE):
        runner.api.on("GET", f"{repository}/commits/{commit}", {"treeId": runner.tree()})


@pytest.mark.slow
def test_azure_plans_for_the_pull_request_and_applies_exactly_that_on_merge(runner: Runner) -> None:
    runner.generate("azure")
    threads = "/org/p/_apis/git/repositories/r/pullRequests/8/threads"
    runner.api.on("GET", threads, {"value": []})
    runner.api.on("POST", threads, {"id": 1})
    planned = _azure(runner, "plan_prod_routing")
    assert {code for _, code in codes(planned)} == {0}, planned
    commented = _azure(runner, "plan_prod_routing/comment", SYSTEM_PULLREQUEST_PULLREQUESTID="8")
    assert codes(commented) == [("Comment", 0)], commented
    assert "**1 to add" in json.dumps(runner.api.sent("POST")[0].json())
    merge_on_azure(runner)
    sealed = _azure(runner, "seal_prod_routing")
    assert codes(sealed) == [("Seal the reviewed plan", 0)], sealed
    handed = _handed(sealed)
    needed = {"PLAN_DIGEST": handed["digest"], "PLAN_RUN": handed["run"], "SEALED": handed["artifact"]}
    applied = _azure(runner, "apply_prod_routing", **needed)
    assert codes(applied) == [("Take the reviewed plan", 0), ("Apply", 0), ("Let the run end", 0)], applied
    assert runner.skills() == ["Billing"]

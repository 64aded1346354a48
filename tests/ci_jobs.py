"""The jobs of generated pipelines, executed as each platform executes them: real commands, real Terraform.

Only the environment is faked: what a runner does besides running steps (checking out, keeping artifacts, filling in
expressions) is done here, and the platform's API is a small simulated one. Steps that install software are left out.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ruamel.yaml import YAML
from tests.platform_api import FakeApi

from interlock.ci.seal import make_keys
from interlock.simulator import DEFAULT_CLIENT
from interlock.simulator.asgi import Served
from interlock.simulator.provider.install import install

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


@dataclass(kw_only=True)
class Outcome:
    """One executed step."""

    name: str
    code: int
    out: str
    err: str


class Identity(Protocol):
    """What a platform does for jobs that may say who they are."""

    server: str
    """Where the server is that the pipeline names: generated files name https alone."""

    def github(self) -> dict[str, str]:
        """Return what a job with `id-token: write` finds in its environment."""
        ...

    def gitlab(self, audience: str) -> str:
        """Return the token of a job with `id_tokens`."""
        ...

    def azure(self) -> dict[str, str]:
        """Return what each job finds in its environment."""
        ...


@dataclass(kw_only=True)
class Runner:
    """What a CI machine has: a checkout, a home, an environment."""

    folder: Path
    api: FakeApi
    served: Served
    environ: dict[str, str] = field(default_factory=dict)
    artifacts: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    identity: Identity | None = None  # the platform signs identity tokens for jobs that may have one

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

    def there(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return an environment in which the server that the files name is where it is in this test."""
        at = self.identity.server if self.identity is not None else NAMED_SERVER
        return {name: at if value == NAMED_SERVER else value for name, value in environ.items()}

    def shell(self, name: str, script: str, environ: Mapping[str, str], *, options: str = "-e") -> Outcome:
        file = Path(tempfile.mkdtemp(dir=self.temp)) / "step.sh"  # two jobs may run at once
        file.write_text(script)
        result = subprocess.run(
            ["bash", options, str(file)],
            cwd=self.checkout,
            env={**self.environ, **self.there(environ)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_S,
            check=False,
        )
        if result.returncode:
            self.failures.append(f"{name}: {result.returncode}: {result.stderr[-2000:]}")
        return Outcome(name=name, code=result.returncode, out=result.stdout, err=result.stderr)

    def tree(self) -> str:
        return self.run("git", "rev-parse", "HEAD^{tree}").strip()

    def skills(self) -> list[str]:
        return sorted(str(skill["name"]) for skill in self.served.simulation.snapshot()["skill"])


def installs(script: str) -> bool:
    return "pip install" in script or "apk add" in script or " -m venv" in script


SECRETS = {
    "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
    "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
    "INTERLOCK_SEAL_KEY": KEYS.seal,
    "INTERLOCK_PLAN_KEY": KEYS.plan,
}


NAMED_SERVER = "https://interlock.example.com"
"""What generated files name; see `Runner.there`."""


class GitHubJob:
    """Executes a job's steps as GitHub's runner does, one after the other, `always()` steps in any case."""

    def __init__(
        self,
        runner: Runner,
        workflow: str,
        job: str,
        *,
        run: str = "77",
        needs: Mapping[str, str] | None = None,
        values: Mapping[str, str] | None = None,
    ) -> None:
        path = runner.checkout / f".github/workflows/{workflow}"
        self.job = YAML(typ="safe", pure=True).load(path.read_text())["jobs"][job]
        self._runner = runner
        self._run_id = run
        self._needs = needs or {}
        self._values = values or {}
        self.outputs: dict[str, str] = {}
        self.outcomes: list[Outcome] = []
        self._later: dict[str, str] = {}  # what steps wrote to GITHUB_ENV for those behind them

    def execute(self) -> list[Outcome]:
        failed = False
        for step in self.job["steps"]:
            condition = step.get("if", "success()")
            if failed and not any(word in condition for word in ("always()", "!cancelled()", "failure()")):
                continue
            if not failed and "failure()" in condition:
                continue
            if "run" in step and not installs(step["run"]):
                self.outcomes.append(self._run(step))
                failed = failed or self.outcomes[-1].code != 0
            elif step.get("uses", "").startswith("actions/upload-artifact@"):
                self._upload(step)
        return self.outcomes

    def environ(self, step: Mapping[str, Any]) -> dict[str, str]:
        runner = self._runner
        values = {**self.job.get("env", {}), **step.get("env", {})}
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
            "GITHUB_ENV": str(runner.temp / "env"),
            **self._identity(),
            **self._later,
            **{name: self.fill(str(value)) for name, value in values.items()},
        }

    def _identity(self) -> dict[str, str]:
        may = self.job.get("permissions", {}).get("id-token") == "write"
        return self._runner.identity.github() if may and self._runner.identity is not None else {}

    def fill(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            if (given := self._values.get(match[1].strip())) is not None:
                return given
            kind, _, name = match[1].strip().partition(".")
            if kind == "secrets":
                return SECRETS[name]
            known = {"github.token": "gh-token", "runner.temp": str(self._runner.temp), "github.run_attempt": "1"}
            if kind == "needs":
                return self._needs[name.rpartition(".")[2]]
            return known[match[1].strip()]

        return re.sub(r"\$\{\{(.*?)\}\}", value, text)

    def _run(self, step: Mapping[str, Any]) -> Outcome:
        output, later = self._runner.temp / "output", self._runner.temp / "env"
        output.write_text("")
        later.write_text("")
        outcome = self._runner.shell(step["name"], step["run"], self.environ(step))
        for line in output.read_text().splitlines():
            name, _, value = line.partition("=")
            self.outputs[name] = value
        self._later |= dict(line.split("=", 1) for line in later.read_text().splitlines())
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


def read_gitlab_job(runner: Runner, name: str) -> tuple[dict[str, str], str, str]:
    """Return a job's variables and identity tokens, script and after_script with `extends` followed."""
    reader = YAML(typ="safe", pure=True)
    document = reader.load((runner.checkout / ".gitlab/interlock.gitlab-ci.yml").read_text())
    job: dict[str, Any] = {}
    chain = [name]
    while "extends" in document[chain[-1]]:
        chain.append(document[chain[-1]]["extends"])
    for part in reversed(chain):
        variables = {**job.get("variables", {}), **document[part].get("variables", {})}
        job = {**job, **document[part], "variables": variables}
    before = [line for line in flattened(job["before_script"]) if not installs(line) and "/opt/interlock" not in line]
    after = [line for line in job.get("after_script", []) if "/opt/interlock" not in line]
    tokens = {name: runner.identity.gitlab(one["aud"]) for name, one in job.get("id_tokens", {}).items()
              if runner.identity is not None}  # fmt: skip
    return {**job["variables"], **tokens}, "\n".join([*before, *job["script"]]), "\n".join(after)


def flattened(lines: list[Any]) -> list[str]:
    return [one for line in lines for one in (flattened(line) if isinstance(line, list) else [line])]


def prepare_gitlab_job(runner: Runner, name: str, **more: str) -> tuple[dict[str, str], str, str]:
    """Return the environment of a job, its script and its after_script."""
    variables, script, after = read_gitlab_job(runner, name)
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
    return environ, script, after


def run_gitlab_job(runner: Runner, name: str, **more: str) -> tuple[Outcome, Outcome]:
    environ, script, after = prepare_gitlab_job(runner, name, **more)
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
    wrapped = runner.checkout / "plan.bin.wrapped"
    job = {"id": 501, "name": "plan:prod-routing", "finished_at": "2026-11-24T11:00:00Z"}
    job["status"] = "success" if wrapped.exists() else "failed"
    runner.api.on("GET", "/projects/7/pipelines/50/jobs", [job])
    if wrapped.exists():
        runner.api.on("GET", "/projects/7/jobs/501/artifacts/plan.bin.wrapped", wrapped.read_bytes())


def azure_stages(runner: Runner) -> list[dict[str, Any]]:
    """Return the stages of the pipeline with templates put in, as Azure does before anything runs."""
    reader = YAML(typ="safe", pure=True)
    found: list[dict[str, Any]] = []
    for stage in reader.load((runner.checkout / "interlock.azure-pipelines.yml").read_text())["stages"]:
        if "template" not in stage:
            found.append(stage)
            continue
        text = (runner.checkout / stage["template"]).read_text()
        defaults = {one["name"]: one["default"] for one in reader.load(text)["parameters"] if "default" in one}
        for name, value in {**defaults, **stage["parameters"]}.items():
            spelled = json.dumps(value) if isinstance(value, list) or value == "" else str(value)
            text = text.replace(f"${{{{ parameters.{name} }}}}", spelled)
            text = text.replace(f"${{{{ replace(parameters.{name}, '-', '_') }}}}", spelled.replace("-", "_"))
        assert "${{" not in text
        found += reader.load(text)["stages"]
    return found


def read_azure_steps(runner: Runner, stage: str) -> Iterator[dict[str, Any]]:
    name, _, which = stage.partition("/")
    jobs = next(one for one in azure_stages(runner) if one["stage"] == name)["jobs"]
    job = next(one for one in jobs if one.get("job", one.get("deployment")) == (which or name.split("_")[0]))
    steps = job.get("steps") or job["strategy"]["runOnce"]["deploy"]["steps"]
    for step in steps:
        yield {**step, "env": {**job["variables"], **step.get("env", {})}}


def _azure_runs(condition: str, *, failed: bool) -> bool:
    """Say whether a step of a job that was not cancelled runs."""
    if also := re.fullmatch(r"and\(failed\(\), eq\('(\w+)', 'true'\)\)", condition):
        return failed and also[1].lower() == "true"
    return {
        "succeeded()": not failed,
        "failed()": failed,
        "always()": True,
        "not(canceled())": True,
        "canceled()": False,
    }[condition]


def _azure_filling(
    runner: Runner, more: Mapping[str, str], set_before: Mapping[str, str] | None = None
) -> Callable[[object], str]:
    """Return what puts variables in; `set_before` is what earlier steps of the job set, and may grow."""
    set_before = {} if set_before is None else set_before
    values = {**SECRETS, "System.AccessToken": "azure-token", "Agent.TempDirectory": str(runner.temp)}
    values |= {"System.JobAttempt": "1", "SEALED": more.get("SEALED", ""), **set_before}
    return lambda text: re.sub(r"\$\(([\w.]+)\)", lambda match: values[match[1]], str(text))


def _azure_environ(runner: Runner) -> dict[str, str]:
    return {
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
        **(runner.identity.azure() if runner.identity is not None else {}),
    }


def azure_apply_steps(
    runner: Runner, **more: str
) -> tuple[list[dict[str, Any]], Callable[[Mapping[str, Any]], dict[str, str]]]:
    """Return the steps of the apply stage that are scripts, and what gives each its environment."""
    fill = _azure_filling(runner, more)
    scripts = [
        step for step in read_azure_steps(runner, "apply_prod_routing") if "bash" in step and not installs(step["bash"])
    ]
    return scripts, lambda step: {
        **_azure_environ(runner),
        **{name: fill(value) for name, value in step["env"].items()},
        **more,
    }


def run_azure_stage(runner: Runner, stage: str, **more: str) -> list[Outcome]:
    outcomes: list[Outcome] = []
    environ, later = _azure_environ(runner), dict[str, str]()
    for step in read_azure_steps(runner, stage):
        fill = _azure_filling(runner, more, later)
        failed = any(outcome.code for outcome in outcomes)
        if not _azure_runs(str(step.get("condition", "succeeded()")), failed=failed):
            continue
        if "bash" in step and not installs(step["bash"]):
            own = {name: fill(value) for name, value in step["env"].items()}
            outcomes.append(runner.shell(step["displayName"], step["bash"], {**environ, **own, **more}))
            later |= dict(_SECRET_SET.findall(outcomes[-1].out))  # secret: only where `env:` names it
        elif "publish" in step:
            keep_azure_artifact(runner, Path(fill(step["publish"])), fill(step["artifact"]))
    return outcomes


_SECRET_SET = re.compile(r"##vso\[task\.setvariable variable=(\w+);issecret=true\](\S+)")


def handed_on(outcomes: list[Outcome]) -> dict[str, str]:
    """Return what a step handed to later jobs."""
    text = "".join(outcome.out + outcome.err for outcome in outcomes)
    return dict(re.findall(r"##vso\[task\.setvariable variable=(\w+);isOutput=true\](\S+)", text))


def keep_azure_artifact(runner: Runner, path: Path, name: str) -> None:
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

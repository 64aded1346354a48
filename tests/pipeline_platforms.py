"""One change on its way through a generated pipeline, on each platform: what its events start, and how they end.

Which jobs an event starts is read from the generated files' own conditions, as far as they are used there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from ruamel.yaml import YAML
from tests.ci_jobs import (
    GitHubJob,
    Outcome,
    Runner,
    handed_on,
    merge_on_azure,
    merge_on_github,
    merge_on_gitlab,
    plan_on_github,
    run_azure_stage,
    run_gitlab_job,
)
from tests.jenkins_jobs import Build, summary

Seen = list[tuple[str, int]]
_STEP = re.compile(r"interlock (?:ci )?([a-z-]+)")


class Platform(Protocol):
    """What happens to a repository, and what its pipeline makes of it: each job's steps with their exit status."""

    def change(self) -> Seen:
        """Open a change with the files that are there, or update it."""
        ...

    def merge(self) -> Seen:
        """Merge it."""
        ...

    def by_hand(self) -> Seen:
        """Start the pipeline of the branch by hand."""
        ...

    def schedule(self) -> Seen:
        """Let the schedule start."""
        ...

    def fork(self) -> Seen:
        """Open a change from a fork."""
        ...

    def twice(self) -> Seen:
        """Merge, and run its apply job two times at once."""
        ...


def spelled(seen: Seen) -> str:
    """Return what was seen in one line."""
    return ", ".join(f"{name} {code}" for name, code in seen) if seen else "nothing starts"


class OnGitHub:
    """GitHub Actions."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._comments: list[dict[str, object]] = []

    def change(self) -> Seen:
        self.runner.commit()
        self.runner.artifacts.clear()
        comments = "/repos/o/r/issues/5/comments"
        planned = plan_on_github(self.runner)
        self.runner.api.on("GET", comments, self._comments)
        self.runner.api.on("POST", comments, {"html_url": "https://github.example/5#1"})
        self.runner.api.on("PATCH", "/repos/o/r/issues/comments/1", {"html_url": "https://github.example/5#1"})
        commented = GitHubJob(self.runner, "interlock-plan.yml", "comment-prod-routing", run="50").execute()
        written = self.runner.api.sent("PATCH" if self._comments else "POST")
        assert written, "the change has its comment, or its new text"
        self._comments = [{"id": 1, "body": written[-1].json()["body"]}]
        return _named([*planned, *commented])

    def merge(self) -> Seen:
        merge_on_github(self.runner)
        sealed, needs = self._seal()
        return sealed if sealed[-1][1] else [*sealed, *self._apply(needs)]

    def _seal(self, **environ: str) -> tuple[Seen, dict[str, str]]:
        seal = _GitHubJob(self.runner, "interlock-apply.yml", "seal-prod-routing", environ)
        return _named(seal.execute()), seal.outputs

    def _apply(self, needs: Mapping[str, str]) -> Seen:
        return _named(GitHubJob(self.runner, "interlock-apply.yml", "apply-prod-routing", needs=needs).execute())

    def by_hand(self) -> Seen:
        self.runner.commit()
        self.runner.artifacts.clear()
        merge_on_github(self.runner)
        event = {"GITHUB_EVENT_NAME": "workflow_dispatch"}
        planned = _GitHubJob(self.runner, "interlock-apply.yml", "plan-prod-routing", event).execute()
        sealed, needs = self._seal(**event)
        return [*_named(planned), *sealed, *self._apply(needs)]

    def schedule(self) -> Seen:
        return _named(GitHubJob(self.runner, "interlock-drift.yml", "drift-prod-routing").execute())

    def fork(self) -> Seen:
        job = GitHubJob(self.runner, "interlock-plan.yml", "plan-prod-routing").job
        left, right = job["if"].split(" == ")
        values = {"github.event.pull_request.head.repo.full_name": "stranger/r", "github.repository": "o/r"}
        return [("plan", 0)] if values[left] == values[right] else []

    def twice(self) -> Seen:
        merge_on_github(self.runner)
        sealed, needs = self._seal()
        return [*sealed, *_together(lambda: self._apply(needs))]


class _GitHubJob(GitHubJob):
    """A job with variables of its own event."""

    def __init__(self, runner: Runner, workflow: str, job: str, more: Mapping[str, str]) -> None:
        super().__init__(runner, workflow, job)
        self._more = dict(more)

    def environ(self, step: Mapping[str, Any]) -> dict[str, str]:
        return {**super().environ(step), **self._more}


class OnGitLab:
    """GitLab CI: which jobs a pipeline has is read from their rules."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._notes: list[dict[str, object]] = []

    def change(self) -> Seen:
        self.runner.commit()
        for name in ("plan.bin", "plan.bin.wrapped", "plan.json"):
            (self.runner.checkout / name).unlink(missing_ok=True)
        names = self.jobs(CI_PIPELINE_SOURCE="merge_request_event", CI_MERGE_REQUEST_SOURCE_PROJECT_ID="7")
        notes = "/projects/7/merge_requests/3/notes"
        self.runner.api.on("GET", notes, self._notes)
        self.runner.api.on("POST", notes, {"id": 1})
        self.runner.api.on("PUT", f"{notes}/1", {"id": 1})
        seen = self._run(names, CI_PIPELINE_SOURCE="merge_request_event", CI_MERGE_REQUEST_IID="3")
        written = self.runner.api.sent("PUT" if self._notes else "POST")
        assert written, "the change has its comment, or its new text"
        self._notes = [{"id": 1, "body": written[-1].json()["body"]}]
        return seen

    def jobs(self, **variables: str) -> list[str]:
        """Return the jobs whose rules an event meets, in order."""
        text = (self.runner.checkout / ".gitlab/interlock.gitlab-ci.yml").read_text()
        document = YAML(typ="safe", pure=True).load(text)
        known = {"CI_PROJECT_ID": "7", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", **variables}
        return [
            name
            for name, job in document.items()
            if isinstance(job, dict) and any(_holds(rule["if"], known) for rule in job.get("rules", []))
        ]

    def _run(self, names: Iterable[str], **environ: str) -> Seen:
        seen: Seen = []
        for name in names:
            handed = self.runner.checkout / "interlock.env"
            given = dict(line.split("=") for line in handed.read_text().splitlines()) if handed.exists() else {}
            outcome, after = run_gitlab_job(self.runner, name, **environ, **given)
            seen += [(name.partition(":")[0], outcome.code)]
            seen += [("after_script", after.code)] if "wait" in after.out + after.err or name[:5] in _RUNS else []
            if outcome.code and not name.startswith("plan:"):
                break
        return seen

    def merge(self) -> Seen:
        merge_on_gitlab(self.runner)
        return self._run(self.jobs(CI_PIPELINE_SOURCE="push", CI_COMMIT_BRANCH="main"))

    def by_hand(self) -> Seen:
        self.runner.commit()
        names = self.jobs(CI_PIPELINE_SOURCE="web", CI_COMMIT_BRANCH="main")
        planned = self._run([name for name in names if name.startswith("plan")], CI_PIPELINE_SOURCE="web")
        merge_on_gitlab(self.runner)
        job = {"id": 501, "name": "plan-anew:prod-routing", "finished_at": "2026-11-24T11:00:00Z", "status": "success"}
        self.runner.api.on("GET", "/projects/7/pipelines/90/jobs", [job])
        rest = [name for name in names if not name.startswith(("plan", "settings"))]
        return [*planned, *self._run(rest, CI_PIPELINE_SOURCE="web")]

    def schedule(self) -> Seen:
        names = self.jobs(CI_PIPELINE_SOURCE="schedule", INTERLOCK_DRIFT="1", CI_COMMIT_BRANCH="main")
        assert self.jobs(CI_PIPELINE_SOURCE="schedule", CI_COMMIT_BRANCH="main") == []
        return self._run([name for name in names if name != "settings"])

    def fork(self) -> Seen:
        names = self.jobs(CI_PIPELINE_SOURCE="merge_request_event", CI_MERGE_REQUEST_SOURCE_PROJECT_ID="8")
        return [(name, 0) for name in names]

    def twice(self) -> Seen:
        merge_on_gitlab(self.runner)
        sealed = self._run(["seal:prod-routing"])
        return [*sealed, *_together(lambda: self._run(["apply:prod-routing"]))]


_RUNS = frozenset({"plan:", "plan-", "apply", "drift"})


def _holds(rule: str, variables: Mapping[str, str]) -> bool:
    """Say whether a rule's condition holds; ours are equalities joined by `&&`."""
    for part in rule.split("&&"):
        left, right = (
            variables.get(side[1:], "") if side.startswith("$") else side.strip('"')
            for side in (text.strip() for text in part.split("=="))
        )
        if left != right:
            return False
    return True


class OnAzure:
    """Azure Pipelines: which stages a build has is read from their conditions."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._threads: list[dict[str, object]] = []

    def stages(self, reason: str, **more: str) -> list[str]:
        """Return the stages whose conditions a build meets, when those before it went well."""
        text = (self.runner.checkout / "interlock.azure-pipelines.yml").read_text()
        document = YAML(typ="safe", pure=True).load(text)
        branch = "refs/pull/8/merge" if reason == "PullRequest" else "refs/heads/main"
        variables = {"Build.Reason": reason, "Build.SourceBranch": branch, **more}
        results: dict[str, str] = {}
        for stage in document["stages"]:
            wanted = _azure_holds(stage["condition"], variables, results)
            needs = stage["dependsOn"] if isinstance(stage["dependsOn"], list) else [stage["dependsOn"]]
            wanted = wanted and (
                "succeeded()" not in stage["condition"] or all(results[one] == "Succeeded" for one in needs)
            )
            results[stage["stage"]] = "Succeeded" if wanted else "Skipped"
        return [name for name, result in results.items() if result == "Succeeded" and name != "settings"]

    def change(self) -> Seen:
        self.runner.commit()
        self.runner.api.on("GET", "/org/p/_apis/build/builds/3/artifacts", {"value": []})
        threads = "/org/p/_apis/git/repositories/r/pullRequests/8/threads"
        self.runner.api.on("GET", threads, {"value": self._threads})
        self.runner.api.on("POST", threads, {"id": 1})
        self.runner.api.on("PATCH", f"{threads}/1/comments/1", {"id": 1})
        assert self.stages("PullRequest") == ["plan_prod_routing"]
        planned = run_azure_stage(self.runner, "plan_prod_routing")
        pull = {"SYSTEM_PULLREQUEST_PULLREQUESTID": "8"}
        commented = run_azure_stage(self.runner, "plan_prod_routing/comment", **pull)
        written = self.runner.api.sent("PATCH" if self._threads else "POST")
        assert written, "the change has its comment, or its new text"
        body = json.loads(written[-1].body)
        content = body["content"] if self._threads else body["comments"][0]["content"]
        self._threads = [{"id": 1, "comments": [{"id": 1, "content": content}]}]
        return _named([*planned, *commented])

    def merge(self) -> Seen:
        merge_on_azure(self.runner)
        assert self.stages("IndividualCI") == ["seal_prod_routing", "apply_prod_routing"]
        sealed, more = self._seal()
        return sealed if sealed[-1][1] else [*sealed, *self._apply(more)]

    def _seal(self, **environ: str) -> tuple[Seen, dict[str, str]]:
        outcomes = run_azure_stage(self.runner, "seal_prod_routing", **environ)
        if outcomes[-1].code:
            return _named(outcomes), {}
        out = handed_on(outcomes)
        return _named(outcomes), {"PLAN_DIGEST": out["digest"], "PLAN_RUN": out["run"], "SEALED": out["artifact"]}

    def _apply(self, more: Mapping[str, str]) -> Seen:
        return _named(run_azure_stage(self.runner, "apply_prod_routing", **more))

    def by_hand(self) -> Seen:
        self.runner.commit()
        merge_on_azure(self.runner)
        assert self.stages("Manual") == ["plan_prod_routing", "seal_prod_routing", "apply_prod_routing"]
        planned = run_azure_stage(self.runner, "plan_prod_routing", BUILD_REASON="Manual")
        kept = self.runner.api.answers["GET", "/org/p/_apis/build/builds/3/artifacts"]
        self.runner.api.answers["GET", "/org/p/_apis/build/builds/90/artifacts"] = kept
        sealed, more = self._seal(BUILD_REASON="Manual")
        return [*_named(planned), *sealed, *self._apply(more)]

    def schedule(self) -> Seen:
        assert self.stages("Schedule") == ["drift_prod_routing"]
        return _named(run_azure_stage(self.runner, "drift_prod_routing"))

    def fork(self) -> Seen:
        return [(name, 0) for name in self.stages("PullRequest", **{"System.PullRequest.IsFork": "True"})]

    def twice(self) -> Seen:
        merge_on_azure(self.runner)
        sealed, more = self._seal()
        return [*sealed, *_together(lambda: self._apply(more))]


def _azure_holds(condition: str, variables: Mapping[str, str], results: Mapping[str, str]) -> bool:
    """Say whether a stage's condition holds."""
    text = re.sub(r"variables\['([\w.]+)'\]", lambda found: repr(variables.get(found[1], "")), condition)
    text = re.sub(r"dependencies\.(\w+)\.result", lambda found: repr(results.get(found[1], "")), text)
    text = re.sub(r"\b(and|or|in|not)\(", r"\1_(", text)
    names = {
        "and_": lambda *parts: all(parts),
        "or_": lambda *parts: any(parts),
        "in_": lambda one, *others: one in others,
        "not_": lambda one: not one,
        "eq": lambda left, right: left == right,
        "ne": lambda left, right: left != right,
        "succeeded": lambda: True,
    }
    return bool(eval(text, {"__builtins__": {}}, names))  # noqa: S307 - conditions that we have generated ourselves


class OnJenkins:
    """Jenkins: the job of the branch plans by itself, so a merge and a start by hand are the same."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.tokens: dict[str, str] = {}
        self._number = 0

    def _build(self, name: str, **variables: str) -> Seen:
        self._number += 1
        build = Build(
            runner=self.runner,
            file=f"Jenkinsfile.interlock-{name}",
            number=self._number,
            variables=variables,
            tokens=self.tokens,
        )
        return summary(build.run())

    def change(self) -> Seen:
        self.runner.commit()
        return self._build("plan", CHANGE_TARGET="main", BRANCH_NAME="PR-5")

    def merge(self) -> Seen:
        return self._build("apply", BRANCH_NAME="main")

    def by_hand(self) -> Seen:
        self.runner.commit()
        return self.merge()

    def schedule(self) -> Seen:
        return self._build("drift", BRANCH_NAME="main")

    def fork(self) -> Seen:
        return self._build("plan", CHANGE_TARGET="main", CHANGE_FORK="stranger")

    def twice(self) -> Seen:
        """Say that Jenkins itself keeps builds of the job apart; there is nothing to run."""
        text = (self.runner.checkout / "Jenkinsfile.interlock-apply").read_text()
        assert "disableConcurrentBuilds()" in text
        return []


PLATFORMS: Mapping[str, type[OnGitHub | OnGitLab | OnAzure | OnJenkins]] = {
    "github": OnGitHub,
    "gitlab": OnGitLab,
    "azure": OnAzure,
    "jenkins": OnJenkins,
}


def _together(run: Any) -> Seen:
    """Run a job two times at once; what the two applies said, in the order of their exit statuses.

    Both have one checkout and one job id here, so which of the two runs `wait` waits for is nothing to be told.
    """
    with ThreadPoolExecutor(2) as side:
        both = [side.submit(run) for _ in range(2)]
        steps = [step for one in both for step in one.result()]
        return sorted((step for step in steps if step[0] == "apply"), key=lambda step: step[1])


_WORDS = {
    "Let the run end": "wait",
    "Wrap the plan": "wrap",
    "Write the report": "report",
    "Seal the reviewed plan": "seal",
    "Take the reviewed plan": "open",
    "Look for drift": "drift",
    "Show the plan": "show",
}


def _named(outcomes: Iterable[Outcome]) -> Seen:
    return [(_WORDS.get(one.name, one.name.lower()), one.code) for one in outcomes]

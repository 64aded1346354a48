"""A hand: GitLab's REST API v4: resource groups, protected environments, schedules, notes, generic packages."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from interlock.ci.checks import Check, good, unknown, wrong
from interlock.ci.pipeline import Pipeline
from interlock.ci.platforms.api import Api, NoChange, required
from interlock.ci.reviewed import Kept, Source, check_tree, choose, no_plan, parse_instant, tree_id
from interlock.errors import AuthenticationFailed, BackendUnavailable

_TOKENS = ("INTERLOCK_CI_TOKEN", "GITLAB_TOKEN")
WRAPPED_FILE = "plan.bin.wrapped"
ORDERED = "oldest_first"
MAX_PAGES = 20  # of notes that are looked through
DRIFT_VARIABLE = "INTERLOCK_DRIFT"  # what the generated drift jobs ask of a schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLab:
    """One project.

    Attributes:
        api: The API with its token.
        project: `/projects/<id>`.
        environ: The job's environment.
    """

    api: Api
    project: str
    environ: Mapping[str, str] = field(repr=False)

    def checks(self, pipeline: Pipeline, *, repair: bool = False) -> Iterator[Check]:
        """Yield how each queue orders its waiters, who may deploy, and whether drift is scheduled.

        Args:
            pipeline: What must hold.
            repair: Set the process mode where it is another one.
        """
        for target in pipeline.targets:
            yield self._readable(f"resource group interlock-{target.slug}", self._group, target.slug, repair)
        for name in dict.fromkeys(target.environment for target in pipeline.targets):
            yield self._readable(f"environment {name}", self._environment, name)
        if pipeline.drift_cron:
            yield self._readable("drift schedule", self._schedule, pipeline.drift_cron, pipeline.branch)

    def _readable(self, subject: str, look: Any, *arguments: object) -> Check:
        try:
            found: Check = look(subject, *arguments)
        except AuthenticationFailed as error:
            return unknown(subject, error.why, f"give {_TOKENS[0]} a project access token with scope api")
        return found

    def _group(self, subject: str, slug: str, repair: bool) -> Check:
        path = f"{self.project}/resource_groups/interlock-{slug}"
        found = self.api.find(path)
        if found is None:
            return unknown(
                subject, "it does not exist yet; its first job creates it", "check again after the first apply"
            )
        mode = found.get("process_mode")
        if mode == ORDERED:
            return good(subject, f"its process mode is {ORDERED}")
        if repair:
            changed = self.api.send("PUT", path, process_mode=ORDERED) or {}
            if changed.get("process_mode") == ORDERED:
                return good(subject, f"its process mode was {mode} and is {ORDERED} now")
        fix = f"interlock ci check --repair    or: PUT {path}?process_mode={ORDERED}"
        return wrong(subject, f"its process mode is {mode}: waiting deployments run in another order", fix)

    def _environment(self, subject: str, name: str) -> Check:
        found = self.api.find(f"{self.project}/protected_environments/{urllib.parse.quote(name, safe='')}")
        if found is None:
            fix = f"protect {name} in Settings > CI/CD > Protected environments (GitLab Premium)"
            return wrong(subject, "it is not protected, so everybody who may push may deploy", fix)
        if any(int(rule.get("required_approvals") or 0) > 0 for rule in found.get("approval_rules") or []) or (
            int(found.get("required_approval_count") or 0) > 0
        ):
            return good(subject, "it is protected and asks for approval")
        return good(subject, "it is protected; only chosen people may deploy, and nobody is asked")

    def _schedule(self, subject: str, cron: str, branch: str) -> Check:
        """Look for our own schedule: another one of the project starts no drift job."""
        found = self.api.find(f"{self.project}/pipeline_schedules", scope="active") or []
        here = [one for one in found if one.get("active") and _branch(one.get("ref")) == branch]
        answers = [self._scans(one) for one in here]
        if True in answers:
            return good(subject, f"one is active on {branch} with {DRIFT_VARIABLE}")
        if None in answers:
            fix = f"look whether one of them has the variable {DRIFT_VARIABLE}=1, or use a maintainer's token"
            return unknown(subject, f"{len(here)} active on {branch}, and this token may not read their variables", fix)
        fix = f'add one in Build > Pipeline schedules on {branch}, for example "{cron}", with {DRIFT_VARIABLE}=1'
        return wrong(
            subject, f"no active pipeline schedule on {branch} sets {DRIFT_VARIABLE}=1: no drift is found", fix
        )

    def _scans(self, schedule: Mapping[str, Any]) -> bool | None:
        """Say whether a schedule starts the drift jobs; None when its variables are not shown to this token."""
        whole = self.api.find(f"{self.project}/pipeline_schedules/{schedule['id']}") or {}
        variables = whole.get("variables")
        if variables is None:
            return None
        return any(one.get("key") == DRIFT_VARIABLE and one.get("value") == "1" for one in variables)

    def comment(self, body: str, mark: str) -> str:
        """Write or replace the merge request's note; returns the merge request's address.

        Raises:
            NoChange: The job belongs to no merge request.
        """
        number = self.environ.get("CI_MERGE_REQUEST_IID")
        if not number:
            raise NoChange("this job belongs to no merge request", fix="use --to-summary outside merge requests")
        notes = f"{self.project}/merge_requests/{number}/notes"
        url = f"{self.environ.get('CI_MERGE_REQUEST_PROJECT_URL', '')}/-/merge_requests/{number}"
        for page in range(1, MAX_PAGES + 1):
            found = self.api.find(notes, per_page="100", page=str(page)) or []
            for note in found:
                if str(note.get("body", "")).startswith(mark):
                    self.api.send("PUT", f"{notes}/{note['id']}", {"body": body})
                    return url
            if len(found) < 100:  # noqa: PLR2004 - per_page above
                break
        self.api.send("POST", notes, {"body": body})
        return url

    def source(self, slug: str, *, state: str, branch: str) -> Source:
        """Return the plan that was reviewed: for a merge the merge request's, by hand this pipeline's own.

        Args:
            slug: The state as part of job names.
            state: The state, for messages.
            branch: The branch that is deployed.

        Raises:
            PolicyGate: There is none for these files.
        """
        commit = required(self.environ, "CI_COMMIT_SHA", title="no commit", fix="run in GitLab CI")
        if self.environ.get("CI_PIPELINE_SOURCE") == "web":
            pipeline = required(self.environ, "CI_PIPELINE_ID", title="no pipeline", fix="run in GitLab CI")
            kept = choose(self._kept([pipeline], f"plan-anew:{slug}"), until=None, state=state)
            return self._taken(kept, commit, "planned by this pipeline")
        merge = self._merged(commit, branch, state)
        head, number = str(merge["sha"]), str(merge["iid"])
        check_tree(self._tree(head), self._tree(commit), state=state)
        pipelines = self._planned(number, head)
        kept = choose(self._kept(pipelines, f"plan:{slug}"), until=self._approved_at(merge), state=state)
        return self._taken(kept, head, f"merge request {number}")

    def _taken(self, kept: Kept, commit: str, words: str) -> Source:
        wrapped = self.api.find_bytes(f"{self.project}/jobs/{kept.attempt}/artifacts/{WRAPPED_FILE}")
        if wrapped is None:
            raise BackendUnavailable("GitLab no longer has the reviewed plan", fix="plan again and have it reviewed")
        tree = self._tree(commit)
        return Source(run=kept.run, attempt=kept.attempt, commit=commit, tree=tree, wrapped=wrapped, words=words)

    def _tree(self, commit: str) -> str:
        entries: list[Mapping[str, Any]] = []
        for page in range(1, MAX_PAGES + 1):
            found = self.api.find(f"{self.project}/repository/tree", ref=commit, per_page="100", page=str(page)) or []
            entries += found
            if len(found) < 100:  # noqa: PLR2004 - per_page above
                return tree_id(entries)
        return ""

    def _merged(self, commit: str, branch: str, state: str) -> Mapping[str, Any]:
        """Return the merge request whose merge made this commit."""
        path = f"{self.project}/repository/commits/{urllib.parse.quote(commit, safe='')}/merge_requests"
        for merge in self.api.find(path) or []:
            made = commit in (merge.get("merge_commit_sha"), merge.get("squash_commit_sha"), merge.get("sha"))
            own = merge.get("source_project_id") == merge.get("target_project_id")  # a fork's plan is a stranger's
            if merge.get("state") == "merged" and merge.get("target_branch") == branch and made and own:
                return dict(merge)
        raise no_plan(state, "no merged merge request of this project made this commit, so nobody reviewed it")

    def _approved_at(self, merge: Mapping[str, Any]) -> datetime | None:
        """Return when it was approved last; the merge where nobody had to approve, or GitLab does not say when."""
        found = self.api.find(f"{self.project}/merge_requests/{merge['iid']}/approvals") or {}
        at = [parse_instant(one.get("approved_at")) for one in found.get("approved_by") or []]
        known = [one for one in at if one is not None]
        return max(known) if known else parse_instant(merge.get("merged_at"))

    def _planned(self, number: str, head: str) -> list[str]:
        found = self.api.find(f"{self.project}/merge_requests/{number}/pipelines", per_page="100") or []
        return [str(pipeline["id"]) for pipeline in found if pipeline.get("sha") == head]

    def planned(self) -> list[str]:
        """Return the roots that this very pipeline has plan jobs for, as parts of job names."""
        pipeline = required(self.environ, "CI_PIPELINE_ID", title="no pipeline", fix="run in GitLab CI")
        names = (str(job.get("name")) for job in self._jobs(pipeline))
        return [name.removeprefix("plan:") for name in names if name.startswith("plan:")]

    def _jobs(self, pipeline: str) -> Iterator[Mapping[str, Any]]:
        """Yield every job of a pipeline: thirty roots have more than a page of them."""
        path = f"{self.project}/pipelines/{pipeline}/jobs"
        for page in range(1, MAX_PAGES + 1):
            found = self.api.find(path, include_retried="true", per_page="100", page=str(page)) or []
            yield from found
            if len(found) < 100:  # noqa: PLR2004 - per_page above
                return

    def _kept(self, pipelines: list[str], job: str) -> Iterator[Kept]:
        """Yield the successful jobs of that name, repeated ones too: each has its own id and artifacts for ever."""
        for pipeline in pipelines:
            for found in self._jobs(pipeline):
                made_at = parse_instant(found.get("finished_at"))
                if found.get("name") == job and found.get("status") == "success" and made_at is not None:
                    number = str(found["id"])
                    yield Kept(run=pipeline, attempt=number, made_at=made_at, where=number)


def _branch(ref: object) -> str:
    return str(ref or "").removeprefix("refs/heads/")


def gitlab_identity(environ: Mapping[str, str], audience: str) -> str:
    """Return the job's signed identity token, which `id_tokens:` put into the environment.

    Raises:
        UsageError: The job has none.
    """
    fix = f"add `id_tokens: {{INTERLOCK_ID_TOKEN: {{aud: {audience}}}}}` to the job"
    return required(environ, "INTERLOCK_ID_TOKEN", title="GitLab gives no identity token", fix=fix)


def open_gitlab(environ: Mapping[str, str]) -> GitLab:
    """Return the project that the environment names.

    Raises:
        UsageError: Project or token is missing.
    """
    fix = "run in GitLab CI, or set CI_API_V4_URL, CI_PROJECT_ID and INTERLOCK_CI_TOKEN"
    token = required(environ, *_TOKENS, "CI_JOB_TOKEN", title="no token for GitLab", fix=fix)
    project = required(environ, "CI_PROJECT_ID", "CI_PROJECT_PATH", title="no GitLab project", fix=fix)
    base = environ.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"
    own = not any(environ.get(name) for name in _TOKENS)
    api = Api(
        base=base.rstrip("/"),
        headers={"JOB-TOKEN" if own else "PRIVATE-TOKEN": token},
        title="GitLab",
        token_names=" or ".join(_TOKENS),
    )
    return GitLab(api=api, project=f"/projects/{urllib.parse.quote(project, safe='')}", environ=environ)

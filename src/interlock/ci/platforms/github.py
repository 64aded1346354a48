"""A hand: GitHub's REST API, version 2022-11-28: environments, artifacts, issue comments, OIDC."""

from __future__ import annotations

import io
import urllib.parse
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from interlock.amounts import amount
from interlock.bounded import read_json
from interlock.ci.checks import Check, good, unknown, wrong
from interlock.ci.pipeline import Pipeline
from interlock.ci.platforms.api import MAX_ANSWER_BYTES, Api, NoChange, required
from interlock.ci.reviewed import Kept, Source, attempt_in, check_tree, choose, no_plan, parse_instant
from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError
from interlock.unpacking import UNPACKING_FAULTS

_TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
PLAN_WORKFLOW = "interlock-plan.yml"
MAX_PAGES = 20  # of comments or artifacts that are looked through


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHub:
    """One repository.

    Attributes:
        api: The API with its token.
        repository: `owner/name`.
        environ: The job's environment.
    """

    api: Api
    repository: str
    environ: Mapping[str, str] = field(repr=False)

    def checks(self, pipeline: Pipeline) -> Iterator[Check]:
        """Yield whether each environment has reviewers and admits only the branch."""
        for name in dict.fromkeys(target.environment for target in pipeline.targets):
            yield from self._environment(name, pipeline.branch, asks=True)
            # A pull request's own workflow file could name it otherwise, and would get the key that vouches for plans.
            yield from self._environment(f"{name}-seal", pipeline.branch, asks=False)

    def _environment(self, name: str, branch: str, *, asks: bool) -> Iterator[Check]:
        """Yield what is to be said of one environment; `asks`: somebody must approve a deployment to it."""
        subject = f"environment {name}"
        where = f"Settings > Environments > {name}"
        try:
            found = self.api.find(f"/repos/{self.repository}/environments/{urllib.parse.quote(name, safe='')}")
        except AuthenticationFailed as error:
            yield unknown(subject, error.why, f"run with a token that may read environments ({' or '.join(_TOKENS)})")
            return
        if found is None:
            yield wrong(subject, "it does not exist, so any branch's job may make and use it", f"create it in {where}")
            return
        if asks:
            yield self._reviewers(subject, found, where)
        yield self._branches(subject, found, where, branch)

    def _reviewers(self, subject: str, found: Mapping[str, Any], where: str) -> Check:
        rules = {rule.get("type"): rule for rule in found.get("protection_rules") or []}
        if (rules.get("required_reviewers") or {}).get("reviewers"):
            return good(subject, "an apply waits for its reviewers")
        return wrong(subject, "no reviewers are required", f"add required reviewers in {where}")

    def _branches(self, subject: str, found: Mapping[str, Any], where: str, branch: str) -> Check:
        policy = found.get("deployment_branch_policy")
        fix = f"limit deployment branches to {branch} in {where}"
        if not policy:
            return wrong(subject, "every branch may deploy to it", fix)
        if not policy.get("custom_branch_policies"):
            return good(subject, "only protected branches may deploy to it")
        names = self._policies(str(found.get("name") or subject.removeprefix("environment ")))
        if names is None:
            return unknown(subject, "this token may not read which branches may deploy", f"look at {where}")
        others = [name for name in names if name != branch]
        if others:
            return wrong(subject, f"other branches or tags may deploy to it: {', '.join(others)}", fix)
        return (
            good(subject, f"only {branch} may deploy to it") if names else wrong(subject, "no branch may deploy", fix)
        )

    def _policies(self, name: str) -> list[str] | None:
        """Return the patterns of the branches and tags that may deploy to an environment; None when they are hidden."""
        path = f"/repos/{self.repository}/environments/{urllib.parse.quote(name, safe='')}/deployment-branch-policies"
        try:
            answer = self.api.find(path, per_page="100")
        except AuthenticationFailed:
            return None
        found = [] if answer is None else answer.get("branch_policies") or []
        return (
            None
            if answer is None
            else [f"{'tag ' if one.get('type') == 'tag' else ''}{one.get('name')}" for one in found]
        )

    def comment(self, body: str, mark: str) -> str:
        """Write or replace the pull request's comment; returns its address.

        Raises:
            NoChange: The job belongs to no pull request.
        """
        number = self._pull_request()
        issues = f"/repos/{self.repository}/issues"
        for page in range(1, MAX_PAGES + 1):
            found = self.api.find(f"{issues}/{number}/comments", per_page="100", page=str(page)) or []
            for comment in found:
                if str(comment.get("body", "")).startswith(mark):
                    answer = self.api.send("PATCH", f"{issues}/comments/{comment['id']}", {"body": body})
                    return str((answer or {}).get("html_url", ""))
            if len(found) < 100:  # noqa: PLR2004 - per_page above
                break
        answer = self.api.send("POST", f"{issues}/{number}/comments", {"body": body})
        return str((answer or {}).get("html_url", ""))

    def _pull_request(self) -> int:
        path = self.environ.get("GITHUB_EVENT_PATH", "")
        try:
            event = read_json(Path(path).read_bytes()) if path else {}
        except (OSError, ValueError):
            event = {}
        number = (event.get("pull_request") or {}).get("number") if isinstance(event, dict) else None
        if not isinstance(number, int):
            raise NoChange("this job belongs to no pull request", fix="use --to-summary outside pull requests")
        return number

    def source(self, slug: str, *, state: str, branch: str) -> Source:
        """Return the plan that was reviewed: for a merge the pull request's, by hand this run's own.

        Args:
            slug: The state as part of names.
            state: The state, for messages.
            branch: The branch that is deployed.

        Raises:
            PolicyGate: There is none for these files.
        """
        commit = required(self.environ, "GITHUB_SHA", title="no commit", fix="run in GitHub Actions")
        if self.environ.get("GITHUB_EVENT_NAME") == "workflow_dispatch":
            run = required(self.environ, "GITHUB_RUN_ID", title="no run", fix="run in GitHub Actions")
            kept = choose(self._kept([run], slug), until=None, state=state)
            return self._taken(kept, commit, "planned by this run")
        pull = self._merged(commit, branch, state)
        head, number = str(pull["head"]["sha"]), int(pull["number"])
        check_tree(self._tree(head), self._tree(commit), state=state)
        kept = choose(self._kept(self._planned(head), slug), until=self._approved_at(pull, head, state), state=state)
        return self._taken(kept, head, f"pull request {number}")

    def _taken(self, kept: Kept, commit: str, words: str) -> Source:
        archive = self.api.find_bytes(f"/repos/{self.repository}/actions/artifacts/{kept.where}/zip")
        if archive is None:
            raise BackendUnavailable("GitHub no longer has the reviewed plan", fix="plan again and have it reviewed")
        tree, wrapped = self._tree(commit), only_file(archive)
        return Source(run=kept.run, attempt=kept.attempt, commit=commit, tree=tree, wrapped=wrapped, words=words)

    def _tree(self, commit: str) -> str:
        found = self.api.find(f"/repos/{self.repository}/git/commits/{urllib.parse.quote(commit, safe='')}") or {}
        return str((found.get("tree") or {}).get("sha") or "")

    def _merged(self, commit: str, branch: str, state: str) -> Mapping[str, Any]:
        """Return the pull request whose merge made this commit."""
        for pull in self.api.find(f"/repos/{self.repository}/commits/{commit}/pulls", per_page="100") or []:
            own = ((pull.get("head") or {}).get("repo") or {}).get("full_name") == self.repository
            here = pull.get("merge_commit_sha") == commit and (pull.get("base") or {}).get("ref") == branch
            if pull.get("merged_at") and own and here:
                return dict(pull)
        raise no_plan(state, "no merged pull request of this repository made this commit, so nobody reviewed it")

    def _approved_at(self, pull: Mapping[str, Any], head: str, state: str) -> datetime | None:
        """Return when the head was approved last; the merge where nobody had to approve."""
        reviews: list[Mapping[str, Any]] = []
        for page in range(1, MAX_PAGES + 1):
            path = f"/repos/{self.repository}/pulls/{pull['number']}/reviews"
            found = self.api.find(path, per_page="100", page=str(page)) or []
            reviews += found
            if len(found) < 100:  # noqa: PLR2004 - per_page above
                break
        approvals = [review for review in reviews if review.get("state") == "APPROVED"]
        if not approvals:
            return parse_instant(pull["merged_at"])
        at = [parse_instant(review.get("submitted_at")) for review in approvals if review.get("commit_id") == head]
        found_at = [one for one in at if one is not None]
        if not found_at:
            raise no_plan(state, "the pull request was approved before its last commit, and not after")
        return max(found_at)

    def _planned(self, head: str) -> list[str]:
        """Return the runs of our plan workflow for a commit of this repository's own branches."""
        path = f"/repos/{self.repository}/actions/workflows/{PLAN_WORKFLOW}/runs"
        found = self.api.find(path, head_sha=head, event="pull_request", per_page="100") or {}
        return [
            str(run["id"])
            for run in found.get("workflow_runs") or []
            # A fork's run belongs to this repository's list too; its plan is a stranger's.
            if run.get("head_sha") == head
            and (run.get("head_repository") or {}).get("full_name") == self.repository
            and run.get("event") == "pull_request"
        ]

    def _kept(self, runs: list[str], slug: str) -> Iterator[Kept]:
        for run in runs:
            for artifact in self._artifacts(run):
                attempt = attempt_in(str(artifact.get("name")), slug)
                made_at = parse_instant(artifact.get("created_at"))
                if attempt is not None and made_at is not None and not artifact.get("expired"):
                    yield Kept(run=run, attempt=attempt, made_at=made_at, where=str(artifact["id"]))

    def _artifacts(self, run: str) -> Iterator[Mapping[str, Any]]:
        for page in range(1, MAX_PAGES + 1):
            path = f"/repos/{self.repository}/actions/runs/{urllib.parse.quote(run, safe='')}/artifacts"
            found = (self.api.find(path, per_page="100", page=str(page)) or {}).get("artifacts") or []
            yield from found
            if len(found) < 100:  # noqa: PLR2004 - per_page above
                return

    def own(self, name: str) -> bytes | None:
        """Return the newest artifact of that name that this very run has kept; None when there is none."""
        run = required(self.environ, "GITHUB_RUN_ID", title="no run", fix="run in GitHub Actions")
        found = [one for one in self._artifacts(run) if one.get("name") == name and not one.get("expired")]
        if not found:
            return None
        newest = max(found, key=lambda one: str(one.get("created_at")))
        archive = self.api.find_bytes(f"/repos/{self.repository}/actions/artifacts/{newest['id']}/zip")
        return None if archive is None else only_file(archive)


def github_identity(environ: Mapping[str, str], audience: str) -> str:
    """Return the job's signed identity token; no other token is needed for it.

    Raises:
        UsageError: The job may not ask for one.
    """
    url = required(
        environ,
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        title="GitHub gives no identity token",
        fix="add `permissions: {id-token: write}` to the job",
    )
    headers = {"Authorization": f"Bearer {environ.get('ACTIONS_ID_TOKEN_REQUEST_TOKEN', '')}"}
    api = Api(base=url, headers=headers, title="GitHub", token_names="the job's permissions")  # noqa: S106 - a message
    answer = api.find(f"&audience={urllib.parse.quote(audience)}") or {}
    if not answer.get("value"):
        raise BackendUnavailable("GitHub gave no identity token", fix="try again")
    return str(answer["value"])


def open_github(environ: Mapping[str, str]) -> GitHub:
    """Return the repository that the environment names.

    Raises:
        UsageError: Repository or token is missing.
    """
    fix = "run in GitHub Actions, or set GITHUB_REPOSITORY=owner/name and GITHUB_TOKEN"
    token = required(environ, *_TOKENS, title="no token for GitHub", fix=fix)
    repository = required(environ, "GITHUB_REPOSITORY", title="no GitHub repository", fix=fix)
    base = environ.get("GITHUB_API_URL") or "https://api.github.com"
    headers = {"Authorization": f"Bearer {token}", "X-GitHub-Api-Version": "2022-11-28"}
    api = Api(base=base.rstrip("/"), headers=headers, title="GitHub", token_names=" or ".join(_TOKENS))
    return GitHub(api=api, repository=repository, environ=environ)


def only_file(archive: bytes) -> bytes:
    """Return the one file of an artifact's zip.

    Raises:
        UsageError: It is no such zip, or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            files = [entry for entry in opened.infolist() if not entry.is_dir()]
            if len(files) != 1 or files[0].file_size > MAX_ANSWER_BYTES:
                raise UsageError("the artifact is not one file", why=f"it holds {amount(len(files), 'file')}")
            return opened.read(files[0])
    except UNPACKING_FAULTS as error:
        raise UsageError("the artifact cannot be unpacked", why=str(error), fix="plan again") from error

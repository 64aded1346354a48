"""A hand: GitHub's REST API, version 2022-11-28: environments, artifacts, issue comments, OIDC."""

from __future__ import annotations

import io
import json
import urllib.parse
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interlock.ci.checks import Check, good, unknown, wrong
from interlock.ci.pipeline import Pipeline
from interlock.ci.platforms.api import MAX_ANSWER_BYTES, Api, required
from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError

_TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
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
            yield from self._environment(name, pipeline.branch)

    def _environment(self, name: str, branch: str) -> Iterator[Check]:
        subject = f"environment {name}"
        where = f"Settings > Environments > {name}"
        try:
            found = self.api.find(f"/repos/{self.repository}/environments/{urllib.parse.quote(name, safe='')}")
        except AuthenticationFailed as error:
            yield unknown(subject, error.why, f"run with a token that may read environments ({' or '.join(_TOKENS)})")
            return
        if found is None:
            yield wrong(subject, "it does not exist, so nobody is asked before an apply", f"create it in {where}")
            return
        rules = {rule.get("type"): rule for rule in found.get("protection_rules") or []}
        if (rules.get("required_reviewers") or {}).get("reviewers"):
            yield good(subject, "an apply waits for its reviewers")
        else:
            yield wrong(subject, "no reviewers are required", f"add required reviewers in {where}")
        yield self._branches(subject, found, where, branch)

    def _branches(self, subject: str, found: Mapping[str, Any], where: str, branch: str) -> Check:
        if found.get("deployment_branch_policy"):
            return good(subject, "only chosen branches may deploy to it")
        return wrong(subject, "every branch may deploy to it", f"limit deployment branches to {branch} in {where}")

    def comment(self, body: str, mark: str) -> str:
        """Write or replace the pull request's comment; returns its address.

        Raises:
            UsageError: The job belongs to no pull request.
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
            event = json.loads(Path(path).read_bytes()) if path else {}
        except (OSError, ValueError):
            event = {}
        number = (event.get("pull_request") or {}).get("number") if isinstance(event, dict) else None
        if not isinstance(number, int):
            raise UsageError("this job belongs to no pull request", fix="use --to-summary outside pull requests")
        return number

    def fetch(self, name: str) -> bytes | None:
        """Return the newest unexpired artifact of that name that this repository's own branches made."""
        newest: dict[str, Any] | None = None
        found = self.api.find(f"/repos/{self.repository}/actions/artifacts", name=name, per_page="100") or {}
        for artifact in found.get("artifacts") or []:
            run = artifact.get("workflow_run") or {}
            # A fork's run belongs to this repository's list too; its plan is a stranger's.
            own = run.get("head_repository_id") == run.get("repository_id")
            newer = newest is None or str(artifact.get("created_at")) > str(newest.get("created_at"))
            if artifact.get("name") == name and not artifact.get("expired") and own and newer:
                newest = artifact
        if newest is None:
            return None
        archive = self.api.find_bytes(f"/repos/{self.repository}/actions/artifacts/{newest['id']}/zip")
        return None if archive is None else only_file(archive)

    def publish(self, name: str, sealed: bytes) -> None:
        """Refuse: GitHub takes artifacts only from its upload action.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            f"GitHub takes {name} ({len(sealed)} bytes) only from actions/upload-artifact", fix="leave out --publish"
        )


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
                raise UsageError("the artifact is not one sealed plan", why=f"it holds {len(files)} files")
            return opened.read(files[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise UsageError("the artifact cannot be unpacked", why=str(error), fix="plan again") from error

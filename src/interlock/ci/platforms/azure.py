"""A hand: Azure DevOps' REST API 7.1: environments and their checks, builds and artifacts, threads, OIDC."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from interlock.ci.checks import Check, good, unknown, wrong
from interlock.ci.pipeline import Pipeline
from interlock.ci.platforms.api import Api, NoChange, required
from interlock.ci.platforms.github import only_file
from interlock.ci.reviewed import Kept, Source, attempt_in, check_tree, choose, no_plan, parse_instant
from interlock.errors import AuthenticationFailed, BackendUnavailable, PolicyGate
from interlock.trust.sending import Origin

_TOKENS = ("SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT")
_VERSION = "7.1"
_PREVIEW = "7.1-preview.1"
_HTTPS = 443
MAX_BUILDS = 100  # latest builds whose artifacts are looked through


@dataclass(frozen=True, slots=True, kw_only=True)
class Azure:
    """One project.

    Attributes:
        api: The API with its token; its base is the project's address.
        environ: The job's environment.
    """

    api: Api
    environ: Mapping[str, str] = field(repr=False)

    def checks(self, pipeline: Pipeline) -> Iterator[Check]:
        """Yield whether each environment has an exclusive lock and approvals."""
        for name in dict.fromkeys(target.environment for target in pipeline.targets):
            subject = f"environment {name}"
            try:
                yield from self._environment(subject, name)
            except AuthenticationFailed as error:
                yield unknown(subject, error.why, f"run with a token that may read environments ({_TOKENS[1]})")

    def _environment(self, subject: str, name: str) -> Iterator[Check]:
        found = self.api.find("/_apis/distributedtask/environments", name=name, **{"api-version": _VERSION}) or {}
        match = next((entry for entry in found.get("value") or [] if entry.get("name") == name), None)
        where = f"Pipelines > Environments > {name} > Approvals and checks"
        if match is None:
            yield wrong(subject, "it does not exist, so nobody is asked and nothing waits", f"create it, then: {where}")
            return
        answer = self.api.find(
            "/_apis/pipelines/checks/configurations",
            resourceType="environment",
            resourceId=str(match["id"]),
            **{"$expand": "settings", "api-version": _PREVIEW},
        )
        # One that was switched off is listed like any other.
        kinds = {_kind(check) for check in (answer or {}).get("value") or [] if not check.get("isDisabled")}
        if "exclusivelock" in kinds:
            yield good(subject, "an exclusive lock keeps its deployments apart")
        else:
            yield wrong(subject, "no exclusive lock: `lockBehavior` has no effect", f"add Exclusive Lock in {where}")
        if "approval" in kinds:
            yield good(subject, "an apply waits for approval")
        else:
            yield wrong(subject, "no approval is asked for", f"add Approvals in {where}")

    def comment(self, body: str, mark: str) -> str:
        """Write or replace the pull request's thread (Azure Repos); returns the pull request's number.

        Raises:
            NoChange: The build belongs to no pull request of Azure Repos.
        """
        number = self.environ.get("SYSTEM_PULLREQUEST_PULLREQUESTID")
        repository = self.environ.get("BUILD_REPOSITORY_ID")
        if not number or not repository or self.environ.get("BUILD_REPOSITORY_PROVIDER", "TfsGit") != "TfsGit":
            raise NoChange(
                "this build belongs to no pull request of Azure Repos",
                fix="use --to-summary; for pull requests on GitHub use GitHub's own comments",
            )
        threads = f"/_apis/git/repositories/{repository}/pullRequests/{number}/threads"
        version = {"api-version": _VERSION}
        for thread in (self.api.find(threads, **version) or {}).get("value") or []:
            for comment in (thread.get("comments") or [])[:1]:
                if str(comment.get("content") or "").startswith(mark):
                    path = f"{threads}/{thread['id']}/comments/{comment['id']}"
                    self.api.send("PATCH", path, {"content": body}, **version)
                    return str(number)
        first = {"parentCommentId": 0, "content": body, "commentType": 1}
        self.api.send("POST", threads, {"comments": [first], "status": 4}, **version)  # 4: closed, needs no answer
        return str(number)

    def source(self, slug: str, *, state: str, branch: str) -> Source:
        """Return the plan that was reviewed: for a merge the pull request's, by hand this build's own.

        Args:
            slug: The state as part of names.
            state: The state, for messages.
            branch: The branch that is deployed.

        Raises:
            PolicyGate: There is none for these files.
        """
        commit = required(self.environ, "BUILD_SOURCEVERSION", title="no commit", fix="run in Azure Pipelines")
        if self.environ.get("BUILD_REASON") == "Manual":
            build = required(self.environ, "BUILD_BUILDID", title="no build", fix="run in Azure Pipelines")
            kept = choose(self._kept([{"id": build}], slug), until=None, state=state)
            return self._taken(kept, commit, "planned by this build")
        pull = self._merged(commit, branch, state)
        until = parse_instant(pull.get("closedDate"))
        builds = self._planned(int(pull["pullRequestId"]), str((pull.get("lastMergeSourceCommit") or {})["commitId"]))
        kept = choose(self._kept(builds, slug), until=until, state=state)
        planned = next(str(one.get("sourceVersion")) for one in builds if str(one["id"]) == kept.run)
        check_tree(self._tree(planned), self._tree(commit), state=state)
        return self._taken(kept, planned, f"pull request {pull['pullRequestId']}")

    def _taken(self, kept: Kept, commit: str, words: str) -> Source:
        wrapped = self._download(kept.where)
        if wrapped is None:
            raise BackendUnavailable("Azure no longer has the reviewed plan", fix="plan again and have it reviewed")
        tree = self._tree(commit)
        return Source(run=kept.run, attempt=kept.attempt, commit=commit, tree=tree, wrapped=wrapped, words=words)

    def _repository(self) -> str:
        found = required(self.environ, "BUILD_REPOSITORY_ID", title="no repository", fix="run in Azure Pipelines")
        return f"/_apis/git/repositories/{urllib.parse.quote(found, safe='')}"

    def _tree(self, commit: str) -> str:
        path = f"{self._repository()}/commits/{urllib.parse.quote(commit, safe='')}"
        return str((self.api.find(path, **{"api-version": _VERSION}) or {}).get("treeId") or "")

    def _merged(self, commit: str, branch: str, state: str) -> Mapping[str, Any]:
        """Return the pull request (of Azure Repos) whose merge made this commit."""
        query = {"searchCriteria.status": "completed", "searchCriteria.targetRefName": f"refs/heads/{branch}"}
        found = self.api.find(f"{self._repository()}/pullrequests", **query, **{"$top": "100", "api-version": _VERSION})
        for pull in (found or {}).get("value") or []:
            if (pull.get("lastMergeCommit") or {}).get("commitId") == commit and not pull.get("forkSource"):
                return dict(pull)
        raise no_plan(state, "no completed pull request of this repository made this commit, so nobody reviewed it")

    def _planned(self, number: int, head: str) -> list[Mapping[str, Any]]:
        """Return the builds of this pipeline for the pull request's last commit."""
        definition = required(self.environ, "SYSTEM_DEFINITIONID", title="no pipeline", fix="run in Azure Pipelines")
        query = {"definitions": definition, "reasonFilter": "pullRequest", "branchName": f"refs/pull/{number}/merge"}
        found = self.api.find("/_apis/build/builds", **query, **{"$top": str(MAX_BUILDS), "api-version": _VERSION})
        return [
            build
            for build in (found or {}).get("value") or []
            if (build.get("triggerInfo") or {}).get("pr.sourceSha") == head
        ]

    def commit_before(self) -> str:
        """Return the commit of the build of this branch before this one; what it left undone is for its own re-run.

        Raises:
            PolicyGate: There is none, so nobody knows what this push brought.
        """
        names = {"definitions": "SYSTEM_DEFINITIONID", "branchName": "BUILD_SOURCEBRANCH", "own": "BUILD_BUILDID"}
        fix = "run in Azure Pipelines"
        query = {key: required(self.environ, name, title="no build", fix=fix) for key, name in names.items()}
        own = int(query.pop("own"))
        kinds = {"reasonFilter": "individualCI,batchedCI", "queryOrder": "queueTimeDescending"}
        found = self.api.find("/_apis/build/builds", **query, **kinds, **{"$top": "50", "api-version": _VERSION})
        for build in (found or {}).get("value") or []:
            if int(build.get("id") or own) < own and build.get("sourceVersion"):
                return str(build["sourceVersion"])
        raise PolicyGate(
            "nobody knows what this push has changed",
            why=f"this pipeline has no earlier build of {query['branchName']}",
            fix="run the pipeline by hand, which works on all roots",
        )

    def _kept(self, builds: list[Mapping[str, Any]], slug: str) -> Iterator[Kept]:
        for build in builds:
            made_at = parse_instant(build.get("finishTime")) or datetime.max.replace(tzinfo=UTC)
            path = f"/_apis/build/builds/{build['id']}/artifacts"
            for artifact in (self.api.find(path, **{"api-version": _VERSION}) or {}).get("value") or []:
                attempt = attempt_in(str(artifact.get("name")), slug)
                url = (artifact.get("resource") or {}).get("downloadUrl")
                if attempt is not None and url:
                    yield Kept(run=str(build["id"]), attempt=attempt, made_at=made_at, where=str(url))

    def _download(self, url: str) -> bytes | None:
        archive = self.api.download(url, accept="application/zip", is_ours=_is_microsofts)
        return None if archive is None else only_file(archive)


def azure_identity(environ: Mapping[str, str], audience: str) -> str:
    """Return the job's signed identity token; in a step with a service connection, that connection's own.

    Azure writes its own audience into it, whatever is asked for.

    Raises:
        UsageError: The job may not ask for one.
    """
    if environ.get("idToken"):  # AzureCLI@2 with addSpnToEnvironment
        return environ["idToken"]
    fix = "map SYSTEM_ACCESSTOKEN: $(System.AccessToken) into the step"
    url = required(environ, "SYSTEM_OIDCREQUESTURI", title="Azure gives no identity token", fix=fix)
    token = required(environ, "SYSTEM_ACCESSTOKEN", title="Azure gives no identity token", fix=fix)
    api = Api(base=url, headers={"Authorization": f"Bearer {token}"}, title="Azure DevOps", token_names=_TOKENS[0])
    query = urllib.parse.urlencode({"audience": audience, "api-version": _PREVIEW})
    answer = api.send("POST", f"{'&' if '?' in url else '?'}{query}", {}) or {}
    if not answer.get("oidcToken"):
        raise BackendUnavailable("Azure gave no identity token", fix="try again")
    return str(answer["oidcToken"])


def _is_microsofts(origin: Origin) -> bool:
    """Say whether Azure DevOps itself answers there: artifacts are at hosts of their own."""
    return origin.port == _HTTPS and origin.host.endswith((".dev.azure.com", ".visualstudio.com"))


def _kind(check: Mapping[str, Any]) -> str:
    kind = check.get("type") or {}
    return str(kind.get("name", "")).replace(" ", "").lower()


def open_azure(environ: Mapping[str, str]) -> Azure:
    """Return the project that the environment names.

    Raises:
        UsageError: Project or token is missing.
    """
    fix = "run in Azure Pipelines with SYSTEM_ACCESSTOKEN mapped, or set these and AZURE_DEVOPS_EXT_PAT"
    collection = required(environ, "SYSTEM_COLLECTIONURI", title="no Azure DevOps organisation", fix=fix)
    project = required(environ, "SYSTEM_TEAMPROJECT", title="no Azure DevOps project", fix=fix)
    token = required(environ, *_TOKENS, title="no token for Azure DevOps", fix=fix)
    basic = base64.b64encode(f":{token}".encode()).decode()
    own = bool(environ.get("SYSTEM_ACCESSTOKEN"))
    api = Api(
        base=f"{collection.rstrip('/')}/{urllib.parse.quote(project)}",
        headers={"Authorization": f"Bearer {token}" if own else f"Basic {basic}"},
        title="Azure DevOps",
        token_names=" or ".join(_TOKENS),
    )
    return Azure(api=api, environ=environ)

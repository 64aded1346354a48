"""A hand: Azure DevOps' REST API 7.1: environments and their checks, builds and artifacts, threads, OIDC."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.ci.checks import Check, good, unknown, wrong
from interlock.ci.pipeline import Pipeline
from interlock.ci.platforms.api import Api, required
from interlock.ci.platforms.github import only_file
from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError
from interlock.sending import Origin

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
        kinds = {_kind(check) for check in (answer or {}).get("value") or []}
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
            UsageError: The build belongs to no pull request of Azure Repos.
        """
        number = self.environ.get("SYSTEM_PULLREQUEST_PULLREQUESTID")
        repository = self.environ.get("BUILD_REPOSITORY_ID")
        if not number or not repository or self.environ.get("BUILD_REPOSITORY_PROVIDER", "TfsGit") != "TfsGit":
            raise UsageError(
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

    def fetch(self, name: str) -> bytes | None:
        """Return the artifact of that name from the newest build of this pipeline that has it."""
        definition = required(self.environ, "SYSTEM_DEFINITIONID", title="no pipeline", fix="run in Azure Pipelines")
        query = {"definitions": definition, "queryOrder": "queueTimeDescending", "$top": str(MAX_BUILDS)}
        found = self.api.find("/_apis/build/builds", **query, **{"api-version": _VERSION}) or {}
        for build in found.get("value") or []:
            artifact = self.api.find(
                f"/_apis/build/builds/{build['id']}/artifacts", artifactName=name, **{"api-version": _VERSION}
            )
            url = ((artifact or {}).get("resource") or {}).get("downloadUrl")
            if url:
                return self._download(str(url))
        return None

    def _download(self, url: str) -> bytes | None:
        archive = self.api.download(url, accept="application/zip", is_ours=_is_microsofts)
        return None if archive is None else only_file(archive)

    def publish(self, name: str, sealed: bytes) -> None:
        """Refuse: a `publish:` step does it.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"Azure takes {name} ({len(sealed)} bytes) from a publish: step", fix="leave out --publish")


def azure_identity(environ: Mapping[str, str], audience: str) -> str:
    """Return the job's signed identity token.

    Raises:
        UsageError: The job may not ask for one.
    """
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

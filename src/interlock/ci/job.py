"""Which CI job this process is part of, from the environment that the CI system gives its steps.

Source: facts of the vendors' documentation on predefined variables (GitHub Actions, GitLab CI, Azure Pipelines).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReference:
    """One job (or run, or build) of a CI system, named by the URL that people open.

    Attributes:
        system: `github`, `gitlab` or `azure`.
        server: Base URL of the system, or of the organisation for Azure.
        project: `owner/repo`, project id or path, or Azure project.
        number: Run id (GitHub), job id (GitLab) or build id (Azure).
        attempt: GitHub's attempt; 1 elsewhere.
        url: The page of the job.
    """

    system: str
    server: str
    project: str
    number: str
    attempt: int
    url: str


def find_job(environ: Mapping[str, str]) -> JobReference | None:
    """Return the job that this environment belongs to; None outside CI or when a variable is missing."""
    for find in (_github, _gitlab, _azure):
        try:
            job = find(environ)
        except KeyError:
            continue
        if job is not None:
            return job
    return None


def _github(environ: Mapping[str, str]) -> JobReference | None:
    server, project, number = environ["GITHUB_SERVER_URL"], environ["GITHUB_REPOSITORY"], environ["GITHUB_RUN_ID"]
    attempt = environ.get("GITHUB_RUN_ATTEMPT", "1")
    return parse_job(f"{server}/{project}/actions/runs/{number}/attempts/{attempt}")


def _gitlab(environ: Mapping[str, str]) -> JobReference | None:
    return parse_job(environ["CI_JOB_URL"])


def _azure(environ: Mapping[str, str]) -> JobReference | None:
    base, project, build = environ["SYSTEM_COLLECTIONURI"], environ["SYSTEM_TEAMPROJECT"], environ["BUILD_BUILDID"]
    return parse_job(f"{base.rstrip('/')}/{project}/_build/results?buildId={build}")


_GITHUB = re.compile(
    r"(https?://[^/\s?#\\@]+)/((?!\.)[\w.-]+/(?!\.{1,2}/)[\w.-]+)/actions/runs/(\d+)(?:/attempts/(\d+))?(?:/job/\d+)?/?\Z"
)
_GITLAB = re.compile(r"(https?://[^/\s?#\\@]+)/([^\s?#\\]+?)/-/jobs/(\d+)/?\Z")
_AZURE = re.compile(r"(https?://[^\s?#\\@]+?)/(?!\.{1,2}/)([^/\s?#\\]+)/_build/results\?buildId=(\d+)\S*\Z")


def parse_job(url: str) -> JobReference | None:
    """Read the URL of a job's page; None when it is of no system that we know."""
    if match := _GITHUB.match(url):
        attempt = int(match[4] or 1)
        return JobReference(
            system="github", server=match[1], project=match[2], number=match[3], attempt=attempt, url=url
        )
    for system, pattern in (("gitlab", _GITLAB), ("azure", _AZURE)):
        if match := pattern.match(url):
            return JobReference(system=system, server=match[1], project=match[2], number=match[3], attempt=1, url=url)
    return None

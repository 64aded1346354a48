"""A hand: which CI system this is, and its API."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.ci.platforms.azure import Azure, azure_identity, open_azure
from interlock.ci.platforms.github import GitHub, github_identity, open_github
from interlock.ci.platforms.gitlab import GitLab, gitlab_identity, open_gitlab
from interlock.ci.workflow import Vendor
from interlock.errors import UsageError

Platform = GitHub | GitLab | Azure


def find_vendor(environ: Mapping[str, str]) -> Vendor | None:
    """Return whose job this is, by the variables that each system sets; None outside CI."""
    if environ.get("GITHUB_ACTIONS") == "true":
        return Vendor.GITHUB
    if environ.get("GITLAB_CI"):
        return Vendor.GITLAB
    return Vendor.AZURE if environ.get("TF_BUILD") else None


def open_platform(environ: Mapping[str, str], vendor: Vendor | None = None) -> Platform:
    """Return the platform's API.

    Raises:
        UsageError: It is not known which platform, or its address or token is missing.
    """
    match vendor or find_vendor(environ):
        case Vendor.GITHUB:
            return open_github(environ)
        case Vendor.GITLAB:
            return open_gitlab(environ)
        case Vendor.AZURE:
            return open_azure(environ)
        case _:
            raise _nowhere("name it: --platform github|gitlab|azure")


def identity(environ: Mapping[str, str], audience: str) -> str:
    """Return this job's signed identity token for `audience`.

    Raises:
        UsageError: This is not a job, or it has no right to such a token.
    """
    match find_vendor(environ):
        case Vendor.GITHUB:
            return github_identity(environ, audience)
        case Vendor.GITLAB:
            return gitlab_identity(environ, audience)
        case Vendor.AZURE:
            return azure_identity(environ, audience)
        case _:
            raise _nowhere("log in with a token in INTERLOCK_TOKEN")


def _nowhere(fix: str) -> UsageError:
    return UsageError(
        "this is not a job of GitHub, GitLab or Azure DevOps",
        why="none of GITHUB_ACTIONS, GITLAB_CI and TF_BUILD is set",
        fix=fix,
    )

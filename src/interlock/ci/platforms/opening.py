"""A hand: which CI system this is, and its API."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.ci.platforms.azure import Azure, open_azure
from interlock.ci.platforms.github import GitHub, open_github
from interlock.ci.platforms.gitlab import GitLab, open_gitlab
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
            raise UsageError(
                "this is no job of GitHub, GitLab or Azure DevOps",
                why="none of GITHUB_ACTIONS, GITLAB_CI and TF_BUILD is set",
                fix="name it: --platform github|gitlab|azure",
            )

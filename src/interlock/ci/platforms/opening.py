"""A hand: which CI system this is, and its API."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from interlock.ci.platforms.azure import Azure, azure_identity, open_azure
from interlock.ci.platforms.github import GitHub, github_identity, open_github
from interlock.ci.platforms.gitlab import GitLab, gitlab_identity, open_gitlab
from interlock.ci.platforms.jenkins import Jenkins, is_jenkins
from interlock.ci.workflow import Vendor
from interlock.errors import UsageError

Platform = GitHub | GitLab | Azure | Jenkins


def find_vendor(environ: Mapping[str, str]) -> Vendor | None:
    """Return whose job this is, by the variables that each system sets; None outside CI."""
    if environ.get("GITHUB_ACTIONS") == "true":
        return Vendor.GITHUB
    if environ.get("GITLAB_CI"):
        return Vendor.GITLAB
    if environ.get("TF_BUILD"):
        return Vendor.AZURE
    return Vendor.JENKINS if is_jenkins(environ) else None


def open_platform(
    environ: Mapping[str, str],
    vendor: Vendor | None = None,
    *,
    ask_git: Callable[..., str] = lambda *_: "",
    fix: str = "run it in a job of the pipeline",
) -> Platform:
    """Return the platform's API.

    Args:
        environ: The job's environment.
        vendor: The platform; None to look at the environment.
        ask_git: Returns git's answer in the checkout, which is all that Jenkins can be asked for.
        fix: What to do where the environment does not say the platform.

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
        case Vendor.JENKINS:
            return Jenkins(environ=environ, ask_git=ask_git)
        case _:
            raise _nowhere(fix)


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
        case Vendor.JENKINS:
            raise UsageError(
                "Jenkins gives its builds no identity of their own",
                why="only its OpenID Connect plugin does, as a credential",
                fix="keep a token of the server as a credential, in INTERLOCK_TOKEN",
            )
        case _:
            raise _nowhere("log in with a token in INTERLOCK_TOKEN")


def _nowhere(fix: str) -> UsageError:
    return UsageError(
        "this is not a job of GitHub, GitLab, Azure DevOps or Jenkins",
        why="none of GITHUB_ACTIONS, GITLAB_CI, TF_BUILD and JENKINS_URL is set",
        fix=fix,
    )

"""GitLab CI, asked about a job. A hand. What it can and cannot prove: see `ci`.

A machine ends with its job only on gitlab.com's own instance runners, which give each job a fresh virtual machine. The
REST API does not tell the executor of any other runner, and a shell executor's processes can outlive a cancelled job.
Source: jobs API v4; documentation of GitLab-hosted runners.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from interlock.ci.job import JobReference
from interlock.ci.platforms.api import Api
from interlock.recovery.witnesses.ci_servers import find_base, may_have_token
from interlock.recovery.witnesses.ci_sighting import Machine, Sighting, Stage, parse_instant

TOKENS = ("INTERLOCK_CI_TOKEN", "GITLAB_TOKEN")
_PUBLIC = "https://gitlab.com"
_RUNNING = frozenset({"running", "canceling"})
_OVER = frozenset({"success", "failed", "canceled"})


def look(job: JobReference, environ: Mapping[str, str]) -> Sighting:
    """Ask about the job.

    Raises:
        InterlockError: There is no usable answer.
    """
    job = _placed(job, environ)
    project = urllib.parse.quote(job.project, safe="")
    found, asked_at = _api(job, environ).find_dated(f"/projects/{project}/jobs/{job.number}")
    if not found:
        return Sighting(stage=Stage.UNCLEAR, text="GitLab does not know this job", how_to="check the URL and the token")
    status = str(found.get("status"))
    if status in _RUNNING:
        return Sighting(stage=Stage.RUNNING, text=f"GitLab says that the job is {status}")
    if status not in _OVER:
        how_to = "name the job that took the lock: --job URL"
        return Sighting(
            stage=Stage.UNCLEAR, text=f"GitLab says that the job is {status}: it has not started", how_to=how_to
        )
    runner = found.get("runner") or {}
    return Sighting(
        stage=Stage.OVER,
        text=f"GitLab says that the job is over ({status})",
        machine=Machine.ENDS_WITH_JOB if _is_hosted(job, runner) else Machine.OUTLIVES_JOB,
        machine_name=str(runner.get("description") or ""),
        began_at=parse_instant(found.get("started_at")),
        ended_at=parse_instant(found.get("finished_at")),
        asked_at=asked_at,
    )


def _placed(job: JobReference, environ: Mapping[str, str]) -> JobReference:
    """Return the job with the path of its server no longer taken for the first part of its project."""
    base = find_base(job, environ)
    if not base:
        return job
    project = urllib.parse.urlsplit(job.url).path.removeprefix(urllib.parse.urlsplit(base).path).strip("/")
    return replace(job, server=base, project=project.partition("/-/jobs/")[0])


def _is_hosted(job: JobReference, runner: Mapping[str, Any]) -> bool:
    return job.server == _PUBLIC and runner.get("is_shared") is True and runner.get("runner_type") == "instance_type"


def _api(job: JobReference, environ: Mapping[str, str]) -> Api:
    own = environ.get("CI_SERVER_URL", _PUBLIC).rstrip("/")
    base = f"{job.server}/api/v4"
    if job.server == own:
        base = environ.get("CI_API_V4_URL") or base
    token = next((environ[name] for name in TOKENS if environ.get(name)), None)
    trusted = token and may_have_token(job.server, {own}, environ)
    headers = {"PRIVATE-TOKEN": token} if token and trusted else {}
    return Api(base=base.rstrip("/"), headers=headers, title="GitLab", token_names=" or ".join(TOKENS))

"""GitHub Actions, asked about a run or one of its jobs. A hand. What it can and cannot prove: see `ci`.

A machine ends with its job only when GitHub says that the job ran on one of its own standard runners: the runner group
is then called "GitHub Actions" and no label says `self-hosted`. Larger runners have groups of the owner's choice and
are not told apart from self-hosted ones.
Source: REST API 2022-11-28, workflow runs and workflow jobs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from interlock.ci.job import JobReference
from interlock.ci.platforms.api import Api
from interlock.recovery.witnesses.ci_servers import may_have_token
from interlock.recovery.witnesses.ci_sighting import Machine, Sighting, Stage, earliest, latest

TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
_HOSTED_GROUP = "GitHub Actions"
_PUBLIC = "https://github.com"
_JOB = re.compile(r"/job/(\d+)")


def look(job: JobReference, environ: Mapping[str, str]) -> Sighting:
    """Ask about the job, or about the run when no job is named.

    Raises:
        InterlockError: There is no usable answer.
    """
    api = _api(job, environ)
    named = _JOB.search(job.url)
    if named:
        found, asked_at = api.find_dated(f"/repos/{job.project}/actions/jobs/{named[1]}")
        jobs, over = ([found] if found else []), (found or {}).get("status") == "completed"
    else:
        attempt = f"/attempts/{job.attempt}" if "/attempts/" in job.url else ""
        found, asked_at = api.find_dated(f"/repos/{job.project}/actions/runs/{job.number}{attempt}")
        jobs, over = (_jobs(api, job, attempt) if found else []), (found or {}).get("status") == "completed"
    if not found:
        return Sighting(stage=Stage.UNCLEAR, text="GitHub does not know this run", how_to="check the URL and the token")
    if not over:
        return _under_way(jobs, f"the {'job' if named else 'run'} is {found.get('status')}")
    ran = [entry for entry in jobs if entry.get("started_at") and entry.get("conclusion") != "skipped"]
    lasting = [entry for entry in ran if not _is_hosted(entry)]
    return Sighting(
        stage=Stage.OVER,
        text=f"GitHub says that the {'job' if named else 'run'} is over ({found.get('conclusion')})",
        machine=Machine.ENDS_WITH_JOB if ran and not lasting else Machine.OUTLIVES_JOB,
        machine_name=str(lasting[0].get("runner_name") or "") if lasting else "",
        began_at=earliest(entry.get("started_at") for entry in ran),
        ended_at=latest(entry.get("completed_at") for entry in ran),
        asked_at=asked_at,
    )


def _under_way(jobs: list[Any], text: str) -> Sighting:
    running = [str(entry.get("name")) for entry in jobs if entry.get("status") == "in_progress"]
    if running:
        return Sighting(stage=Stage.RUNNING, text=f"GitHub says that {text}; running: {', '.join(running[:5])}")
    how_to = "name the holder's own job: --job …/actions/runs/RUN/job/JOB"
    return Sighting(stage=Stage.UNCLEAR, text=f"GitHub says that {text}, and none of its jobs runs", how_to=how_to)


def _jobs(api: Api, job: JobReference, attempt: str) -> list[Any]:
    query = {"per_page": "100"} if attempt else {"per_page": "100", "filter": "all"}
    found = api.find(f"/repos/{job.project}/actions/runs/{job.number}{attempt}/jobs", **query) or {}
    jobs = list(found.get("jobs") or [])
    # A job that was not listed could be the holder's: then nothing is known of its machine.
    return jobs if len(jobs) >= int(found.get("total_count") or 0) else [*jobs, {"started_at": "unknown"}]


def _is_hosted(entry: Mapping[str, Any]) -> bool:
    return entry.get("runner_group_name") == _HOSTED_GROUP and "self-hosted" not in (entry.get("labels") or [])


def _api(job: JobReference, environ: Mapping[str, str]) -> Api:
    own = environ.get("GITHUB_SERVER_URL", _PUBLIC).rstrip("/")
    base = "https://api.github.com" if job.server == _PUBLIC else f"{job.server}/api/v3"
    if job.server == own:
        base = environ.get("GITHUB_API_URL") or base
    token = next((environ[name] for name in TOKENS if environ.get(name)), None)
    headers = {"X-GitHub-Api-Version": "2022-11-28"}
    if token and may_have_token(job.server, {own}, environ):
        headers["Authorization"] = f"Bearer {token}"
    return Api(base=base.rstrip("/"), headers=headers, title="GitHub", token_names=" or ".join(TOKENS))

"""Azure Pipelines, asked about a build. A hand. What it can and cannot prove: see `ci`.

A machine ends with its job only in a pool that Azure DevOps says it hosts itself; each job's queue is asked for that.
Source: REST API 7.1: builds, timeline, task agent queues.
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Mapping
from typing import Any

from interlock.ci.job import JobReference
from interlock.ci.platforms.api import Api
from interlock.recovery.witnesses.ci_servers import may_have_token
from interlock.recovery.witnesses.ci_sighting import Machine, Sighting, Stage, earliest, latest

TOKENS = ("SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT")
_PUBLIC_HOST = "dev.azure.com"
_VERSION = {"api-version": "7.1"}
MAX_QUEUES = 20  # of one build whose pools are looked up


def look(job: JobReference, environ: Mapping[str, str]) -> Sighting:
    """Ask about the build, or about the one job that the URL names with `j=`.

    Raises:
        InterlockError: There is no usable answer.
    """
    api = _api(job, environ)
    found, asked_at = api.find_dated(f"/_apis/build/builds/{job.number}", **_VERSION)
    if not found:
        how_to = "check the URL and the token"
        return Sighting(stage=Stage.UNCLEAR, text="Azure DevOps does not know this build", how_to=how_to)
    jobs = _jobs(api, job)
    named = _named(job)
    over = found.get("status") == "completed" or bool(named and jobs and jobs[0].get("state") == "completed")
    if not over:
        return _under_way(jobs, str(found.get("status")))
    ran = [entry for entry in jobs if entry.get("startTime")]
    lasting = _outliving(api, ran)
    result = (jobs[0] if named and jobs else found).get("result")
    return Sighting(
        stage=Stage.OVER,
        text=f"Azure DevOps says that the {'job' if named else 'build'} is over ({result})",
        machine=Machine.ENDS_WITH_JOB if ran and not lasting else Machine.OUTLIVES_JOB,
        machine_name=lasting,
        began_at=earliest(entry.get("startTime") for entry in ran),
        ended_at=latest(entry.get("finishTime") for entry in ran),
        asked_at=asked_at,
    )


def _under_way(jobs: list[Any], status: str) -> Sighting:
    running = [str(entry.get("name")) for entry in jobs if entry.get("state") == "inProgress"]
    text = f"Azure DevOps says that the build is {status}"
    if running or status == "cancelling":
        return Sighting(stage=Stage.RUNNING, text=f"{text}; running: {', '.join(running[:5]) or 'its cancellation'}")
    how_to = "name the holder's own job: --job …/_build/results?buildId=N&view=logs&j=JOB"
    return Sighting(stage=Stage.UNCLEAR, text=f"{text}, and none of its jobs runs", how_to=how_to)


def _named(job: JobReference) -> str:
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(job.url).query)
    return query.get("j", [""])[0]


def _jobs(api: Api, job: JobReference) -> list[Any]:
    found = api.find(f"/_apis/build/builds/{job.number}/timeline", **_VERSION) or {}
    records = [entry for entry in found.get("records") or [] if entry.get("type") == "Job"]
    named = _named(job)
    return [entry for entry in records if entry.get("id") == named] if named else records


def _outliving(api: Api, ran: list[Any]) -> str:
    """Return the name of an agent in a pool that is not hosted, or of unknown kind; empty when all are hosted."""
    kinds: dict[object, bool] = {}
    for entry in ran:
        queue = entry.get("queueId")
        if queue not in kinds:
            kinds[queue] = len(kinds) < MAX_QUEUES and _is_hosted(api, queue)
        if not kinds[queue]:
            return str(entry.get("workerName") or "an agent of unknown kind")
    return ""


def _is_hosted(api: Api, queue: object) -> bool:
    if not isinstance(queue, int):
        return False
    found = api.find(f"/_apis/distributedtask/queues/{queue}", **_VERSION) or {}
    return (found.get("pool") or {}).get("isHosted") is True


def _api(job: JobReference, environ: Mapping[str, str]) -> Api:
    own = environ.get("SYSTEM_COLLECTIONURI", "").rstrip("/")
    name = next((name for name in TOKENS if environ.get(name)), "")
    headers: dict[str, str] = {}
    if name and (_is_public(job.server) or may_have_token(job.server, {own} - {""}, environ)):
        basic = base64.b64encode(f":{environ[name]}".encode()).decode()
        headers["Authorization"] = f"Bearer {environ[name]}" if name == TOKENS[0] else f"Basic {basic}"
    base = f"{job.server}/{urllib.parse.quote(job.project, safe='%')}"
    return Api(base=base, headers=headers, title="Azure DevOps", token_names=" or ".join(TOKENS))


def _is_public(server: str) -> bool:
    parts = urllib.parse.urlsplit(server)
    return parts.scheme == "https" and parts.netloc == _PUBLIC_HOST

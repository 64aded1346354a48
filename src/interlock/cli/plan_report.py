"""From what a planned run left behind to the report that `interlock ci comment` shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from interlock.bounded import read_json
from interlock.errors import UsageError, reason_of

if TYPE_CHECKING:
    from interlock.ci.comment import PlanReport
    from interlock.run.entries import PlanEntry
    from interlock.run.transcript import Entry

MAX_SUMMARY_BYTES = 32 << 20  # the plan is in it, each attribute that changes
_DELETING = frozenset({"delete", "replace"})
MAX_PLAN_TEXT = 4 << 20  # characters of a rendered plan that are read; a comment shows far fewer


def read_report(path: Path, state: str, runs: Path, environ: Mapping[str, str]) -> PlanReport:
    """Read what `interlock plan --json` printed, and the run's journal when it is on this machine.

    Args:
        path: The JSON document.
        state: The state that was planned.
        runs: The folder of runs.
        environ: The job's environment, for links.

    Raises:
        UsageError: The document cannot be read.
    """
    from interlock.ci.comment import PlanReport

    summary = _summary(path)
    run = str(summary.get("run", ""))
    folder = runs / run if run and "/" not in run else None
    entries = _entries(folder)
    plan = _last_plan(entries)
    counts = asdict(plan.counts) if plan is not None else summary.get("counts") or {}
    error = summary.get("error") or {}
    return PlanReport(
        state=state,
        run=run,
        commit=_first(environ, "GITHUB_SHA", "CI_COMMIT_SHA", "BUILD_SOURCEVERSION"),
        add=_whole(counts.get("add")),
        change=_whole(counts.get("change")),
        remove=_whole(counts.get("remove")),
        text=_text(folder),
        position=_position(entries),
        waited_s=_waited_s(summary),
        calls=_calls(plan),
        drifted=tuple(plan.drift) if plan is not None else (),
        deleted=tuple(row.address for row in plan.resources if row.action in _DELETING) if plan is not None else (),
        error=str(error.get("what", "")),
        why=str(error.get("why") or ""),
        next=str(error.get("next", "")),
        job=job_url(environ),
        digest=str(summary.get("plan_digest") or ""),
    )


def job_url(environ: Mapping[str, str]) -> str:
    """Return the address of this CI job, "" outside CI."""
    if environ.get("GITHUB_RUN_ID"):
        server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
        return f"{server}/{repository}/actions/runs/{environ['GITHUB_RUN_ID']}"
    if environ.get("BUILD_BUILDID"):
        base = f"{environ.get('SYSTEM_COLLECTIONURI', '')}{environ.get('SYSTEM_TEAMPROJECT', '')}"
        return f"{base}/_build/results?buildId={environ['BUILD_BUILDID']}"
    return environ.get("CI_JOB_URL", "")


def project_address(environ: Mapping[str, str]) -> str:
    """Return what the addresses of all jobs of this job's project begin with, "" outside CI."""
    mark = {"GITHUB_RUN_ID": "/actions/runs/", "BUILD_BUILDID": "/_build/results?"}
    return "".join(job_url(environ).partition(next((mark[name] for name in mark if environ.get(name)), "/-/"))[:2])


def _summary(path: Path) -> dict[str, Any]:

    try:
        with path.open("rb") as file:
            document = read_json(file.read(MAX_SUMMARY_BYTES + 1))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is not what `interlock plan --json` prints",
            why=reason_of(error),
            fix=f"interlock plan --json > {path}",
        ) from error
    if not isinstance(document, dict):
        raise UsageError(f"{path} is not what `interlock plan --json` prints", fix=f"interlock plan --json > {path}")
    return document


def _entries(folder: Path | None) -> list[Entry]:
    from interlock.run.transcript import read

    return read(folder) if folder is not None and folder.is_dir() else []


def _last_plan(entries: Iterable[Entry]) -> PlanEntry | None:
    from interlock.run.entries import PlanEntry

    plans = [entry.told for entry in entries if entry.kind == PlanEntry.KIND]
    return next((plan for plan in reversed(plans) if isinstance(plan, PlanEntry)), None)


def _position(entries: Iterable[Entry]) -> int | None:
    from interlock.run.entries import StandingEntry

    standings = (entry.told for entry in entries if entry.kind == StandingEntry.KIND)
    return next((standing.position for standing in standings if isinstance(standing, StandingEntry)), None)


def _waited_s(summary: Mapping[str, Any]) -> float:
    from datetime import datetime

    try:
        started = datetime.fromisoformat(str(summary["started_at"]))
        return max((datetime.fromisoformat(str(summary["held_at"])) - started).total_seconds(), 0.0)
    except (KeyError, ValueError, TypeError):
        return 0.0


def _calls(plan: PlanEntry | None) -> int | None:
    """Return the gateway's forecast, else the sum of what the provider is known to call for each change."""
    if plan is None:
        return None
    calls = plan.forecast.get("calls") if plan.forecast else None
    if isinstance(calls, int):
        return calls
    if not plan.resources or plan.left_out:
        return None
    known = [_calls_of(row.address, row.action) for row in plan.resources]
    return sum(count for count in known if count is not None) if any(known) else None


def _calls_of(address: str, action: str) -> int | None:
    from interlock.genesys import calls_of

    kind = next((part for part in address.split(".") if part.startswith("genesyscloud_")), None)
    if kind is None:
        return None
    calls = calls_of(kind)
    costs = {
        "create": calls.create,
        "update": calls.update,
        "delete": calls.delete,
        "remove": 0,
        "replace": calls.create + calls.delete,
        "read": calls.read,
    }
    return costs.get(action)


def _text(folder: Path | None) -> str:
    if folder is None:
        return ""
    try:
        with (folder / "plan.txt").open(errors="replace", encoding="utf-8") as file:
            return file.read(MAX_PLAN_TEXT)
    except OSError:
        return ""


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0

"""ci-timeout: a job that deploys has no time limit, or one that ends before its own waiting does."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.amounts import amount
from interlock.ci.workflow import Limit, Vendor
from interlock.lint.deployments import Use, applying, distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_GO_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_WAITS = ("lock-timeout", "wait")


def _wait_s(use: Use) -> float:
    """Return how long a command may wait for its turn before it begins, in seconds."""
    found = 0.0
    for name in _WAITS:
        flag = use.operation.flag(name)
        parts = _GO_DURATION.findall(flag.value or "") if flag is not None else []
        found = max(found, sum(float(amount) * _UNIT_S[unit] for amount, unit in parts))
    return found


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        found = list(applying(workflow, job))
        if not found or not job.standalone:
            continue
        limits = [limit for limit in (job.limit, *(use.step.limit for use in found)) if limit is not None]
        if workflow.vendor is Vendor.GITHUB and not limits:
            yield RULE.finding(
                job.span,
                f"job {job.name!r} deploys without a time limit: a run that hangs holds its lock for six hours",
                fix="add `timeout-minutes` to the job, longer than the longest apply plus its waiting",
            )
        if workflow.vendor is Vendor.GITLAB and not limits:
            yield RULE.finding(
                job.span,
                f"job {job.name!r} deploys without a time limit of its own: the project's, one hour by default, ends "
                "it in mid-apply",
                fix="add `timeout:` to the job, longer than the longest apply plus its waiting",
            )
        for limit in limits:
            yield from _judged(limit, found, job.name)


def _judged(limit: Limit, found: list[Use], name: str) -> Iterator[Finding]:
    longest = max(map(_wait_s, found))
    if limit.seconds == 0:
        yield RULE.finding(
            limit.span, f"0 means no time limit: a run of job {name!r} that hangs holds its lock for ever"
        )
    elif limit.seconds is not None and limit.seconds <= longest:
        yield RULE.finding(
            limit.span,
            f"the time limit of {amount(limit.seconds / 60, 'minute')} ends job {name!r} while it may still "
            f"wait for its lock ({amount(longest / 60, 'minute')}): the apply is killed as soon as it begins",
        )


RULE = Rule(
    name="ci-timeout",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A GitHub job that applies has no `timeout-minutes`, a GitLab job no `timeout`, an Azure job has "
    "`timeoutInMinutes: 0`, or any job's limit is not longer than its own `-lock-timeout`.",
    why="Without a limit a hanging run holds the lock for GitHub's six hours. With one that is too short the job is "
    "killed "
    "in the middle of the apply, which leaves the lock and loses state.",
    fix="Set a limit that is longer than waiting plus the longest apply.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform apply plan.bin\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    timeout-minutes: "
        "90\n"
        "    steps:\n      - run: terraform apply plan.bin\n"
    },
    check=distinct(_check),
)

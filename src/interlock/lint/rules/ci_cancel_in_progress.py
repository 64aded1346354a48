"""ci-cancel-in-progress: a newer run stops an apply in the middle."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.workflow import Vendor
from interlock.lint.deployments import applying, distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_WORDS = {Vendor.GITLAB: "interruptible", Vendor.JENKINS: "abortPrevious"}


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        if not any(applying(workflow, job)):
            continue
        for turn in job.turns:
            if turn.cancels is True:
                word = _WORDS.get(workflow.vendor, "cancel-in-progress")
                yield RULE.finding(
                    turn.cancel_span or turn.span,
                    f"`{word}: true` covers job {job.name!r}, which applies: the next push stops it half-way and "
                    "leaves its lock behind",
                )


RULE = Rule(
    name="ci-cancel-in-progress",
    severity=Severity.ERROR,
    subject=Subject.CI,
    what="`cancel-in-progress: true` (GitHub) or `interruptible: true` (GitLab) covers a job that applies.",
    why="The CI system stops the running apply when a newer run arrives. Objects are created and not recorded, the "
    "lock "
    "stays, and the next run fails on it. On GitHub everything is over ten seconds after the first signal.",
    fix="Cancel only previews: put apply in a job of its own that is queued and never cancelled.",
    bad={
        ".github/workflows/deploy.yml": "on: {push: {branches: [main]}}\n"
        "concurrency: {group: tf-prod, cancel-in-progress: true}\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n"
        "    steps:\n      - run: terraform apply plan.bin\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: {push: {branches: [main]}}\n"
        "concurrency: {group: tf-prod, queue: max}\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n"
        "    steps:\n      - run: terraform apply plan.bin\n"
    },
    check=distinct(_check),
)

"""ci-pending-dropped: GitHub keeps one waiting run and throws the others away."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.workflow import Vendor
from interlock.lint.deployments import applying, distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        if workflow.vendor is not Vendor.GITHUB or not any(applying(workflow, job)):
            continue
        for turn in job.turns:
            unique = "github.run_id" in turn.key
            if turn.keeps_all is False and turn.cancels is not True and not unique:
                yield RULE.finding(
                    turn.span,
                    f"the group {turn.key!r} keeps one waiting run: a third deployment silently cancels the second "
                    "one that waits",
                )


RULE = Rule(
    name="ci-pending-dropped",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A GitHub concurrency group covers a job that applies and does not say `queue: max`.",
    why="By default a group has one running and one pending run. A newer pending run replaces the older one, whatever "
    "`cancel-in-progress` says, so reviewed deployments vanish without an error. `queue: max` (since 2026-05-07) keeps "
    "up to 100, in the order in which they began to wait.",
    fix="Add `queue: max` beside `group`.",
    bad={
        ".github/workflows/deploy.yml": "on: {push: {branches: [main]}}\nconcurrency: {group: tf-prod}\njobs:\n"
        "  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: terraform apply plan.bin\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: {push: {branches: [main]}}\nconcurrency: {group: tf-prod, queue: max}\n"
        "jobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: terraform apply plan.bin\n"
    },
    check=distinct(_check),
)

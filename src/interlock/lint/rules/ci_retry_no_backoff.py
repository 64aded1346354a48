"""ci-retry-no-backoff: a failed run is repeated at once."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.lint.deployments import applying, distinct, jobs, uses
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_VERBS = ("plan", "apply", "destroy")


def _check(sources: Sources) -> Iterator[Finding]:
    for use in uses(sources):
        retry = use.operation.retry
        if use.operation.verb in _VERBS and retry is not None and not retry.waits:
            yield RULE.finding(
                retry.span,
                f"`{use.operation.tool.value} {use.operation.verb}` is tried again with no wait worth "
                f"the name: it meets the same lock or "
                "the same rate limit, and spends more of it",
            )
    for workflow, job in jobs(sources):
        if job.retries is not None and job.retries.after_script_failure and any(applying(workflow, job)):
            yield RULE.finding(
                job.retries.span,
                f"GitLab runs job {job.name!r} again at once after any failure, a half-finished apply included",
                fix="limit it: `retry: {max: 2, when: [runner_system_failure, stuck_or_timeout_failure]}`",
            )


RULE = Rule(
    name="ci-retry-no-backoff",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A loop, `||`, a retry action or GitLab's `retry` repeats plan, apply or destroy without waiting half a "
    "minute in between.",
    why="A 429 or a held lock needs time, not speed: immediate repeats burn the same API budget and can apply twice "
    "what "
    "the first try did halfway. `interlock explain` says whether a retry is safe at all.",
    fix="Let `interlock` wait and retry, or sleep longer after each try and retry only what `interlock explain` "
    "calls safe.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: |\n          until terraform apply plan.bin; do\n            echo again\n          done\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: |\n          until terraform apply plan.bin; do\n            sleep 60\n          done\n"
    },
    check=distinct(_check),
)

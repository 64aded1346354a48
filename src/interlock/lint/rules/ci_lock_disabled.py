"""ci-lock-disabled: a run writes the state without the lock."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.lint.deployments import distinct, uses
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def _check(sources: Sources) -> Iterator[Finding]:
    for use in uses(sources):
        operation = use.operation
        flag = operation.flag("lock")
        if operation.writes_state and flag is not None and operation.is_off("lock"):
            yield RULE.finding(
                flag.span,
                f"`{operation.tool.value} {operation.verb}` runs with -lock=false: it overwrites whatever another run "
                "writes at the same time",
            )


RULE = Rule(
    name="ci-lock-disabled",
    severity=Severity.ERROR,
    subject=Subject.CI,
    what="A command that writes the state runs with `-lock=false`, on its command line or through TF_CLI_ARGS. "
    "A plan without lock is left alone: it writes nothing.",
    why="Two runs then write one state; the later write wins and the earlier run's objects are forgotten. The usual "
    "reason for the flag is a lock left by a killed job, which recovery with evidence solves.",
    fix="Remove -lock=false; wait with -lock-timeout, or use `interlock apply`, and `interlock lock explain` for a "
    "lock "
    "that seems left.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform apply -lock=false plan.bin\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform apply -lock-timeout=20m plan.bin\n"
    },
    check=distinct(_check),
)

"""ci-no-lock-timeout: a run fails at once when somebody else holds the lock."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.operations import Tool
from interlock.ci.workflow import Vendor
from interlock.lint.deployments import Use, distinct, uses
from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_VERBS = ("plan", "apply", "destroy")


def _flags_are_known(use: Use) -> bool:
    """Terragrunt adds flags from its own files, and packaged actions add theirs."""
    packaged = use.operation.by_task and use.workflow.vendor is Vendor.GITHUB
    return use.operation.tool in (Tool.TERRAFORM, Tool.TOFU) and not packaged


def _check(sources: Sources) -> Iterator[Finding]:
    for use in uses(sources):
        operation = use.operation
        waits = operation.flag("lock-timeout") is not None
        if operation.verb in _VERBS and operation.takes_lock and not waits and _flags_are_known(use):
            yield RULE.finding(
                operation.span,
                f"`{operation.tool.value} {operation.verb}` does not wait for the lock: it fails as soon as another "
                "run "
                "holds the state",
                edits=_waiting(use),
            )


def _waiting(use: Use) -> tuple[Edit, ...]:
    """Return the edit that writes the flag behind the verb; none for a task's options."""
    span = use.operation.verb_span
    return () if span is None else (Edit(path=span.path, start=span.end, end=span.end, text=" -lock-timeout=20m"),)


RULE = Rule(
    name="ci-no-lock-timeout",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A plan, apply or destroy in CI takes the state lock and has no `-lock-timeout`.",
    why="Terraform's default is to fail at once on a held lock, so a plan of a pull request breaks an apply and the "
    "other "
    "way round. With the flag it polls, in no order; `interlock` queues in order.",
    fix="Add `-lock-timeout=20m`, or set it once in TF_CLI_ARGS_plan and TF_CLI_ARGS_apply, or use `interlock`.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform plan -out=plan.bin\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform plan -lock-timeout=20m -out=plan.bin\n"
    },
    check=distinct(_check),
    fixable=True,
)

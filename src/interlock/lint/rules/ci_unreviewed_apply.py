"""ci-unreviewed-apply: what is applied is not what somebody looked at."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.lint.deployments import Use, distinct, state_follows_ref, uses
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def _check(sources: Sources) -> Iterator[Finding]:
    for use in uses(sources):
        operation = use.operation
        if operation.verb != "apply" or operation.has("refresh-only") or operation.has("destroy"):
            continue
        if operation.plan_file is None:
            yield from _without_plan(use)
        elif _never_arrives(use):
            yield RULE.finding(
                operation.span,
                f"job {use.job.name!r} applies the plan {operation.plan_file!r}, which another job made and this one "
                "never fetches",
                fix="hand the plan over between the jobs (sealed: `interlock ci seal`), or plan and apply in one job",
            )


def _without_plan(use: Use) -> Iterator[Finding]:
    operation = use.operation
    # An environment of one branch that goes away with it is nobody's production.
    if operation.approved and state_follows_ref(use.job) is False:
        flag = operation.flag("auto-approve")
        yield RULE.finding(
            flag.span if flag is not None else operation.span,
            f"`{operation.tool.value} apply` makes a new plan and applies it unseen; the plan that was reviewed is "
            "thrown away",
        )


def _never_arrives(use: Use) -> bool:
    planned_here = any(operation.plans for _, operation in use.job.operations())
    return use.job.standalone and use.job.receives is False and not planned_here and not use.operation.by_task


RULE = Rule(
    name="ci-unreviewed-apply",
    severity=Severity.ERROR,
    subject=Subject.CI,
    what="An apply with `-auto-approve` and no plan file, or an apply of a plan file that another job made and that is "
    "not handed over.",
    why="Without the file Terraform plans again at apply time. Between the review and that moment the state, the "
    "organisation and the branch may have changed, so what happens is not what was approved.",
    fix="Write the plan with -out, review it, and apply exactly that file.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform plan\n      - run: terraform apply -auto-approve\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform plan -out=plan.bin\n      - run: terraform apply plan.bin\n"
    },
    check=distinct(_check),
)

"""ci-azure-run-latest: Azure's exclusive lock cancels everybody but the latest."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.workflow import Vendor
from interlock.lint.deployments import applying, distinct, jobs
from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        if workflow.vendor is not Vendor.AZURE or not any(applying(workflow, job)):
            continue
        if not job.turns and job.environment is not None and job.standalone:
            yield RULE.finding(
                job.environment.span,
                f"environment {job.environment.text!r} without `lockBehavior`: its exclusive lock runs only the latest "
                "waiting deployment and cancels the others",
            )
        for turn in job.turns:
            if turn.keeps_all is False:
                yield RULE.finding(
                    turn.span,
                    f"this cancels every waiting run of job {job.name!r} but the latest; say `sequential`",
                    edits=(Edit(path=turn.span.path, start=turn.span.start, end=turn.span.end, text="sequential"),),
                )


RULE = Rule(
    name="ci-azure-run-latest",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="An Azure deployment to an environment without `lockBehavior: sequential` on its stage or pipeline.",
    why="The exclusive lock check of an environment runs, by default, only the latest run that waits and cancels the "
    "others. Reviewed deployments disappear.",
    fix="Add `lockBehavior: sequential` to the stage and the Exclusive Lock check to the environment "
    "(`interlock ci check` looks for it).",
    bad={
        "azure-pipelines.yml": "trigger: [main]\nlockBehavior: runLatest\njobs:\n  - deployment: apply\n"
        "    environment: prod\n    strategy: {runOnce: {deploy: {steps: [{bash: terraform apply plan.bin}]}}}\n"
    },
    good={
        "azure-pipelines.yml": "trigger: [main]\nlockBehavior: sequential\njobs:\n  - deployment: apply\n"
        "    environment: prod\n    strategy: {runOnce: {deploy: {steps: [{bash: terraform apply plan.bin}]}}}\n"
    },
    check=distinct(_check),
    fixable=True,
)

"""ci-gitlab-unordered: a GitLab resource group hands out turns in no order."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.workflow import Job, Vendor, Workflow
from interlock.lint.deployments import applying, distinct
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def _is_settled(workflow: Workflow) -> bool:
    """Say whether the pipeline sets or checks the process mode itself."""
    return any(
        "process_mode" in step.text or any(operation.verb == "ci check" for operation in step.operations)
        for job in workflow.jobs
        for step in job.steps
    )


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow in sources.workflows:
        if workflow.vendor is Vendor.GITLAB and not _is_settled(workflow):
            for job in workflow.jobs:
                if any(applying(workflow, job)):
                    yield from _found(job)


def _found(job: Job) -> Iterator[Finding]:
    for turn in job.turns:
        if turn.key:
            yield RULE.finding(
                turn.span,
                f"resource group {turn.key!r} serialises job {job.name!r} but starts waiting jobs in any order "
                "unless its process mode was changed, which this file cannot show",
            )


RULE = Rule(
    name="ci-gitlab-unordered",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A job that applies has a `resource_group`, and nothing in the pipeline sets or checks its process mode.",
    why="The default process mode is `unordered`: of several waiting deployments any may be next, so an older commit "
    "can "
    "be applied after a newer one. The mode is set by API only (`PUT /projects/:id/resource_groups/:key`).",
    fix="Set `process_mode=oldest_first` by API and let the pipeline run `interlock ci check`, which verifies it.",
    bad={".gitlab-ci.yml": "deploy:\n  resource_group: prod\n  script: [terraform apply plan.bin]\n"},
    good={
        ".gitlab-ci.yml": "deploy:\n  resource_group: prod\n  script: [interlock ci check, terraform apply plan.bin]\n"
    },
    check=distinct(_check),
)

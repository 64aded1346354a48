"""ci-unserialized: two runs of the pipeline can deploy at the same time."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.workflow import Job, Vendor, Workflow
from interlock.lint.deployments import applying, distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_ADVICE = {
    Vendor.GITHUB: "add `concurrency: {group: terraform-<state>, queue: max}` to the job",
    Vendor.GITLAB: "add `resource_group: <state>` to the job and set its process mode to oldest_first",
    Vendor.JENKINS: "add `disableConcurrentBuilds()` to `options`, or `lock(resource: '<state>')` around the stages",
    Vendor.AZURE: "deploy from a `deployment:` job with an environment and set `lockBehavior: sequential`",
}


def _serialised(workflow: Workflow, job: Job) -> bool:
    if workflow.vendor is Vendor.AZURE and job.environment is not None:
        return True  # its exclusive lock is set in Azure, not here; ci-azure-run-latest looks at the rest
    nameless = workflow.vendor in (Vendor.AZURE, Vendor.JENKINS)  # theirs need no name
    return any(turn.key or nameless for turn in job.turns)


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        plain = any(use.operation.is_plain for use in applying(workflow, job))
        if plain and job.standalone and not _serialised(workflow, job):
            yield RULE.finding(
                job.span,
                f"job {job.name!r} deploys and nothing keeps two of its runs apart: the second one meets the first "
                "one's lock, or plans against a state that is about to change",
                fix=_ADVICE.get(workflow.vendor, ""),
            )


RULE = Rule(
    name="ci-unserialized",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A job applies with plain Terraform and no concurrency group (GitHub), resource group (GitLab) or lock "
    "(Azure) makes its runs wait for each other.",
    why="CI systems run everything at once. Two merges then apply at the same time: the second fails on the state "
    "lock, "
    "or its saved plan is stale. Terraform's own waiting has no order.",
    fix="Let the runs queue by state, or use `interlock apply`, which queues in order by itself.",
    bad={
        ".github/workflows/deploy.yml": "on: {push: {branches: [main]}}\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n"
        "    steps:\n      - run: terraform apply plan.bin\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: {push: {branches: [main]}}\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n"
        "    concurrency: {group: terraform-prod, queue: max}\n    steps:\n      - run: terraform apply plan.bin\n"
    },
    check=distinct(_check),
)

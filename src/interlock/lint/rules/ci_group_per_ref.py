"""ci-group-per-ref: the queue differs between branches, the state does not."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.workflow import ANY_REF, Job, Workflow
from interlock.lint.deployments import Use, distinct, state_follows_ref, uses_of
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def _locking(workflow: Workflow, job: Job) -> list[Use]:
    return [use for use in uses_of(workflow, job) if use.operation.is_plain and use.operation.takes_lock]


def _on_several_refs(workflow: Workflow) -> bool:
    """Say whether runs of different refs meet at a lock. Jobs count together: they share the state.

    A workflow that only plans may well be a module's test with a state of its own; it is left alone.
    """
    found = [(job, use) for job in workflow.jobs for use in _locking(workflow, job)]
    refs = {ref for job, use in found for ref in job.refs_of(use.step)}
    deploys = any(use.operation.applies for _, use in found)
    return deploys and (ANY_REF in refs or len(refs - {""}) > 1)


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow in sources.workflows:
        grouped = [job for job in workflow.jobs if job.standalone and any(turn.follows_ref for turn in job.turns)]
        if grouped and _on_several_refs(workflow):
            for job in grouped:
                yield from _found(workflow, job)


def _found(workflow: Workflow, job: Job) -> Iterator[Finding]:
    if not _locking(workflow, job) or state_follows_ref(job) is not False:
        return
    for turn in job.turns:
        if turn.follows_ref:
            yield RULE.finding(
                turn.span,
                f"the group {turn.key!r} is another one for every branch or run, but the state of job {job.name!r} "
                "is always the same: runs of two branches do not wait for each other",
            )


RULE = Rule(
    name="ci-group-per-ref",
    severity=Severity.ERROR,
    subject=Subject.CI,
    what="A concurrency group or resource group contains the branch, commit or run, while every branch works on one "
    "state.",
    why="`group: terraform-${{ github.ref }}` looks like a queue and is none: a pull request and the main branch, or "
    "two "
    "branches, take turns only with themselves. They meet at the state lock instead, in no order.",
    fix="Name the group after the state, for example `group: terraform-prod-routing`.",
    bad={
        ".github/workflows/deploy.yml": "on: {push: {branches: [main, develop]}}\n"
        "concurrency: {group: 'tf-${{ github.ref }}', queue: max}\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n"
        "    steps:\n      - run: terraform apply plan.bin\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: {push: {branches: [main, develop]}}\n"
        "concurrency: {group: tf-prod, queue: max}\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n"
        "    steps:\n      - run: terraform apply plan.bin\n"
    },
    check=distinct(_check),
)

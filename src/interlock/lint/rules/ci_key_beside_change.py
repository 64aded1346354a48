"""ci-key-beside-change: code of a change under review runs beside the key that vouches for plans."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.ci.workflow import Job, Variable, Vendor
from interlock.lint.deployments import distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_KEYS = re.compile(
    r"(?:INTERLOCK_(?:SEAL|PLAN)_KEY|(?:PLAN|ARTIFACT)_(?:SEAL|SIGN|ENCRYPTION)\w*|COSIGN_(?:PRIVATE_KEY|PASSWORD)"
    r"|GPG_(?:PRIVATE_KEY|PASSPHRASE))\Z"
)


def _runs_the_change(job: Job) -> bool:
    """Say whether a job runs code of a change that nobody approved yet: it plans, and applies nothing."""
    found = [operation for _, operation in job.operations()]
    return any(operation.plans for operation in found) and not any(operation.applies for operation in found)


def _keys(job: Job) -> Iterator[Variable]:
    for variables in (job.variables, *(step.variables for step in job.steps)):
        yield from (variable for variable in variables if _KEYS.match(variable.name))


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        if workflow.vendor is not Vendor.JENKINS and _runs_the_change(job):
            for variable in _keys(job):
                yield RULE.finding(
                    variable.span,
                    f"{variable.name} is in job {job.name!r}, which runs the change's own code: providers, modules and "
                    "data sources can take it, or wait until it is there, and vouch for another plan",
                )


RULE = Rule(
    name="ci-key-beside-change",
    severity=Severity.ERROR,
    subject=Subject.CI,
    what="A job that plans a change has the key with which plans are sealed or signed.",
    why="A plan runs what the change says: providers, modules, `external` data sources. They share the machine with "
    "all later steps of the job, so a key in any step is theirs, and what it sealed proves nothing.",
    fix="Wrap the plan with a public key there (`interlock ci wrap`), and seal it in a job of its own, without "
    "checkout and init (`interlock ci seal`); `interlock ci generate` writes both.",
    bad={
        ".github/workflows/plan.yml": "on: pull_request\njobs:\n  plan:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: interlock plan --out plan.bin\n      - run: interlock ci seal --state prod --out plan.sealed\n"
        "        env: {INTERLOCK_PLAN_KEY: '${{ secrets.INTERLOCK_PLAN_KEY }}'}\n"
    },
    good={
        ".github/workflows/plan.yml": "on: pull_request\njobs:\n  plan:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: interlock plan --out plan.bin\n      - run: interlock ci wrap plan.bin\n"
        "        env: {INTERLOCK_WRAP_KEY: '${{ vars.INTERLOCK_WRAP_KEY }}'}\n"
    },
    check=distinct(_check),
)

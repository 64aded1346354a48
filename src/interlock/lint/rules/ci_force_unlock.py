"""ci-force-unlock: a pipeline breaks locks without knowing whose they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.ci.operations import Program
from interlock.lint.deployments import distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_BY_HAND = re.compile(
    r"aws dynamodb delete-item\b.*LockID|aws s3(?:api)? (?:rm|delete-object)\b.*\.tflock"
    r"|gsutil rm\b.*\.tflock|gcloud storage rm\b.*\.tflock|az storage blob lease break\b.*tfstate",
    re.DOTALL,
)


def _breaks_lock(program: Program) -> bool:
    return program.name in ("aws", "gsutil", "gcloud", "az") and _BY_HAND.match(program.text) is not None


def _check(sources: Sources) -> Iterator[Finding]:
    for _, job in jobs(sources):
        for step in job.steps:
            for operation in step.operations:
                if operation.verb == "force-unlock" and operation.is_plain:
                    yield RULE.finding(
                        operation.span,
                        f"`{operation.tool.value} force-unlock` breaks the lock without knowing whether "
                        "its holder still works",
                    )
            for program in step.programs:
                if _breaks_lock(program):
                    yield RULE.finding(program.span, f"`{program.name}` removes a state lock behind Terraform's back")


RULE = Rule(
    name="ci-force-unlock",
    severity=Severity.ERROR,
    subject=Subject.CI,
    what="A pipeline runs `terraform force-unlock`, or deletes the lock item, lock file or lease itself.",
    why="A lock that is in the way may belong to a run that still works. Two runs then write one state, and "
    "Terraform's "
    "writes to S3 have no fence: the older run overwrites the newer one.",
    fix="Use `interlock force-unlock`: it collects evidence, saves the state and breaks only what is provably gone.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        '      - run: terraform force-unlock -force "$LOCK_ID"\n'
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: interlock force-unlock prod/routing\n"
    },
    check=distinct(_check),
)

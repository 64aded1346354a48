"""ci-long-lived-secret: a cloud key is stored where a signed token would do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.ci.workflow import Job, Step, Variable, Vendor, Workflow
from interlock.lint.deployments import distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.source.tree import Span

# The secret half only, so that one key is one finding.
_VARIABLES = {"AWS_SECRET_ACCESS_KEY": "AWS", "ARM_CLIENT_SECRET": "Azure", "GOOGLE_CREDENTIALS": "Google Cloud"}
_INPUTS = {
    ("aws-actions/configure-aws-credentials", "aws-secret-access-key"): "AWS",
    ("google-github-actions/auth", "credentials_json"): "Google Cloud",
    ("azure/login", "creds"): "Azure",
}
_STORED = {
    Vendor.GITHUB: re.compile(r"\$\{\{\s*(?:secrets|vars)\."),
    Vendor.GITLAB: re.compile(r"\$\{?[A-Za-z_]"),
    Vendor.AZURE: re.compile(r"\$\([A-Za-z_]"),
}
_KEY = re.compile(r"[A-Za-z0-9/+]{40}\Z")  # the form of an AWS secret key, written down in the file


def _is_stored(workflow: Workflow, value: str) -> bool:
    pattern = _STORED.get(workflow.vendor)
    return bool((pattern and pattern.search(value)) or _KEY.match(value.strip()))


def _found(workflow: Workflow, job: Job) -> Iterator[tuple[Span, str, str]]:
    scopes: list[tuple[Variable, ...]] = [job.variables, *(step.variables for step in job.steps)]
    for variable in (variable for scope in scopes for variable in scope):
        cloud = _VARIABLES.get(variable.name)
        if cloud and _is_stored(workflow, variable.value):
            yield variable.span, variable.name, cloud
    for step in job.steps:
        yield from _inputs(workflow, step)


def _inputs(workflow: Workflow, step: Step) -> Iterator[tuple[Span, str, str]]:
    if step.action is None:
        return
    for name, value in step.action.inputs.items():
        cloud = _INPUTS.get((step.action.name.lower(), name))
        if cloud and _is_stored(workflow, value.text):
            yield value.span, name, cloud


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        for span, name, cloud in _found(workflow, job):
            yield RULE.finding(
                span, f"{name} is a stored key that never expires; {cloud} accepts the job's own signed token instead"
            )


RULE = Rule(
    name="ci-long-lived-secret",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A pipeline with Terraform takes an AWS, Azure or Google Cloud key from a stored secret. Genesys Cloud client "
    "secrets are not meant: it has no sign-in by OIDC.",
    why="A stored key works from anywhere for years. Whoever reads one log or one fork's workflow has the state "
    "bucket, "
    "with every secret in the state. A token that the CI system signs for one job is worth nothing afterwards.",
    fix="Use OIDC: on GitHub `permissions: {id-token: write}` and `role-to-assume`, on GitLab `id_tokens:`, on Azure a "
    "service connection with workload identity.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform plan\n        env: {AWS_SECRET_ACCESS_KEY: '${{ secrets.AWS_SECRET }}'}\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - uses: aws-actions/configure-aws-credentials@e6de054238d6b7531b4efff3b6587d9aade6a06c\n"
        "        with: {role-to-assume: 'arn:aws:iam::111122223333:role/plan', aws-region: eu-central-1}\n"
        "      - run: terraform plan\n"
    },
    check=distinct(_check),
)

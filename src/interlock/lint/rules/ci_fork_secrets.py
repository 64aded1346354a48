"""ci-fork-secrets: code of a stranger's fork runs with our secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.ci.workflow import Job, Vendor
from interlock.lint.deployments import distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.source.tree import Span

_STRANGERS_REF = re.compile(
    r"github\.event\.pull_request\.(?:head|merge_commit_sha|number)|github\.head_ref|refs/pull/|github\.event\.number"
    r"|github\.event\.workflow_run\.head_(?:sha|branch|repository)"
)
_SAME_REPOSITORY = re.compile(r"head\.repo(?:sitory)?\.(?:full_name|id|fork)|head_repository\.(?:full_name|id|fork)")


def _checkouts(job: Job) -> Iterator[Span]:
    for step in job.steps:
        if step.action is None or not step.action.name.lower().endswith("/checkout"):
            continue
        for name in ("ref", "repository"):
            value = step.action.inputs.get(name)
            if value is not None and _STRANGERS_REF.search(value.text) and not _SAME_REPOSITORY.search(step.condition):
                yield value.span


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        trusted = workflow.events & {"pull_request_target", "workflow_run"}
        if workflow.vendor is not Vendor.GITHUB or not trusted or _SAME_REPOSITORY.search(job.condition):
            continue
        for span in _checkouts(job):
            yield RULE.finding(
                span,
                f"job {job.name!r} runs on {min(trusted)}, with this repository's secrets, and checks out the code "
                "of the pull request: anyone who opens one can read them, since Terraform runs what the code says",
            )


RULE = Rule(
    name="ci-fork-secrets",
    severity=Severity.ERROR,
    subject=Subject.CI,
    what="A workflow with Terraform runs on `pull_request_target` or `workflow_run` and checks out the pull "
    "request's code.",
    why="These events run with the base repository's secrets. A plan executes code: providers, `external` data "
    "sources, "
    "modules. A fork's pull request can print every secret of the job.",
    fix="Use `pull_request` and plan only branches of this repository: "
    "`if: github.event.pull_request.head.repo.full_name == github.repository`.",
    bad={
        ".github/workflows/plan.yml": "on: pull_request_target\njobs:\n  plan:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1\n"
        "        with: {ref: '${{ github.event.pull_request.head.sha }}'}\n      - run: terraform plan\n"
    },
    good={
        ".github/workflows/plan.yml": "on: pull_request\njobs:\n  plan:\n    runs-on: ubuntu-24.04\n"
        "    if: github.event.pull_request.head.repo.full_name == github.repository\n    steps:\n"
        "      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1\n      - run: terraform plan\n"
    },
    check=distinct(_check),
)

"""ci-unpinned-action: somebody else decides tomorrow what runs with our credentials."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.ci.workflow import Action, Vendor
from interlock.lint.deployments import distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_MOVING = frozenset({"", "main", "master", "HEAD", "~latest", "latest", "develop"})
_OWNED_BY_VENDOR = ("actions/", "github/")


def _is_pinned(action: Action) -> bool:
    if action.name.startswith("docker:"):
        return action.version.startswith("sha256:")
    return _COMMIT.match(action.version) is not None


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        if workflow.vendor is Vendor.GITHUB:
            for step in job.steps:
                if step.action is not None and not _is_pinned(step.action):
                    yield _finding(step.action)
    for workflow in sources.workflows:
        if workflow.uses_terraform:
            for include in workflow.includes:
                if include.version in _MOVING:
                    yield RULE.finding(
                        include.span,
                        f"{include.name} is taken from {include.version or 'its default branch'}: it can change "
                        "between "
                        "two runs",
                        fix="name a commit or a released version",
                    )


def _finding(action: Action) -> Finding:
    version = f"@{action.version}" if action.version else " without a version"
    ours = action.name.startswith(_OWNED_BY_VENDOR)
    return RULE.finding(
        action.span,
        f"{action.name}{version} can be moved to other code by its owner; this job has credentials",
        severity=Severity.INFO if ours else None,
    )


RULE = Rule(
    name="ci-unpinned-action",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A workflow with Terraform uses an action by tag or branch instead of a full commit (GitHub's own actions: "
    "info), "
    "or a GitLab component or project include from a moving ref.",
    why="A tag can be moved. In March 2025 the tags of a popular action were pointed at code that printed the "
    "secrets of "
    "every workflow using it (CVE-2025-30066).",
    fix="Pin the full commit and keep the tag as a comment: `uses: owner/name@<40 digits> # v1.2.3`.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - uses: hashicorp/setup-terraform@v3\n      - run: terraform plan\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - uses: hashicorp/setup-terraform@dfe3c3f87815947d99a8997f908cb6525fc44e9e # v4.0.1\n"
        "      - run: terraform plan\n"
    },
    check=distinct(_check),
)

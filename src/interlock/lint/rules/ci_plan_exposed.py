"""ci-plan-exposed: a plan or state lies readable in an artifact."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from interlock.ci.workflow import Artifact, Workflow
from interlock.lint.deployments import distinct, uses_of
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_NAMES = re.compile(r"(?:.*\.tfstate(?:\..*)?|tf-?plan.*|.*\.tf-?plan(?:\.\w+)?)\Z", re.IGNORECASE)
_HARMLESS = re.compile(
    r"\.(?:enc|gpg|age|asc|sealed|wrapped|pgp|sops|txt|md|html|log)\Z"
)  # sealed, or text that Terraform masks


def _plan_files(workflow: Workflow) -> set[str]:
    """Return the base names of the plans that the workflow writes."""
    found = (use.operation.plan_file for job in workflow.jobs for use in uses_of(workflow, job) if use.operation.plans)
    return {posixpath.basename(name) for name in found if name and "$" not in posixpath.basename(name)}


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow in sources.workflows:
        if workflow.uses_terraform:
            written = _plan_files(workflow)
            for artifact in (artifact for job in workflow.jobs for artifact in job.artifacts):
                yield from _found(artifact, written)


def _found(artifact: Artifact, written: set[str]) -> Iterator[Finding]:
    for path, span in zip(artifact.paths, artifact.spans, strict=True):
        name = posixpath.basename(path)
        if not artifact.restricted and not _HARMLESS.search(name) and (name in written or _NAMES.match(name)):
            yield RULE.finding(
                span,
                f"{path} is handed on in the clear: plans and states contain every secret value of the "
                "configuration, and whoever may see the pipeline may download it",
            )


RULE = Rule(
    name="ci-plan-exposed",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A plan file or a state is uploaded as an artifact without being sealed or restricted to members.",
    why="Plans and states hold secret values in the clear, whatever `sensitive` hides on the screen. Artifacts of a "
    "public "
    "repository can be downloaded by anybody who is signed in, those of a private one by every reader.",
    fix="Seal the file before it is uploaded (`interlock ci wrap`), or on GitLab set `artifacts:access: developer`.",
    bad={
        ".github/workflows/plan.yml": "on: pull_request\njobs:\n  plan:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform plan -out=plan.bin\n"
        "      - uses: actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f\n"
        "        with: {name: plan, path: plan.bin}\n"
    },
    good={
        ".github/workflows/plan.yml": "on: pull_request\njobs:\n  plan:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform plan -out=plan.bin\n      - run: interlock ci wrap plan.bin\n"
        "      - uses: actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f\n"
        "        with: {name: plan, path: plan.bin.wrapped}\n"
    },
    check=distinct(_check),
)

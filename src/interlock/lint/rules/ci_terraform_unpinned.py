"""ci-terraform-unpinned: the next run may use another Terraform."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.ci.workflow import Action, Image, Job, Vendor, Workflow
from interlock.lint.deployments import distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.source.tree import Span

_EXACT = re.compile(r"v?\d+\.\d+\.\d+(?:-[\w.]+)?\Z")
_VARIABLE = re.compile(r"\$\{\{\s*env\.([A-Za-z_]\w*)\s*\}\}\Z|\$\(([A-Za-z_]\w*)\)\Z")
# Setup steps by name -> the input that names the version, and inputs that read it from a file.
_SETUP = {
    "hashicorp/setup-terraform": ("terraform_version", ("terraform_version_file",)),
    "opentofu/setup-opentofu": ("tofu_version", ("tofu_version_file",)),
    "terraforminstaller": ("terraformVersion", ()),
}
_IMAGE = re.compile(r"(?:.*/)?(?:hashicorp/terraform|opentofu/opentofu)(?::(?P<tag>[\w.-]+))?(?P<sum>@sha256:\w+)?\Z")


def _resolved(job: Job, text: str) -> str | None:
    """Return a version text with the file's own variable put in; None when it cannot be known."""
    match = _VARIABLE.match(text.strip())
    if match is not None:
        name = match.group(1) or match.group(2)
        return next((variable.value for variable in reversed(job.variables) if variable.name == name), None)
    return None if "$" in text else text.strip()


def _loose_setup(job: Job, action: Action) -> tuple[Span, str] | None:
    known = _SETUP.get(
        action.name.lower().removeprefix("ms-devlabs.custom-terraform-tasks.custom-terraform-installer-task.")
    )
    if known is None:
        return None
    name, files = known
    if any(action.value(file) for file in files):
        return None
    given = action.inputs.get(name)
    if given is None:
        return action.span, "the newest version of the day"
    version = _resolved(job, given.text)
    return None if version is None or _EXACT.match(version) else (given.span, f"{version!r}")


def _loose_image(image: Image) -> tuple[Span, str] | None:
    match = _IMAGE.match(image.name)
    if match is None or match["sum"] or _EXACT.match(match["tag"] or ""):
        return None
    return image.span, f"the image {image.name!r}"


def _found(workflow: Workflow, job: Job) -> Iterator[tuple[Span, str]]:
    actions = [step.action for step in job.steps if step.action is not None]
    if workflow.vendor in (Vendor.GITHUB, Vendor.AZURE):
        yield from (found for action in actions if (found := _loose_setup(job, action)) is not None)
    if job.image is not None and (loose := _loose_image(job.image)) is not None:
        yield loose


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        for span, what in _found(workflow, job):
            yield RULE.finding(
                span,
                f"Terraform is not pinned ({what}): a plan made by one version cannot be applied by another, and a "
                "newer "
                "one may rewrite the state for good",
            )


RULE = Rule(
    name="ci-terraform-unpinned",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="setup-terraform, setup-opentofu, TerraformInstaller or a Terraform image without an exact version.",
    why="A saved plan needs the very same Terraform version to be applied. A new release between review and merge "
    "makes "
    "every reviewed plan void, and a state written by a newer version may be refused by the older one.",
    fix="Name an exact version such as 1.11.4, in one place for all jobs.",
    bad={
        ".github/workflows/plan.yml": "on: pull_request\njobs:\n  plan:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - uses: hashicorp/setup-terraform@dfe3c3f87815947d99a8997f908cb6525fc44e9e\n"
        "        with: {terraform_version: latest}\n      - run: terraform plan\n"
    },
    good={
        ".github/workflows/plan.yml": "on: pull_request\njobs:\n  plan:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - uses: hashicorp/setup-terraform@dfe3c3f87815947d99a8997f908cb6525fc44e9e\n"
        "        with: {terraform_version: 1.11.4}\n      - run: terraform plan\n"
    },
    check=distinct(_check),
)

"""What CI rules ask of workflows: who uses Terraform, on whose state, with which credentials.

Knows: `ci`, findings. Knows no single rule. A question that a file does not answer is answered with None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from interlock.ci.operations import Operation, Tool
from interlock.ci.workflow import Job, Step, Workflow
from interlock.lint.finding import Finding
from interlock.lint.rule import Sources

_FOLLOWS_REF = re.compile(
    r"github\.(?:ref|ref_name|head_ref|sha|run_id|run_number|event\.(?:number|pull_request))\b"
    r"|GITHUB_(?:REF|REF_NAME|HEAD_REF|SHA|RUN_ID)\b"
    r"|CI_COMMIT_(?:REF_NAME|REF_SLUG|BRANCH|SHA|SHORT_SHA)\b|CI_MERGE_REQUEST_\w+|CI_PIPELINE_I?ID\b"
    r"|Build\.(?:SourceBranch|SourceBranchName|BuildId|SourceVersion)\b|System\.PullRequest\."
)
_UNKNOWN = re.compile(r"\$\{\{\s*(?:inputs|env|steps|needs|parameters|fromJSON)\b|\$(?!\{\{)")
_CONSTANT = re.compile(
    r"\$\{\{\s*(?:matrix|secrets|vars|github\.(?:repository|workflow|workspace))\b[^}]*\}\}"
    r"|\$\{?(?:GITHUB_WORKSPACE|CI_PROJECT_DIR|RUNNER_TEMP|BUILD_SOURCESDIRECTORY)\}?"
    r"|\$\((?:System\.DefaultWorkingDirectory|Build\.SourcesDirectory|Pipeline\.Workspace)\)"
)
_VARIABLE = re.compile(r"\$\{\{\s*env\.(\w+)\s*\}\}|\$\{(\w+)\}|\$\((\w+)\)|\$(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One use of Terraform, with everything around it."""

    workflow: Workflow
    job: Job
    step: Step
    operation: Operation

    @property
    def place(self) -> tuple[str, str]:
        """What must be equal for two uses to work on one state, as far as a file tells: vendor and directory."""
        return (self.workflow.vendor.value, self.operation.directory)


def distinct(check: Callable[[Sources], Iterable[Finding]]) -> Callable[[Sources], Iterable[Finding]]:
    """Let a check report each place once, though a called workflow or template is met once for every caller."""

    def checked(sources: Sources) -> Iterator[Finding]:
        seen: set[tuple[str, int, int]] = set()
        for finding in check(sources):
            if finding.span.order() not in seen:
                seen.add(finding.span.order())
                yield finding

    return checked


def jobs(sources: Sources) -> Iterator[tuple[Workflow, Job]]:
    """Yield the jobs of every workflow that works with Terraform."""
    for workflow in sources.workflows:
        if workflow.uses_terraform:
            for job in workflow.jobs:
                yield workflow, job


def uses(sources: Sources) -> Iterator[Use]:
    """Yield every use of Terraform."""
    for workflow, job in jobs(sources):
        yield from uses_of(workflow, job)


def uses_of(workflow: Workflow, job: Job) -> Iterator[Use]:
    """Yield the uses of Terraform in one job."""
    for step, operation in job.operations():
        yield Use(workflow=workflow, job=job, step=step, operation=operation)


def applying(workflow: Workflow, job: Job) -> Iterator[Use]:
    """Yield the uses in one job that change the organisation."""
    return (use for use in uses_of(workflow, job) if use.operation.applies)


def state_follows_ref(job: Job) -> bool | None:
    """Say whether a job's state differs between branches: by workspace, backend key or directory.

    Returns:
        None when it is chosen by something that the file does not show.
    """
    known = {variable.name: variable.value for variable in job.variables}
    chosen = [_resolved(text, known) for text in _state_choices(job)]
    if any(_FOLLOWS_REF.search(text) for text in chosen):
        return True
    if any(_UNKNOWN.search(_CONSTANT.sub("", text)) for text in chosen):
        return None
    return False


def _resolved(text: str, known: Mapping[str, str]) -> str:
    """Put the file's own variables in place of their names; once, so that no variable can name itself for ever."""

    def value(match: re.Match[str]) -> str:
        name = next(group for group in match.groups() if group)
        return known.get(name, match.group())

    return _VARIABLE.sub(value, text)


def _state_choices(job: Job) -> Iterator[str]:
    for _, operation in job.operations():
        yield operation.directory
        if operation.tool is Tool.INTERLOCK and (state := operation.flag("state")) is not None:
            yield state.value or ""
        if operation.verb in ("workspace select", "workspace new"):
            yield from (argument.text for argument in operation.arguments)
        yield from (flag.value or "" for flag in operation.flags if flag.name == "backend-config")
        yield operation.exports.get("TF_WORKSPACE", "")


def credentials(job: Job, step: Step, operation: Operation) -> frozenset[str] | None:
    """Return the names of the variables that a step's Terraform sees; None when an earlier step may add more."""
    names = set(operation.exports)
    for earlier in job.steps:
        if earlier is step:
            break
        if earlier.grants_unknown:
            return None
        names |= earlier.grants
    return frozenset(names)

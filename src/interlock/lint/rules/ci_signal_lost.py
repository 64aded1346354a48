"""ci-signal-lost: a cancelled job kills Terraform before it can save its state."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.operations import Tool
from interlock.ci.workflow import Job, Vendor
from interlock.lint.deployments import Use, distinct, uses
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_FIRST_SIGNAL = "INT"  # what GitHub's runner and Azure's agent send first, to the step's entry process only

_SHELL_ONLY = (Vendor.GITHUB, Vendor.AZURE)  # the systems that signal nothing below the step's entry process


def _wrapped(job: Job) -> bool:
    """Say whether setup-terraform's wrapper script stands between the shell and Terraform (its default)."""
    return any(
        step.action is not None
        and step.action.name.lower() in ("hashicorp/setup-terraform", "opentofu/setup-opentofu")
        and "false" not in (step.action.value("terraform_wrapper"), step.action.value("tofu_wrapper"))
        for step in job.steps
    )


def _reaches(use: Use) -> bool:
    """Say whether the first signal reaches Terraform."""
    operation = use.operation
    forwarded = operation.replaces_shell or _FIRST_SIGNAL in operation.signals
    return forwarded and not (operation.tool is not Tool.INTERLOCK and _wrapped(use.job))


def _is_waited_for(use: Use) -> bool:
    """Say whether a step that survives cancelling waits for Interlock's supervisor."""
    return any(
        operation.tool is Tool.INTERLOCK and operation.verb == "wait"
        for step in use.job.steps
        if step.survives
        for operation in step.operations
    )


def _check(sources: Sources) -> Iterator[Finding]:
    for use in uses(sources):
        operation = use.operation
        if not operation.applies:
            continue
        if not operation.is_plain:
            if not _is_waited_for(use) and use.job.standalone:
                yield RULE.finding(
                    operation.span,
                    "when the job is cancelled the machine may go away before Interlock's supervisor has let Terraform "
                    "finish: no later step waits for it",
                    fix="add a last step `interlock wait` with `if: always()` (GitLab: after_script)",
                )
        elif use.workflow.vendor in _SHELL_ONLY and not _reaches(use) and not _is_hidden(use):
            yield RULE.finding(operation.span, _reason(use))


def _is_hidden(use: Use) -> bool:
    """A packaged GitHub action runs Terraform in its own way, which the file does not show."""
    return use.operation.by_task and use.workflow.vendor is Vendor.GITHUB


def _reason(use: Use) -> str:
    tool = use.operation.tool.value
    if use.operation.by_task:
        return f"the task ends {tool} without grace when the run is cancelled: the state is not saved, the lock stays"
    if use.operation.replaces_shell or _FIRST_SIGNAL in use.operation.signals:
        return f"the setup action's wrapper swallows the signal: {tool} is killed when the job is cancelled"
    return f"cancelling signals the shell, not {tool} below it: it is killed in mid-apply and leaves its lock"


RULE = Rule(
    name="ci-signal-lost",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="On GitHub or Azure an apply runs below a shell that does not pass signals on (no `exec`, no forwarding "
    "trap, or "
    "setup-terraform's wrapper in between), or `interlock apply` has no later `interlock wait` in an always() step.",
    why="Cancelling sends SIGINT to the step's entry process only, and ten seconds later the whole tree is killed. "
    "bash does not pass the signal to its child, so Terraform never hears of it: the state of the last objects is "
    "lost and "
    "the lock stays (hashicorp/setup-terraform issue 441).",
    fix="Use `exec interlock apply …` and a last step `if: always()` with `interlock wait`; with plain Terraform `exec "
    "terraform apply …` as the step's last command and `terraform_wrapper: false`.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform apply plan.bin\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: exec interlock apply . --state prod --plan plan.bin --auto-approve\n"
        "      - if: always()\n        run: interlock wait\n"
    },
    check=distinct(_check),
)

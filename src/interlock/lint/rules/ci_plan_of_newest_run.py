"""ci-plan-of-newest-run: what is applied is the plan of whichever run came last."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.ci.operations import Program
from interlock.ci.workflow import Action, Job
from interlock.lint.deployments import distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.source.tree import Span

_BY_REF = re.compile(r"/jobs/artifacts/[^/\s]+/(?:download|raw)")  # GitLab: of the last successful pipeline of a ref
_DOWNLOADS = frozenset({"downloadpipelineartifact", "downloadbuildartifacts"})
_LATEST = re.compile(r"latest", re.IGNORECASE)
_PINS = ("run_id", "commit")  # inputs of the common action that fetches from other runs


def _by_action(action: Action) -> Span | None:
    name = action.name.lower()
    if name == "dawidd6/action-download-artifact" and not any(action.value(pin) for pin in _PINS):
        return action.span
    if name in _DOWNLOADS:
        for setting in ("runVersion", "buildVersionToDownload"):
            if _LATEST.match(action.value(setting)):
                return action.inputs[setting].span
    return None


def _by_program(program: Program) -> Span | None:
    words = [word.text for word in program.words]
    if program.name == "gh" and words[1:3] == ["run", "download"] and not any(_is_run(word) for word in words[3:4]):
        return program.span
    if program.name in ("curl", "wget") and any(_BY_REF.search(word) for word in words):
        return program.span
    return None


def _is_run(word: str) -> bool:
    return bool(word) and not word.startswith("-")


def _found(job: Job) -> Iterator[Span]:
    for step in job.steps:
        spans = [_by_program(program) for program in step.programs]
        spans.append(_by_action(step.action) if step.action is not None else None)
        yield from (span for span in spans if span is not None)


def _check(sources: Sources) -> Iterator[Finding]:
    for _, job in jobs(sources):
        if any(operation.applies and operation.plan_file is not None for _, operation in job.operations()):
            for span in _found(job):
                yield RULE.finding(
                    span,
                    f"job {job.name!r} applies the plan of whichever run was last: somebody may start one after the "
                    "review",
                )


RULE = Rule(
    name="ci-plan-of-newest-run",
    severity=Severity.ERROR,
    subject=Subject.CI,
    what="A job applies a saved plan that it fetches from the newest run, not from the run that was reviewed.",
    why="Run A is reviewed and approved; run B, started later from other files or by somebody else, keeps its plan "
    "under the same name; the apply takes B's.",
    fix="Name the run that was reviewed (its id, and the head commit), and compare the plan's digest: "
    "`interlock ci seal`, `interlock ci reviewed` with --run and --plan-digest.",
    bad={
        ".github/workflows/apply.yml": "on: push\njobs:\n  apply:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: gh run download --name plan\n      - run: terraform apply plan.bin\n"
    },
    good={
        ".github/workflows/apply.yml": "on: push\njobs:\n  apply:\n    runs-on: ubuntu-24.04\n    steps:\n"
        '      - run: gh run download "$RUN" --name plan\n      - run: terraform apply plan.bin\n'
    },
    check=distinct(_check),
)

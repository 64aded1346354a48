"""ci-pending-dropped: GitHub keeps one waiting run and throws the others away."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.ci.workflow import Vendor
from interlock.lint.deployments import applying, distinct, jobs
from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.source.tree import Span

_NEAR_BYTES = 200  # in which the other keys of one `concurrency` stand
_BLOCK = re.compile(rb"\s+group:\s*")
_SCALAR = re.compile(rb"\s*concurrency:\s*")
_FLOW = re.compile(rb"[{,]\s*group:\s*\Z")


_OF_ONE_CHANGE = frozenset({"pull_request", "pull_request_target", "merge_group"})


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        if workflow.vendor is not Vendor.GITHUB or not any(applying(workflow, job)):
            continue
        for turn in job.turns:
            if turn.follows_ref and workflow.events and workflow.events <= _OF_ONE_CHANGE:
                continue  # a group of one pull request: what is dropped is an older push of the same change
            unique = "github.run_id" in turn.key
            if turn.keeps_all is False and turn.cancels is not True and not unique:
                yield RULE.finding(
                    turn.span,
                    f"the group {turn.key!r} keeps one waiting run: a third deployment silently cancels the second "
                    "one that waits",
                    edits=tuple(_keeping(turn.span, sources.texts.get(turn.span.path, b""))),
                )


def _keeping(span: Span, text: bytes) -> Iterator[Edit]:
    """Yield the edit that adds `queue: max`, in the style in which the group is written."""
    line = text[text.rfind(b"\n", 0, span.start) + 1 : span.start]
    value = text[span.start : span.end].decode("utf-8", "replace")
    near = text[max(0, span.start - _NEAR_BYTES) : span.end + _NEAR_BYTES]
    if "\n" in value or b"queue:" in near:  # another value is there already; a person must decide
        return
    if _BLOCK.fullmatch(line):
        indent = line[: len(line) - len(line.lstrip())].decode()
        yield Edit(path=span.path, start=span.end, end=span.end, text=f"\n{indent}queue: max")
    elif _SCALAR.fullmatch(line):
        yield Edit(path=span.path, start=span.start, end=span.end, text=f"{{group: {_quoted(value)}, queue: max}}")
    elif _FLOW.search(line):
        yield Edit(path=span.path, start=span.end, end=span.end, text=", queue: max")


def _quoted(value: str) -> str:
    """Return a scalar that stays one inside braces."""
    return value if value[:1] in "'\"" or not set(value) & set("{}[],") else '"' + value.replace('"', '\\"') + '"'


RULE = Rule(
    name="ci-pending-dropped",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A GitHub concurrency group covers a job that applies and does not say `queue: max`.",
    why="By default a group has one running and one pending run. A newer pending run replaces the older one, whatever "
    "`cancel-in-progress` says, so reviewed deployments vanish without an error. `queue: max` (since 2026-05-07) keeps "
    "up to 100, in the order in which they began to wait.",
    fix="Add `queue: max` beside `group`.",
    bad={
        ".github/workflows/deploy.yml": "on: {push: {branches: [main]}}\nconcurrency: {group: tf-prod}\njobs:\n"
        "  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: terraform apply plan.bin\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: {push: {branches: [main]}}\nconcurrency: {group: tf-prod, queue: max}\n"
        "jobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: terraform apply plan.bin\n"
    },
    check=distinct(_check),
    fixable=True,
)

"""Jobs beside a generated pipeline that apply the same root modules. Pure.

Whoever generates a pipeline has one already, as a rule: the old workflow goes on to apply, without the review that the
new one insists on, and the two meet at the state.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from interlock.ci.workflow import Job, Workflow
from interlock.source.tree import Span

HEADER = ("# Written by `interlock ci generate", "// Written by `interlock ci generate")
"""How every generated file begins. A file that begins otherwise belongs to somebody and is not overwritten."""

_HEADER_BYTES = max(map(len, HEADER))
_DIRECTORY = re.compile(r"\b(?:DIRECTORY|directory)[ \t]*[:=][ \t]*[\"']?([^\"'\s#,;]+)")
_VARIABLE = re.compile(r"\$\{\{\s*env\.(\w+)\s*\}\}|\$\{(\w+)\}|\$\((\w+)\)|\$(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A command of somebody else's workflow that applies a root of the generated pipeline.

    Attributes:
        path: The workflow's file.
        job: The job.
        directory: The root module, from the top of the repository.
        command: What is run, such as `terraform apply`.
        span: Where.
    """

    path: str
    job: str
    directory: str
    command: str
    span: Span


def is_generated(text: str | bytes) -> bool:
    """Say whether a file is one that `interlock ci generate` wrote."""
    return (text if isinstance(text, str) else text[:_HEADER_BYTES].decode(errors="replace")).startswith(HEADER)


def generated_directories(texts: Mapping[str, bytes]) -> frozenset[str]:
    """Return the root modules that generated files name, from the top of the repository.

    Args:
        texts: Files by path; those that are not generated are left out.
    """
    found = (
        name
        for content in texts.values()
        if is_generated(content)
        for name in _DIRECTORY.findall(content.decode(errors="replace"))
    )
    return frozenset(posixpath.normpath(name) for name in found if "$" not in name)


def find_beside(
    workflows: Iterable[Workflow], texts: Mapping[str, bytes], directories: Iterable[str]
) -> Iterator[Beside]:
    """Yield the commands that apply one of the directories and are in no generated file.

    Args:
        workflows: Those of the repository.
        texts: The content of files by path.
        directories: Root modules of the generated pipeline, from the top of the repository.
    """
    wanted = {posixpath.normpath(name) for name in directories}
    for workflow in workflows:
        for job in workflow.jobs:
            yield from _of_job(job, texts, wanted)


def _of_job(job: Job, texts: Mapping[str, bytes], wanted: set[str]) -> Iterator[Beside]:
    known = {variable.name: variable.value for variable in job.variables}
    for step, operation in job.operations():
        own = {**known, **{variable.name: variable.value for variable in step.variables}}
        directory = posixpath.normpath(_filled(operation.directory, own) or ".")
        if operation.applies and directory in wanted and not is_generated(texts.get(operation.span.path, b"")):
            yield Beside(
                path=operation.span.path,
                job=job.name,
                directory=directory,
                command=f"{operation.tool.value} {operation.verb}",
                span=operation.span,
            )


def _filled(text: str, known: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return known.get(next(group for group in match.groups() if group), match.group())

    return _VARIABLE.sub(value, text)

"""ci-unpinned-install: a package index decides tomorrow what runs with our credentials."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.ci.operations import Program
from interlock.ci.workflow import Job, Step
from interlock.lint.deployments import distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.installs import built_images, loose_install, runs_what_it_fetches
from interlock.lint.rule import Rule, Sources, Subject
from interlock.source.tree import Span


def _check(sources: Sources) -> Iterator[Finding]:
    for _, job in jobs(sources):
        programs = [program for step in job.steps for program in step.programs]
        built = built_images(programs)
        brought = _brought(programs)
        for step in job.steps:
            yield from (found for found in _check_step(job, step, built) if found.span not in brought)


def _brought(programs: list[Program]) -> frozenset[Span]:
    """Return the programs whose package or image the job itself brought before: from a lock file, or an archive."""
    installs = any(_INSTALLS.match(program.text) for program in programs)
    loads = any(_LOADS.match(program.text) for program in programs)
    return frozenset(
        program.span
        for program in programs
        if (installs and program.name == "npx") or (loads and _LOCAL_IMAGE.search(program.text))
    )


_INSTALLS = re.compile(r"(?:npm (?:ci|i|install)|yarn(?: install)?|pnpm (?:i|install))\b")
_LOADS = re.compile(r"(?:sudo )?(?:docker|podman) (?:load|import|tag|compose build)\b|docker-compose build\b")
_LOCAL_IMAGE = re.compile(r"(?:docker|podman) run\b.* [\w.-]+:[\w.-]+(?: |\Z)")
"""An image without a registry or an owner; beside `docker load` it is the one that was loaded."""


def _check_step(job: Job, step: Step, built: frozenset[str]) -> Iterator[Finding]:
    environ = {variable.name: variable.value for variable in (*job.variables, *step.variables)}
    for program in step.programs:
        what = loose_install(program, {**environ, **dict(program.command.assignments)}, built)
        if what is not None:
            yield RULE.finding(program.span, f"{what}; it runs with what this pipeline's jobs may do")
    fetching = runs_what_it_fetches(step.programs, step.text)
    if fetching is not None:
        yield RULE.finding(fetching.span, f"what `{fetching.name}` fetches runs at once, without a checksum")


RULE = Rule(
    name="ci-unpinned-install",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A pipeline with Terraform installs or runs a package by bare name or version (`pip install x`, `x==1.0`, "
    "`uv`, `pipx`, `poetry add`, `npx`, `go install x@latest`, `brew`, `choco`), a distribution's package without "
    "its version (`apk add x`, `apt-get install x`), an image by its tag (`docker run x:1`), or a download at once "
    "(`curl ... | sh`).",
    why="A version pins the one package at best: its dependencies, and the files behind the version, are whatever the "
    "index serves that day. A package runs code when it is installed and imported, beside the credentials of the job.",
    fix="Name everything with checksums: `pip install --require-hashes --requirement FILE`; `interlock ci generate` "
    "writes such a file, `pip-compile --generate-hashes` or `uv pip compile --generate-hashes` make one. Elsewhere, "
    "obey a lock file (`npm ci`, `uv sync --locked`, `poetry install`), name the version (`apk add x=1.2-r3`, "
    "`go install x@v1.2.3`) or the digest (`x@sha256:...`), compare with `sha256sum --check` before it runs, or work "
    "in an image that has everything.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: python -m pip install interlock==1.2.3\n      - run: terraform plan\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: python -I -m pip install --require-hashes --requirement interlock.requirements.txt\n"
        "      - run: terraform plan\n"
    },
    check=distinct(_check),
)

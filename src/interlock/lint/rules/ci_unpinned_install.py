"""ci-unpinned-install: a package index decides tomorrow what runs with our credentials."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.workflow import Job, Step
from interlock.lint.deployments import distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.installs import built_images, loose_install, runs_what_it_fetches
from interlock.lint.rule import Rule, Sources, Subject


def _check(sources: Sources) -> Iterator[Finding]:
    for _, job in jobs(sources):
        built = built_images(program for step in job.steps for program in step.programs)
        for step in job.steps:
            yield from _check_step(job, step, built)


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

"""ci-applied-twice: an older workflow applies a root that the generated pipeline applies too."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.beside import HEADER, find_beside, generated_directories
from interlock.lint.deployments import distinct
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def _check(sources: Sources) -> Iterator[Finding]:
    directories = generated_directories(sources.texts)
    for found in find_beside(sources.workflows, sources.texts, directories):
        yield RULE.finding(
            found.span,
            f"job {found.job!r} runs {found.command} in {found.directory}, which the pipeline of "
            "`interlock ci generate` applies too",
            fix="take the job out, or the state out of interlock.yaml",
        )


_GENERATED = (
    f"{HEADER[0]} github`.\non: {{push: {{branches: [main]}}}}\njobs:\n  apply-prod:\n    runs-on: ubuntu-24.04\n"
    "    env:\n      DIRECTORY: infra/prod\n    steps:\n"
    '      - run: exec interlock apply "$DIRECTORY" --plan plan.bin --auto-approve\n'
)
_OLD = (
    "on: {push: {branches: [main]}}\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
    "      - run: terraform -chdir=infra/%s apply plan.bin\n"
)

RULE = Rule(
    name="ci-applied-twice",
    severity=Severity.ERROR,
    subject=Subject.CI,
    what="A workflow beside the generated ones applies a root module that they apply.",
    why="The generated pipeline applies exactly what was reviewed. The other workflow applies what it finds: a change "
    "is applied without its review, and each of the two makes the other one's plan stale.",
    fix="Remove the older job when the generated pipeline has taken over.",
    bad={".github/workflows/interlock-apply.yml": _GENERATED, ".github/workflows/deploy.yml": _OLD % "prod"},
    good={".github/workflows/interlock-apply.yml": _GENERATED, ".github/workflows/deploy.yml": _OLD % "other"},
    check=distinct(_check),
)

"""A CI file that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def check(sources: Sources) -> Iterator[Finding]:
    """Yield what could not be read of CI files."""
    for workflow in sources.workflows:
        for problem in workflow.problems:
            yield RULE.finding(problem.span, problem.message)


RULE = Rule(
    name="ci-syntax",
    severity=Severity.ERROR,
    subject=Subject.SYNTAX,
    what="A CI file, or one that it includes, cannot be read.",
    why=(
        "The CI system refuses such a file, or leaves it out without a word, and then nothing is deployed or checked. "
        "The other rules see only what could still be read."
    ),
    fix="put the file right",
    bad={".github/workflows/deploy.yml": "on: push\njobs:\n  plan: [\n"},
    good={
        ".github/workflows/deploy.yml": (
            "on: push\njobs:\n  plan:\n    runs-on: ubuntu-latest\n    steps:\n      - run: terraform validate\n"
        )
    },
    check=check,
)

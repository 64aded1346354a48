"""An inline ignore that ignores nothing: no reason, or no such rule."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.lint.finding import Finding, Severity
from interlock.lint.ignores import Incomplete, find_ignores
from interlock.lint.rule import Rule, Sources, Subject


def check(sources: Sources) -> Iterator[Finding]:
    """Yield the ignore comments that are incomplete."""
    from interlock.lint.catalogue import RULES  # the catalogue lists this rule too

    known = frozenset(rule.name for rule in RULES)
    for path, content in sources.texts.items():
        for found in find_ignores(path, content, known):
            if isinstance(found, Incomplete):
                yield RULE.finding(found.span, f"this ignore has no effect: {found.why}")


RULE = Rule(
    name="ignore-incomplete",
    severity=Severity.WARNING,
    subject=Subject.SYNTAX,
    what="An `interlock:ignore` comment gives no reason, or names a rule that does not exist.",
    why=(
        "A finding that somebody silenced without saying why is asked about again by the next reader, and a misspelt "
        "name silences nothing while everybody believes that it does."
    ),
    fix="write `# interlock:ignore rule-name: reason`",
    bad={"main.tf": "locals {\n  a = 1 # interlock:ignore force-deleted\n}\n"},
    good={"main.tf": "locals {\n  a = 1 # interlock:ignore force-deleted: test queues only\n}\n"},
    check=check,
)

"""A file that Terraform cannot read, or blocks that cannot stand together."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def check(sources: Sources) -> Iterator[Finding]:
    """Yield what keeps a module from meaning what it should."""
    for module in sources.all_modules():
        for problem in module.problems:
            yield RULE.finding(problem.span, problem.message)


RULE = Rule(
    name="hcl-syntax",
    severity=Severity.ERROR,
    subject=Subject.SYNTAX,
    what="A Terraform file cannot be read, or two blocks claim one name.",
    why=(
        "Terraform stops at such a file before it plans anything. The other rules see only what could still be read, "
        "and those that conclude from what is absent stay silent for the whole folder."
    ),
    fix="put the file right; `terraform validate`, or `tofu validate`, shows the same place",
    bad={"main.tf": 'variable "pool" {\n  default = [1, 2\n}\n'},
    good={"main.tf": 'variable "pool" {\n  default = [1, 2]\n}\n'},
    check=check,
)

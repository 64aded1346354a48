"""Every rule, listed by hand, in the order in which people read them.

A new rule is one file in `rules/`, one line here, and one section in docs/reference/lint-rules.md (which is written
from the rule itself, see `reference.py`).
"""

from __future__ import annotations

from interlock.lint.rule import Rule
from interlock.lint.rules.ci import CI_RULES

HCL_RULES: tuple[Rule, ...] = ()

RULES: tuple[Rule, ...] = (*HCL_RULES, *CI_RULES)


def find_rule(name: str) -> Rule | None:
    """Return the rule of that name, or None."""
    return next((rule for rule in RULES if rule.name == name), None)

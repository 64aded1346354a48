"""What a rule found: where, how bad, what to do, and the edit that would do it.

Knows: places in files. Knows nothing of rules, HCL or CI systems.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from interlock.source.tree import Span


class Severity(enum.Enum):
    """How bad a finding is. `rank` orders them; a higher rank is worse."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Return 0 for info, 1 for warning, 2 for error."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Replace the bytes `start` to `end` of a file by `text`; nothing else in the file changes."""

    path: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One trap at one place.

    Attributes:
        rule: The rule's name.
        severity: The rule's severity, unless the rule knows better for this place.
        span: The place; its line and column are where an editor should jump.
        message: What is wrong here and what will happen, one line, naming the things of this file. No secrets.
        fix: What to write instead, one line.
        edits: The change that `--fix` makes; empty when only a person can decide.
    """

    rule: str
    severity: Severity
    span: Span
    message: str
    fix: str
    edits: tuple[Edit, ...] = ()

    def order(self) -> tuple[str, int, int, str, str]:
        """Return the sort key of reports: by file, place, rule, then message."""
        return (*self.span.order(), self.rule, self.message)

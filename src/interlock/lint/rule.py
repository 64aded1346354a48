"""The interface of a lint rule: sources in, findings out.

Each file in `rules/` holds one rule as a constant named `RULE`; `catalogue.py` lists them by hand, in order.
A rule is pure: it sees only `Sources`, it keeps nothing, and the same sources give the same findings in any order.

A false alarm costs more than a miss: when a rule cannot know (a value from a variable without a default, a file
that was not given), it says nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interlock.lint.finding import Edit, Finding, Severity
from interlock.source.tree import Span

if TYPE_CHECKING:
    from interlock.ci.workflow import Workflow
    from interlock.hcl import Module


class Subject(enum.Enum):
    """The group of a rule in lists and in the reference page."""

    SYNTAX = "syntax"
    BACKEND = "backend"
    PROVIDER = "provider"
    RESOURCES = "resources"
    CI = "ci"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything that a rule may look at. Both kinds are optional: either tuple may be empty.

    Attributes:
        modules: The root modules, each with the local modules that it calls; a module called by another one in the
            same sources is not listed a second time.
        workflows: The CI files of every vendor, as `interlock.ci` reads them, with spans.
        texts: The content of every file that was read, by path.
        places: Where each root module is within its checkout, by path; results never depend on how a path is spelled.
        generated_by: The program that writes backends here, such as `Terragrunt`; empty when none shows.
    """

    modules: tuple[Module, ...] = ()
    workflows: tuple[Workflow, ...] = ()
    texts: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    places: Mapping[str, str] = field(default_factory=dict, repr=False)
    generated_by: str = ""

    def place(self, module: Module) -> str:
        """Return where a module is within its checkout."""
        return self.places.get(module.path, module.path)

    def all_modules(self) -> Iterator[Module]:
        """Yield every module, the called ones too, each folder once."""
        seen: set[str] = set()
        for root in self.modules:
            for module in root.walk():
                if module.path not in seen:
                    seen.add(module.path)
                    yield module


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One trap that Interlock knows.

    Attributes:
        name: The stable name, as in `--select`, ignores and the docs.
        severity: How bad it is by default.
        subject: Its group.
        what: What the rule looks for; one or two sentences.
        why: Why that is a trap, and what happens to people who leave it.
        fix: What to write instead.
        bad: Smallest files (path -> text) in which it fires; checked by a test, printed in the docs.
        good: The same files put right, in which it is silent.
        fixable: Whether `--fix` can repair at least some findings.
        check: The rule itself; yields findings in any order.
    """

    name: str
    severity: Severity
    subject: Subject
    what: str
    why: str
    fix: str
    bad: Mapping[str, str]
    good: Mapping[str, str]
    check: Callable[[Sources], Iterable[Finding]]
    fixable: bool = False

    def finding(
        self, span: Span, message: str, *, fix: str = "", edits: tuple[Edit, ...] = (), severity: Severity | None = None
    ) -> Finding:
        """Return a finding of this rule at `span`; `fix` defaults to the rule's own advice."""
        return Finding(
            rule=self.name,
            severity=severity or self.severity,
            span=span,
            message=message,
            fix=fix or self.fix,
            edits=edits,
        )

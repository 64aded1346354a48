"""What the tests of lint rules share: small repositories in memory, and findings in one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from interlock.lint.catalogue import HCL_RULES, find_rule
from interlock.lint.engine import Request, fix, lint
from interlock.source.tree import MemoryTree

Found = Callable[..., list[str]]
Fixed = Callable[..., dict[str, str]]


def _texts(texts: str | Mapping[str, str]) -> Mapping[str, str]:
    return {"main.tf": texts} if isinstance(texts, str) else texts


@pytest.fixture
def found() -> Found:
    """Return a function: texts and rule names in (none: all for Terraform), `path:line:column rule` out."""

    def run(texts: str | Mapping[str, str], *names: str) -> list[str]:
        rules = tuple(rule for name in names if (rule := find_rule(name)) is not None) or HCL_RULES
        report = lint(MemoryTree(_texts(texts)), Request(rules=rules))
        spans = ((item.finding.span, item.finding.rule) for item in report.findings)
        return [f"{span.path}:{span.line}:{span.column} {rule}" for span, rule in spans]

    return run


@pytest.fixture
def fixed() -> Fixed:
    """Return a function: a rule name and texts in, all texts after `--fix` out."""

    def run(texts: str | Mapping[str, str], *names: str) -> dict[str, str]:
        rules = tuple(rule for name in names if (rule := find_rule(name)) is not None)
        given = _texts(texts)
        changed = fix(MemoryTree(given), Request(rules=rules))
        return {**given, **{path: content.decode() for path, content in changed.items()}}

    return run

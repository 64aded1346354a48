"""What one lint found, ready for a view: findings in order, each with its line and its fingerprint.

Knows: findings and the lines they stand in. Knows nothing of rules or output formats.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from interlock.lint.finding import Finding, Severity
from interlock.source.tree import Span

_FINGERPRINT_CHARS = 32  # 128 bits of SHA-256; GitLab and GitHub only compare them


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A finding with the text of its first line and a fingerprint that survives moved lines.

    The fingerprint is made of the rule, the path, the line's text without its indentation, and a number that tells
    equal lines apart; so it changes when the line itself is changed, and not when lines are added above it.
    """

    finding: Finding
    line_text: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotJudged:
    """Things of one kind that the lint did not look at, so that silence about them means nothing.

    Attributes:
        kind: A stable name, such as `remote-workflow`.
        what: How many of what, as a sentence: `3 jobs call a workflow of another repository`.
        places: Name and place of each, in order.
    """

    kind: str
    what: str
    places: tuple[tuple[str, Span], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of one lint.

    Attributes:
        findings: In order of file and place; without those ignored or in the baseline.
        files: How many files were read.
        ignored: How many findings inline comments took away.
        accepted: How many findings the baseline took away.
        not_judged: What was used and not read.
    """

    findings: tuple[Reported, ...]
    files: int = 0
    ignored: int = 0
    accepted: int = 0
    not_judged: tuple[NotJudged, ...] = ()

    def at_least(self, severity: Severity) -> bool:
        """Say whether any finding is as bad as `severity`, or worse."""
        return any(item.finding.severity.rank >= severity.rank for item in self.findings)

    def count(self, severity: Severity) -> int:
        """Return the number of findings of one severity."""
        return sum(item.finding.severity is severity for item in self.findings)


def reported(findings: Iterable[Finding], texts: Mapping[str, bytes]) -> tuple[Reported, ...]:
    """Put findings in order, once each, and add lines and fingerprints.

    Args:
        findings: In any order, with repeats.
        texts: The content of the files by path; a finding in another file gets an empty line.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    lines: dict[str, list[str]] = {}
    result: list[Reported] = []
    for finding in sorted(set(findings), key=Finding.order):
        path = finding.span.path
        if path not in lines:
            lines[path] = texts.get(path, b"").decode("utf-8", "replace").split("\n")
        text = lines[path][finding.span.line - 1].rstrip("\r") if finding.span.line <= len(lines[path]) else ""
        key = (finding.rule, path, text.strip())
        seen[key] += 1
        result.append(Reported(finding=finding, line_text=text, fingerprint=_fingerprint(*key, seen[key])))
    return tuple(result)


def _fingerprint(rule: str, path: str, line: str, number: int) -> str:
    digest = hashlib.sha256("\0".join((rule, path, line, str(number))).encode("utf-8", "replace"))
    return digest.hexdigest()[:_FINGERPRINT_CHARS]

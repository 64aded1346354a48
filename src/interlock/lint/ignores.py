"""Inline ignores: `# interlock:ignore rule-name: reason`.

Behind code on one line it covers that line. Alone on its line it covers the next line of code and, when a block or a
mapping begins there, everything inside. `# interlock:ignore-file rule-name: reason` covers the whole file.

Knows: lines, comment marks, indentation; HCL, YAML and shell alike. Knows nothing of rules but their names.
An ignore without a reason, or of a rule that does not exist, ignores nothing; it is an `Incomplete`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from interlock.lint.finding import Finding
from interlock.source.tree import Span, span_of

_MARK = re.compile(rb"(?:#|//|/\*)[ \t]*interlock:ignore(-file)?\b([^\n]*)")
_RULES = re.compile(r"\s*([a-z0-9-]+(?:\s*,\s*[a-z0-9-]+)*)\s*:\s*(.*)")
_MIN_REASON = 3  # characters; "x" is not a reason, "dev" may be one


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """Findings of `rules` between two lines of a file are not reported."""

    path: str
    rules: frozenset[str]
    first_line: int
    last_line: int
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Say whether a finding begins inside."""
        here = self.path == finding.span.path and finding.rule in self.rules
        return here and self.first_line <= finding.span.line <= self.last_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Incomplete:
    """An ignore comment that ignores nothing, and why."""

    span: Span
    why: str


def find_ignores(path: str, content: bytes, known: frozenset[str]) -> Iterator[Ignore | Incomplete]:
    """Yield every ignore comment of a file.

    Args:
        path: The file.
        content: Its bytes.
        known: The names of all rules.
    """
    if b"interlock:ignore" not in content:
        return
    lines = content.decode("utf-8", "replace").split("\n")
    for match in _MARK.finditer(content):
        span = span_of(path, content, match.start(), match.end())
        text = match[2].decode("utf-8", "replace").removesuffix("\r").removesuffix("*/")
        read = _RULES.match(text)
        why = _complaint(read, known)
        if read is None or why:
            yield Incomplete(span=span, why=why)
            continue
        first, last = (1, len(lines)) if match[1] else _covered(lines, span.line)
        rules = frozenset(name.strip() for name in read[1].split(","))
        yield Ignore(path=path, rules=rules, first_line=first, last_line=last, reason=read[2].strip())


def _complaint(read: re.Match[str] | None, known: frozenset[str]) -> str:
    if read is None:
        return "it names no rule and no reason"
    unknown = sorted({name.strip() for name in read[1].split(",")} - known)
    if unknown:
        return f"there is no rule {', '.join(unknown)}"
    return "" if len(read[2].strip()) >= _MIN_REASON else "it gives no reason"


def _covered(lines: list[str], line: int) -> tuple[int, int]:
    """Return the first and last line that a comment on `line` covers, all from 1."""
    if not _is_comment(lines[line - 1]):
        return line, line
    at = line
    while at < len(lines) and (not lines[at].strip() or _is_comment(lines[at])):
        at += 1
    if at >= len(lines):
        return line, line
    return line, _end_of_block(lines, at) + 1


def _end_of_block(lines: list[str], start: int) -> int:
    """Return the index of the last line that is indented deeper than `start`, closing brackets included."""
    indent = _indent(lines[start])
    end = start
    for at in range(start + 1, len(lines)):
        text = lines[at].strip()
        if text and _indent(lines[at]) <= indent:
            closes = text[0] in "}])" and _indent(lines[at]) == indent
            return at if closes else end
        if text:
            end = at
    return end


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(("#", "//", "/*"))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())

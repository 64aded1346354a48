"""The report for people: each finding with its line and a mark under the place.

Knows: reports. Colour is the caller's decision.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from interlock.foreign_text import one_line
from interlock.lint.finding import Severity
from interlock.lint.report import Report, Reported

_MAX_LINE = 160  # characters of source shown; generated files have lines of many thousand
_COLOURS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFO: "36"}
_MAX_PLACES = 5  # of each kind of thing that was not judged
_TAB = "    "


def render_text(report: Report, *, colour: bool = False) -> str:
    """Return all findings and one line that sums them up."""
    paint = _paint if colour else _plain
    return "".join(_finding(item, paint) for item in report.findings) + _unseen(report) + _summary(report)


def _unseen(report: Report) -> str:
    """Return what was not judged: silence about it means nothing."""
    lines: list[str] = []
    for one in report.not_judged:
        lines.append(f"not judged: {one.what}")
        shown = one.places[:_MAX_PLACES]
        lines += [f"  {_safe(span.path)}:{span.line}:{span.column}  {_safe(name)}" for name, span in shown]
        if len(one.places) > len(shown):
            lines.append(f"  and {len(one.places) - len(shown)} more: interlock lint --json    lists all")
    return "\n".join(lines) + "\n\n" if lines else ""


def _finding(item: Reported, paint: Callable[[str, str], str]) -> str:
    finding, span = item.finding, item.finding.span
    head = paint(f"{finding.severity.value}[{finding.rule}]", f"1;{_COLOURS[finding.severity]}")
    number = str(span.line)
    gutter = " " * len(number)
    excerpt, mark = _excerpt(item)
    lines = [
        f"{head}: {_safe(finding.message)}",
        f"{gutter}--> {_safe(span.path)}:{span.line}:{span.column}",
        f"{gutter} |",
        f"{number} | {excerpt}",
        f"{gutter} | {paint(mark, _COLOURS[finding.severity])}",
        f"{gutter} = fix: {_safe(finding.fix)}",
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n\n"


def _excerpt(item: Reported) -> tuple[str, str]:
    """Return the source line, cut to fit, and a line with carets under the finding."""
    span, text = item.finding.span, item.line_text
    first = span.column - 1
    last = span.end_column - 1 if span.end_line == span.line else len(text)
    start = max(0, first - _MAX_LINE // 2) if len(text) > _MAX_LINE else 0
    shown = text[start : start + _MAX_LINE]
    before = _safe(shown[: first - start])
    marked = _safe(shown[first - start : max(last, first + 1) - start])
    return _safe(shown), " " * _width(before) + "^" * max(1, _width(marked))


def _summary(report: Report) -> str:
    counts = [
        _count(report.count(severity), severity.value) for severity in reversed(Severity) if report.count(severity)
    ]
    found = ", ".join(counts) if counts else "no findings"
    hidden = [f"{report.ignored} ignored inline"] if report.ignored else []
    hidden += [f"{report.accepted} in the baseline"] if report.accepted else []
    return f"{found} in {_count(report.files, 'file')}{' (' + ', '.join(hidden) + ')' if hidden else ''}\n"


def _count(number: int, noun: str) -> str:
    """Spell a number with its noun; "info" has no plural here."""
    return f"{number} {noun}" if number == 1 or noun == "info" else f"{number} {noun}s"


def _safe(text: str) -> str:
    """Return text as one line that is safe to show: a file must not be able to write to the reader's terminal."""
    return one_line(text.replace("\t", _TAB))


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _paint(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"


def _plain(text: str, _code: str) -> str:
    return text

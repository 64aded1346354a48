"""A scan for a pull request or a chat."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.drift import report
from interlock.drift.finding import Finding, Kind, Scan
from interlock.drift.report import SYMBOLS
from interlock.foreign_text import code_span

_CELL_CHARS = 1000


def render_markdown(scan: Scan) -> str:
    """Return the report as GitHub-flavoured Markdown; nothing in a name or value can become markup."""
    return "\n".join(_lines(scan)) + "\n"


def _lines(scan: Scan) -> Iterator[str]:
    yield f"### Drift of {code_span(report.headline(scan))}"
    yield f"\nRun {code_span(scan.run)}, {report.instant(scan.at)}."
    for section in report.sections(scan):
        yield f"\n#### {report.begun(section.title)}"
        for group in section.groups:
            yield f"\n{code_span(report.begun(group.title))}\n"
            yield "| | object | attribute | state | organisation |"
            yield "|---|---|---|---|---|"
            for finding in group.findings:
                yield from _rows(finding)
    if scan.notes:
        yield ""
        yield from (f"- {code_span(note)}" for note in scan.notes)


def _rows(finding: Finding) -> Iterator[str]:
    title = f"`{SYMBOLS[finding.kind]}` | {_text(report.title_of(finding))}"
    if finding.kind not in (Kind.CHANGED, Kind.CONTENT):
        yield f"| {title} | | | |"
        return
    for attribute in finding.shown:
        before, after = report.change_text(attribute)
        yield f"| {title} | {_text(attribute.path)} | {_text(before)} | {_text(after)} |"
        title = " | "


def _text(text: str) -> str:
    return code_span(text, limit=_CELL_CHARS, in_table=True)

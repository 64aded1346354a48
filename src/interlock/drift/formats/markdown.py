"""A scan for a pull request or a chat."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.drift import report
from interlock.drift.finding import Finding, Kind, Scan
from interlock.drift.formats.plain import clean
from interlock.drift.report import SYMBOLS

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@-])")


def render_markdown(scan: Scan) -> str:
    """Return the report as GitHub-flavoured Markdown; nothing in a name or value can become markup."""
    return "\n".join(_lines(scan)) + "\n"


def _lines(scan: Scan) -> Iterator[str]:
    yield f"### Drift of {_text(report.headline(scan))}"
    yield f"\nRun `{scan.run}`, {report.instant(scan.at)}."
    for section in report.sections(scan):
        yield f"\n#### {report.begun(section.title)}"
        for group in section.groups:
            yield f"\n{_text(report.begun(group.title))}\n"
            yield "| | object | attribute | state | organisation |"
            yield "|---|---|---|---|---|"
            for finding in group.findings:
                yield from _rows(finding)
    if scan.notes:
        yield ""
        yield from (f"- {_text(note)}" for note in scan.notes)


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
    return _SPECIAL.sub(r"\\\1", clean(text))

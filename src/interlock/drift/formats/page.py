"""A scan as one self-contained HTML page: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from interlock.drift import report
from interlock.drift.finding import Finding, Kind, Scan
from interlock.drift.formats.plain import clean
from interlock.drift.remedy import imports_of
from interlock.drift.report import SYMBOLS

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; } h3 { font-size: 1rem; color: var(--soft); }
table { border-collapse: collapse; width: 100%; } td, th { border-top: 1px solid var(--line); padding: .3rem .6rem;
text-align: left; vertical-align: top; overflow-wrap: anywhere; } code, pre { font: 13px ui-monospace, monospace; }
pre { border: 1px solid var(--line); overflow-x: auto; padding: 1rem; }
.old { color: #b3261e; } .new { color: #1a7f37; }
@media (prefers-color-scheme: dark) { .old { color: #ff8a80; } .new { color: #7ee787; } }
"""


def render_page(scan: Scan) -> str:
    """Return the report as HTML."""
    return "\n".join(_lines(scan)) + "\n"


def _lines(scan: Scan) -> Iterator[str]:
    title = _text(f"Drift of {report.headline(scan)}")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>"
    since = f", state last written {report.instant(scan.since)}" if scan.since else ""
    yield f"<p>Run <code>{_text(scan.run)}</code>, {report.instant(scan.at)}{since}.</p>"
    for section in report.sections(scan):
        yield f"<h2>{_text(report.begun(section.title))}</h2>"
        for group in section.groups:
            yield f"<h3>{_text(report.begun(group.title))}</h3>\n<table>"
            yield "<tr><th></th><th>object</th><th>attribute</th><th>state</th><th>organisation</th></tr>"
            for finding in group.findings:
                yield from _rows(finding)
            yield "</table>"
    yield from _imports(scan)
    if scan.notes:
        yield f"<h2>Notes</h2>\n<ul>{''.join(f'<li>{_text(note)}</li>' for note in scan.notes)}</ul>"
    yield "</body>\n</html>"


def _rows(finding: Finding) -> Iterator[str]:
    first = f"<td>{SYMBOLS[finding.kind]}</td><td>{_text(report.title_of(finding))}</td>"
    if finding.kind not in (Kind.CHANGED, Kind.CONTENT):
        yield f"<tr>{first}<td></td><td></td><td></td></tr>"
        return
    for attribute in finding.shown:
        before, after = report.change_text(attribute)
        values = f'<td class="old">{_text(before)}</td><td class="new">{_text(after)}</td>'
        yield f"<tr>{first}<td><code>{_text(attribute.path)}</code></td>{values}</tr>"
        first = "<td></td><td></td>"


def _imports(scan: Scan) -> Iterator[str]:
    unmanaged = [each for each in scan.open if each.kind is Kind.UNMANAGED]
    if unmanaged:
        text = "\n".join(clean(line) for line in imports_of(unmanaged).splitlines())
        yield f"<h2>Configuration for what is unmanaged</h2>\n<pre>{escape(text)}</pre>"


def _text(text: str) -> str:
    return escape(clean(text))

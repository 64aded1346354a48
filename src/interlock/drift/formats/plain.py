"""A scan for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, tzinfo

from interlock.drift import report
from interlock.drift.finding import Attribute, Finding, Kind, Scan, Verdict, choices
from interlock.drift.report import SYMBOLS
from interlock.errors import command
from interlock.foreign_text import one_line
from interlock.instants import moved

_COLOURS = {Kind.GONE: "31", Kind.CHANGED: "33", Kind.CONTENT: "35", Kind.UNMANAGED: "36"}


def render_text(scan: Scan, *, colour: bool = False, zone: tzinfo | None = UTC) -> str:
    """Return the report as lines of text.

    Args:
        scan: What was found.
        colour: Paint what a terminal can.
        zone: Where it is read, for its instants; None is the zone of this machine.
    """
    return "\n".join(_lines(scan, _painted if colour else _plain, zone)) + "\n"


def _lines(scan: Scan, paint: Callable[[str, str], str], zone: tzinfo | None) -> Iterator[str]:
    yield paint(clean(report.headline(scan)), "1")
    for section in report.sections(scan):
        yield f"\n{section.title}"
        for group in section.groups:
            yield f"  {clean(moved(group.title, zone))}"
            for finding in group.findings:
                yield from _finding(finding, paint, zone)
    for note in scan.notes:
        yield f"note: {clean(note)}"
    yield from _next(scan)


def _finding(finding: Finding, paint: Callable[[str, str], str], zone: tzinfo | None) -> Iterator[str]:
    yield "  " + paint(f"{SYMBOLS[finding.kind]} {clean(report.title_of(finding))}", _COLOURS[finding.kind])
    if finding.kind in (Kind.CHANGED, Kind.CONTENT):
        for attribute in finding.shown:
            yield _attribute(attribute, finding.verdict)
    reasons = {each.reason for each in finding.shown if each.reason}
    for reason in sorted(reasons):
        yield f"      {clean(moved(reason, zone))}"


def _attribute(attribute: Attribute, verdict: Verdict) -> str:
    before, after = report.change_text(attribute)
    other = f"  [{attribute.verdict.value}]" if attribute.verdict is not verdict else ""
    change = " → ".join(clean(part) for part in (before, after) if part)
    return f"      {clean(attribute.path)}  {change}{other}"


def _next(scan: Scan) -> Iterator[str]:
    drifted = next((each for each in scan.open if each.kind is not Kind.UNMANAGED), None)
    unmanaged = next((each for each in scan.open if each.kind is Kind.UNMANAGED), None)
    if drifted is not None:
        yield "\n" + clean(f"next  {choices(drifted.address, scan.state)}")
    if unmanaged is not None:
        named = (unmanaged.object, "--state", scan.state)
        yield clean(f"next  {command('drift', 'import', *named)}    or: {command('drift', 'accept', *named)}")


def clean(text: str) -> str:
    """Return a name or a value, which comes from other people, as one line that is safe to show."""
    return one_line(text)


def _plain(text: str, _code: str) -> str:
    return text


def _painted(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"

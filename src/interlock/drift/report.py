"""Findings grouped by cause and ordered by impact, and the sentences that every form of the report shares.

Knows: scans.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from interlock.drift.finding import Attribute, Cause, Finding, Kind, Scan, Verdict, without_digests
from interlock.instants import spelled

MAX_SHOWN = 200
"""Findings that a form for people lists; the JSON document has all."""
MAX_VALUE = 120
"""Characters of one value in a form for people."""
_TOGETHER = timedelta(hours=1)  # changes of one person this close to each other are told together
_WEIGHT = {Kind.GONE: 0, Kind.CHANGED: 1, Kind.CONTENT: 2, Kind.UNMANAGED: 3}
SYMBOLS = {Kind.GONE: "-", Kind.CHANGED: "~", Kind.CONTENT: "≈", Kind.UNMANAGED: "+"}
TITLES = {
    Verdict.OPEN: "to be decided",
    Verdict.IN_FLIGHT: "changed by a run just now",
    Verdict.REVERT: "to be reverted by the next apply",
    Verdict.IMPORT: "to be imported",
    Verdict.ACCEPTED: "accepted",
}
"""The sections of a report, in order; noise is only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Findings with one cause, the weightiest first."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Findings with one verdict."""

    title: str
    groups: tuple[Group, ...]


def sections(scan: Scan) -> tuple[Section, ...]:
    """Return what a report for people shows, at most `MAX_SHOWN` findings."""
    left = MAX_SHOWN
    found: list[Section] = []
    for verdict, title in TITLES.items():
        chosen = sorted(scan.of(verdict), key=impact)[:left]
        left -= len(chosen)
        if chosen:
            found.append(Section(title=title, groups=group(chosen)))
    return tuple(found)


def group(findings: Iterable[Finding]) -> tuple[Group, ...]:
    """Group findings by who did it and about when; groups in order of their weightiest finding."""
    groups: list[tuple[Cause | None, list[Finding]]] = []
    for finding in findings:
        for cause, members in groups:
            if _is_one(cause, finding.cause):
                members.append(finding)
                break
        else:
            groups.append((finding.cause, [finding]))
    return tuple(Group(title=cause_text(cause), findings=tuple(members)) for cause, members in groups)


def impact(finding: Finding) -> tuple[object, ...]:
    """Return the sort key: what is gone first, then by how many objects depend on it."""
    return (_WEIGHT[finding.kind], -finding.dependents, finding.address)


def headline(scan: Scan) -> str:
    """Return the one line that sums a scan up."""
    counts = scan.counts()
    parts = [f"{counts[kind.value]} {kind.value}" for kind in Kind if counts[kind.value]]
    opened = f"{len(scan.open)} to be decided ({', '.join(parts)})" if scan.open else "no drift to be decided"
    others = [f"{counts[verdict.value]} {verdict.value}" for verdict in list(Verdict)[1:] if counts[verdict.value]]
    return " · ".join([f"{scan.state}: {opened}", *others])


def title_of(finding: Finding) -> str:
    """Return an object for people: address, name, what depends on it."""
    parts = [finding.address]
    if finding.name:
        parts.append(f'"{finding.name}"')
    if finding.kind is Kind.GONE:
        parts.append("is gone")
    if finding.kind is Kind.UNMANAGED:
        parts.append(f"id {finding.object}" + (f", division {finding.division}" if finding.division else ""))
    if finding.dependents:
        parts.append(f"({finding.dependents} {'depends' if finding.dependents == 1 else 'depend'} on it)")
    return "  ".join(parts)


def cause_text(cause: Cause | None) -> str:
    """Return who did it and when, for people."""
    if cause is None:
        return "by whom is not known"
    return f"{_doer(cause)}, {instant(cause.at)}"


def _doer(cause: Cause) -> str:
    """Say who did it. That the client is Terraform's does not say that Terraform did it: scripts borrow it."""
    if not cause.ours:
        return f"by {cause.who}"
    if cause.run:
        return f"by run {cause.run}, with Terraform's OAuth client"
    by = f"by {cause.who}, " if cause.user else ""
    where = ", outside any run known here" if cause.outside else ""
    return f"{by}with Terraform's OAuth client{where}"


def begun(text: str) -> str:
    """Return a sentence with a capital first letter; names in it stay as they are."""
    return text[:1].upper() + text[1:]


def instant(at: datetime) -> str:
    """Spell an instant in UTC."""
    return spelled(at)


def change_text(attribute: Attribute) -> tuple[str, str]:
    """Return old and new value for people; for lists only what they do not share."""
    before, after = attribute.before, attribute.after
    if isinstance(before, list) and isinstance(after, list):
        gone, fresh = _without(before, after), _without(after, before)
        if gone or fresh:
            return f"without {_values(gone)}" if gone else "", f"with {_values(fresh)}" if fresh else ""
    return value_text(before), value_text(after)


def value_text(value: Any) -> str:
    """Return a value as JSON, cut to fit a line."""
    text = "(none)" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def as_document(scan: Scan, imports: str) -> Mapping[str, object]:
    """Return the scan as the values that `--json` prints."""
    return {
        "schema": scan.schema,
        "state": scan.state,
        "run": scan.run,
        "at": scan.at,
        "since": scan.since,
        "counts": scan.counts(),
        "findings": [{"verdict": each.verdict, **_fields(each)} for each in without_digests(scan.findings)],
        "imports": imports,
        "looked_for": scan.looked_for,
        "elsewhere": scan.elsewhere,
        "notes": scan.notes,
    }


def _fields(finding: Finding) -> dict[str, object]:
    names = ("kind", "address", "type", "object", "name", "division", "cause", "dependents", "generated", "hint")
    attributes = [_attribute_fields(each) for each in finding.attributes]
    return {**{name: getattr(finding, name) for name in names}, "attributes": attributes}


def _attribute_fields(attribute: Attribute) -> dict[str, object]:
    names = ("path", "before", "after", "sensitive", "verdict", "reason", "suggestion")
    return {name: getattr(attribute, name) for name in names}


def _is_one(one: Cause | None, other: Cause | None) -> bool:
    if one is None or other is None:
        return one is other
    return _doer(one) == _doer(other) and one.client == other.client and abs(one.at - other.at) <= _TOGETHER


def _without(items: list[Any], others: list[Any]) -> list[Any]:
    left = list(others)
    found = []
    for item in items:
        if item in left:
            left.remove(item)
        else:
            found.append(item)
    return found


def _values(items: list[Any]) -> str:
    text = ", ".join(json.dumps(item, ensure_ascii=False) for item in items)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"

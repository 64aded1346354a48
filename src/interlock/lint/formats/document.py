"""The report as Interlock's own JSON document: what `--json` prints."""

from __future__ import annotations

import json

from interlock.foreign_text import safe_json
from interlock.lint.report import Report


def render_json(report: Report) -> str:
    """Return `{"findings": [...], "not_judged": [...]}`: findings in order of file and place, and what was not read."""
    findings = [
        {
            "rule": item.finding.rule,
            "severity": item.finding.severity.value,
            "path": item.finding.span.path,
            "line": item.finding.span.line,
            "column": item.finding.span.column,
            "message": item.finding.message,
            "fix": item.finding.fix,
        }
        for item in report.findings
    ]
    unseen = [
        {
            "kind": one.kind,
            "what": one.what,
            "count": len(one.places),
            "places": [
                {"name": name, "path": span.path, "line": span.line, "column": span.column} for name, span in one.places
            ],
        }
        for one in report.not_judged
    ]
    document = {"findings": findings, "not_judged": unseen}
    return safe_json(json.dumps(document, indent=2, ensure_ascii=False)) + "\n"

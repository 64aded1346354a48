"""The report as Interlock's own JSON document: what `--json` prints."""

from __future__ import annotations

import json

from interlock.foreign_text import safe_json
from interlock.lint.report import Report


def render_json(report: Report) -> str:
    """Return `{"findings": [...]}`, one object a finding, in order of file and place."""
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
    return safe_json(json.dumps({"findings": findings}, indent=2, ensure_ascii=False)) + "\n"

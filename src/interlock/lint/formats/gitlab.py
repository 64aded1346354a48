"""The report as GitLab's code quality artifact.

Source: GitLab's documentation of the code quality report format (description, check_name, fingerprint, severity,
location.path, location.lines.begin); severities are info, minor, major, critical, blocker.
"""

from __future__ import annotations

import json

from interlock.foreign_text import safe_json
from interlock.lint.finding import Severity
from interlock.lint.report import Report

_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.INFO: "info"}


def render_gitlab(report: Report) -> str:
    """Return a JSON array with one object a finding."""
    issues = [
        {
            "description": f"{item.finding.message} ({item.finding.fix})",
            "check_name": item.finding.rule,
            "fingerprint": item.fingerprint,
            "severity": _SEVERITIES[item.finding.severity],
            "location": {
                "path": item.finding.span.path,
                "lines": {"begin": item.finding.span.line, "end": item.finding.span.end_line},
            },
        }
        for item in report.findings
    ]
    return safe_json(json.dumps(issues, indent=2, ensure_ascii=False)) + "\n"

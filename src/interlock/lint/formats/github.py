"""The report as GitHub Actions annotations (workflow commands).

Source: "Workflow commands for GitHub Actions" and actions/toolkit packages/core/src/command.ts for the escapes.
"""

from __future__ import annotations

from interlock.foreign_text import one_line
from interlock.lint.finding import Severity
from interlock.lint.report import Report, Reported

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render_github(report: Report) -> str:
    """Return one workflow command a finding."""
    return "".join(_command(item) for item in report.findings)


def _command(item: Reported) -> str:
    finding, span = item.finding, item.finding.span
    values = {"file": span.path, "line": span.line, "col": span.column, "endLine": span.end_line, "title": finding.rule}
    if span.end_line == span.line:
        values["endColumn"] = span.end_column
    properties = ",".join(f"{name}={_property(str(value))}" for name, value in values.items())
    text = _data(one_line(finding.message) + "\n" + one_line(finding.fix))
    return f"::{_COMMANDS[finding.severity]} {properties}::{text}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(one_line(text)).replace(":", "%3A").replace(",", "%2C")

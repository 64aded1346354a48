"""The report as SARIF 2.1.0, which GitHub code scanning, Azure DevOps and editors read.

Source: OASIS SARIF 2.1.0; columns count Unicode code points, which the run says in `columnKind`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from interlock.foreign_text import safe_json
from interlock.lint.finding import Finding, Severity
from interlock.lint.report import Report, Reported
from interlock.lint.rule import Rule

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def render_sarif(report: Report, rules: Sequence[Rule], *, version: str) -> str:
    """Return one run with all rules that were asked and all findings.

    Args:
        report: What was found.
        rules: The rules that were asked.
        version: Interlock's version.
    """
    index = {rule.name: position for position, rule in enumerate(rules)}
    driver = {"name": "interlock", "semanticVersion": version, "rules": [_rule(rule) for rule in rules]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "the folder in which the linter ran"}}},
        "results": [_result(item, index) for item in report.findings],
    }
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return safe_json(json.dumps(document, indent=2, ensure_ascii=False)) + "\n"


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.name,
        "shortDescription": {"text": rule.what},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": [rule.subject.value]},
    }


def _result(item: Reported, index: dict[str, int]) -> dict[str, object]:
    finding = item.finding
    result: dict[str, object] = {
        "ruleId": finding.rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message}\n{finding.fix}"},
        "locations": [{"physicalLocation": _location(finding)}],
        "partialFingerprints": {"interlock/v1": item.fingerprint},
    }
    if finding.rule in index:
        result["ruleIndex"] = index[finding.rule]
    return result


def _location(finding: Finding) -> dict[str, object]:
    span = finding.span
    return {
        "artifactLocation": _artifact(span.path),
        "region": {
            "startLine": span.line,
            "startColumn": span.column,
            "endLine": span.end_line,
            "endColumn": span.end_column,
        },
    }


def _artifact(path: str) -> dict[str, str]:
    if path.startswith("/"):
        return {"uri": f"file://{quote(path)}"}
    return {"uri": quote(path), "uriBaseId": "SRCROOT"}

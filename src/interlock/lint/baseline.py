"""The baseline: findings that a team has accepted for now, as a file in the repository.

Knows: fingerprints. A finding in the baseline is not reported until its line changes; one that is gone does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from interlock.bounded import read_json
from interlock.errors import UsageError
from interlock.lint.report import Reported

VERSION = 1
MAX_ENTRIES = 200_000  # findings of one baseline; bounds the work on a hostile file


def render_baseline(findings: Iterable[Reported]) -> str:
    """Return the file that accepts these findings; rule, path and line are there for people and reviews."""
    entries = [
        {
            "fingerprint": item.fingerprint,
            "rule": item.finding.rule,
            "path": item.finding.span.path,
            "line": item.finding.span.line,
        }
        for item in findings
    ]
    return json.dumps({"version": VERSION, "findings": entries}, indent=2) + "\n"


def parse_baseline(path: str, content: bytes) -> frozenset[str]:
    """Return the fingerprints of a baseline.

    Raises:
        UsageError: The file is not a baseline of this version.
    """
    try:
        document = read_json(content)
        entries = {VERSION: document["findings"]}[document["version"]]
        return frozenset(str(entry["fingerprint"]) for entry in entries[:MAX_ENTRIES])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        fix = f"interlock lint --baseline {path} --write-baseline"
        raise UsageError(
            f"{path} is not a lint baseline", why=f"it cannot be read: {str(error) or type(error).__name__}", fix=fix
        ) from error

from __future__ import annotations

import re
from pathlib import Path

import interlock

_SOURCE = Path(interlock.__file__).parent
_PAGE = _SOURCE.parents[1] / "docs" / "reference" / "state-backend.md"


def _refusals() -> set[str]:
    """Return the codes of everything that keeps a document out."""
    state = _SOURCE / "state"
    findings = re.findall(r'Finding\(code="([a-z0-9-]+)"(?!.*refuses=False)', (state / "verify.py").read_text())
    refusals = re.findall(r'Refusal\(code="([a-z-]+)"', (state / "lineage.py").read_text())
    unreadable = re.findall(r'unreadable\("([a-z0-9-]+)"', (state / "document.py").read_text())
    return {*findings, *refusals, *unreadable} - {"too-large", "bad-instance"}


def test_every_reason_for_refusing_a_state_is_documented() -> None:
    page = _PAGE.read_text()
    missing = [code for code in sorted(_refusals()) if f"`{code}`" not in page]
    assert not missing
    assert len(_refusals()) > 15

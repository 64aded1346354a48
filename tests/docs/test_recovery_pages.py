from __future__ import annotations

import re
from pathlib import Path

import interlock
from interlock.existing.opening import OPENED
from interlock.recovery.truth_table import render_process_table, render_table

DOCS = Path(__file__).parents[2] / "docs"
SOURCE = Path(interlock.__file__).parent


def test_the_truth_table_is_the_one_that_the_function_gives() -> None:
    assert render_table() in (DOCS / "explanation" / "recovery.md").read_text()


def test_the_table_of_a_runs_processes_is_the_one_that_the_function_gives() -> None:
    assert render_process_table() in (DOCS / "explanation" / "recovery.md").read_text()


def test_every_finding_about_a_chain_of_versions_is_documented() -> None:
    page = (DOCS / "howto" / "repair-a-state.md").read_text()
    sources = [SOURCE / "recovery" / "damage.py", *sorted((SOURCE / "site").glob("*.py"))]
    found = {code for path in sources for code in re.findall(r'Finding\(code="([a-z-]+)"', path.read_text())}
    assert len(found) > 8
    assert [code for code in sorted(found | {"phantom-deletion", "vanished"}) if f"`{code}`" not in page] == []


def test_every_adapter_says_what_it_was_tried_on() -> None:
    page = (DOCS / "reference" / "adapters.md").read_text()
    for kind in OPENED:
        assert f"`{kind}`" in page

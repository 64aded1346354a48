from __future__ import annotations

from pathlib import Path

from interlock.lock.diagram import render_diagram, render_table

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "leases.md"


def test_the_page_shows_the_diagram_and_the_table_of_the_machine() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert f"```mermaid\n{render_diagram()}```" in page, f"replace the diagram in {PAGE.name} by:\n{render_diagram()}"
    assert render_table() in page, f"replace the table in {PAGE.name} by:\n{render_table()}"

"""The page that goes by exit status names each of them, and only those."""

import re
from pathlib import Path

from interlock.cli import status

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "troubleshoot.md"


def test_every_exit_status_is_on_the_page_with_its_code() -> None:
    named = {
        (int(number), code) for number, code in re.findall(r"^\| (\d+) `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE)
    }
    assert named == {(row.exit, row.code) for row in status.table()}


def test_every_page_can_be_reached_from_the_index() -> None:
    docs = PAGE.parents[1]
    index = docs / "README.md"
    linked = {(docs / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)]+)\)", index.read_text())}
    pages = {
        page.resolve()
        for part in ("howto", "reference", "explanation", "tutorial")
        for page in (docs / part).glob("*.md")
    }
    assert sorted(page.name for page in pages - linked) == []

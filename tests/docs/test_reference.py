"""The documentation says what the code does: made pages are current, names are complete, links lead somewhere."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.main import COMMANDS
from interlock.cli.status import table
from interlock.run.entries import KINDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def writer() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "write_reference.py"))


def test_the_made_reference_pages_are_current(writer: dict[str, Any]) -> None:
    stale = [name for name, text in writer["pages"]().items() if (DOCS / "reference" / name).read_text() != text]
    assert stale == [], "run python scripts/write_reference.py"


def test_every_fact_of_a_runs_journal_is_documented(writer: dict[str, Any]) -> None:
    for kind, entry in KINDS.items():
        meaning, facts = writer["parts"](entry.__doc__ or "")
        assert meaning, kind
        assert list(facts) == list(entry.__struct_fields__), kind
        assert all(words.endswith((".", "…")) for words in facts.values()), kind


def test_every_command_is_documented() -> None:
    text = (DOCS / "reference" / "cli.md").read_text()
    assert [name for name in COMMANDS if f"## interlock {name}\n" not in text] == []


def test_every_exit_status_is_documented() -> None:
    text = (DOCS / "reference" / "exit-codes.md").read_text()
    assert [row.exit for row in table() if f"| {row.exit} | `{row.code}` |" not in text] == []


def test_every_variable_that_the_code_reads_is_documented(writer: dict[str, Any]) -> None:
    read = set()
    for path in (ROOT / "src").rglob("*.py"):
        read |= set(re.findall(r'"(INTERLOCK_[A-Z_]+)"', path.read_text()))
    internal = {name for name in read if name.startswith(("INTERLOCK_SIMULATOR_", "INTERLOCK_COMPLETE"))}
    assert read - internal - set(writer["ENVIRONMENT"]) == set()


def test_every_link_between_pages_leads_to_a_file() -> None:
    links = [(page, target) for page in PAGES for target in LINK.findall(page.read_text()) if "://" not in target]
    broken = [f"{page.relative_to(ROOT)} -> {target}" for page, target in links if not (page.parent / target).exists()]
    assert broken == []


def test_every_command_that_the_pages_name_exists() -> None:
    named = set()
    for page in PAGES:
        for block in re.findall(r"```(?:sh|shell|bash)\n(.*?)```", page.read_text(), re.DOTALL):
            named |= set(re.findall(r"^\s*interlock ([a-z][a-z-]+)", block, re.MULTILINE))
    assert named - set(COMMANDS) == set()


def test_no_page_names_a_path_of_one_machine_or_a_package_registry() -> None:
    hosts = "|".join(["pypi" + r"\.org", "files.python" + "hosted", "registry.npm" + "js"])
    folders = "|".join(f"/{name}/" for name in ("work", "root"))
    wrong = re.compile(f"({folders}|{hosts})")
    assert [str(page.relative_to(ROOT)) for page in PAGES if wrong.search(page.read_text())] == []


def test_every_room_is_on_the_map() -> None:
    modules = (ROOT / "src" / "interlock").glob("**/*.py")  # git leaves a moved room's folder with compiled modules
    rooms = {path.relative_to(ROOT / "src" / "interlock").parts[0].removesuffix(".py") for path in modules}
    text = (DOCS / "architecture.md").read_text()
    assert sorted(room for room in rooms if not room.startswith("_") and f"`{room}`" not in text) == []

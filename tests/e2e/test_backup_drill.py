"""The drill of docs/howto/back-up-the-home.md: the page's own program copies a home in use, and the copy is a home."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.desk import Desk

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "back-up-the-home.md"


def program() -> str:
    """Return the Python program that the page shows."""
    found = re.search(r"<<'EOF'\n(.*?)\nEOF", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.mark.promise("P3")
def test_a_copy_made_while_the_database_is_open_has_every_acknowledged_version(
    desk: Desk, module: Path, tmp_path: Path
) -> None:
    assert desk.applied(module).code == 0
    assert desk.applied(module, round_=2).code == 0
    kept = [version.serial for version in desk.history()]
    original, copy = desk.home / "interlock.db", tmp_path / "drill" / "interlock.db"
    copy.parent.mkdir(mode=0o700)
    writing = sqlite3.connect(original)  # somebody has it open, with its write-ahead log
    try:
        subprocess.run([sys.executable, "-c", program(), original, copy], check=True, timeout=60)
    finally:
        writing.close()
    copy.chmod(0o600)
    assert desk.applied(module, round_=3).code == 0  # runs go on meanwhile, and the copy does not see it

    (tmp_path / "elsewhere").mkdir()
    drill = Desk(tmp_path / "elsewhere", {"INTERLOCK_HOME": str(copy.parent)})
    drill.home = copy.parent
    assert drill.run("doctor", module).code == 0
    assert [version.serial for version in drill.history()] == kept
    assert drill.run("state", "pull", "s").out.startswith("{")

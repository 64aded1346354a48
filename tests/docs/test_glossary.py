"""The glossary has every word that the command line, the exit statuses and the phases of a run use as a name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from interlock.cli.main import COMMANDS
from interlock.cli.status import table
from interlock.lock import Priority
from interlock.recovery import Conclusion
from interlock.run.order import Operation
from interlock.run.phases import Phase

GLOSSARY = Path(__file__).parents[2] / "docs" / "glossary.md"
# Commands whose names are plain English, or Terraform's own words, and mean just that.
PLAIN = frozenset({"wait", "exit-codes", "init", "ci", "explain", "deps", "state", "runs", "queue", "login", "logout"})


@pytest.fixture(scope="module")
def words() -> list[str]:
    rows = re.findall(r"^\| (\*\*.+?) \| ", GLOSSARY.read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 100
    text = GLOSSARY.read_text("utf-8")
    return [word for each in re.findall(r"\*\*(.+?)\*\*", text) for word in each.split(", ")]


def test_every_command_has_its_word(words: list[str]) -> None:
    assert sorted(set(COMMANDS) - PLAIN - {word.partition(" ")[0] for word in words}) == []


def test_every_exit_status_has_its_word(words: list[str]) -> None:
    assert [row.code for row in table() if row.code not in words] == []


def test_every_phase_operation_class_and_verdict_has_its_word(words: list[str]) -> None:
    names = [each.value for kind in (Phase, Conclusion, Operation) for each in kind]
    assert [name for name in names if str(name) not in words] == []
    assert all(each.name.lower() in words for each in Priority)


def test_no_word_has_two_rows_in_one_part() -> None:
    for part in GLOSSARY.read_text("utf-8").split("\n## "):
        rows = re.findall(r"^\| (\*\*.+?) \| ", part, re.MULTILINE)
        heads = [word for row in rows for word in re.findall(r"\*\*(.+?)\*\*", row)]
        assert len(heads) == len(set(heads)), part.splitlines()[0]

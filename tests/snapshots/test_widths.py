"""Help texts and tables at 60, 80 and 120 columns: kept as files, no flag cut in two, no line too wide."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from tests.snapshots.test_views import VIEWS, folder, shown

from interlock.cli import view
from interlock.cli.main import COMMANDS, build, main

KEPT = Path(__file__).parent / "widths"
RENEW = "INTERLOCK_RENEW_SNAPSHOTS"
WIDTHS = (60, 80, 120)
HELPED = (("apply",), ("state", "prune"), ("recover",), ("drift", "scan"))
TABLES = ("queue-ls", "runs-ls", "state-history", "lock-ls")
__all__ = ["folder"]  # the home of the other views


def kept_or_renewed(name: str, text: str) -> str:
    path = KEPT / f"{name}.txt"
    if os.environ.get(RENEW):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return path.read_text("utf-8")


def help_at(width: int, path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkey: pytest.MonkeyPatch) -> str:
    monkey.setenv("COLUMNS", str(width))
    monkey.setenv("NO_COLOR", "1")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*path, "--help"])
    return capsys.readouterr().out


def paths() -> list[tuple[str, ...]]:
    """Return the words of every command that has options."""

    def below(path: tuple[str, ...], command: Any) -> list[tuple[str, ...]]:
        children = getattr(command, "commands", {})
        return [p for name, child in children.items() for p in below((*path, name), child)] if children else [path]

    root: Any = build()
    return [path for name in COMMANDS for path in below((name,), root.get_command(None, name))]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("path", HELPED, ids=" ".join)
def test_a_help_text_is_the_one_that_was_reviewed(
    path: tuple[str, ...], width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = help_at(width, path, capsys, monkeypatch)
    assert text == kept_or_renewed(f"help-{'-'.join(path)}-{width}", text), "when this is meant: make snapshots"


@pytest.mark.parametrize("path", paths(), ids=" ".join)
def test_help_at_60_columns_keeps_every_flag_whole_and_names_no_python_type(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = help_at(60, path, capsys, monkeypatch)
    command: Any = build()
    for word in path:
        command = command.get_command(None, word)
    flags = [flag for each in command.params if each.param_type_name == "option" for flag in each.opts]
    assert [flag for flag in flags if not re.search(rf"{re.escape(flag)}(?![\w-])", text)] == []
    assert [line for line in text.partition("\nExamples\n")[0].splitlines() if len(line) > 60] == []
    assert re.findall(r"--[\w-]+ +(?:<\w+|STR|INT|INT RANGE|PATH RANGE|FLOAT)\b", text) == []


@pytest.mark.parametrize("width", [60, 120])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_the_one_that_was_reviewed(
    name: str, width: int, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(view, "columns", lambda: width)
    text = shown(name, capsys, folder)
    assert text == kept_or_renewed(f"{name}-{width}", text), "when this is meant: make snapshots"
    assert [line for line in text.splitlines() if len(line) > width and not line.startswith("$ ")] == []


@pytest.mark.parametrize(("zone", "offset"), [("CET-1", "+01"), ("IST-5:30", "+05:30"), ("UTC", "Z")])
@pytest.mark.parametrize("name", [*TABLES, "lock-show", "runs-logs", "state-ls"])
def test_what_people_read_has_the_local_time_and_fits_80_columns(
    name: str, zone: str, offset: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        monkeypatch.setattr(view, "columns", lambda: 80)
        text = shown(name, capsys, folder)
    finally:
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()
    assert [line for line in text.splitlines() if len(line) > 80 and not line.startswith("$ ")] == []
    instants = re.findall(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(\S*)", text)
    assert set(instants) <= {offset}
    assert instants or name in {"lock-ls", "queue-ls"}


def test_every_kept_file_belongs_to_a_test() -> None:
    helps = {f"help-{'-'.join(path)}-{width}" for path in HELPED for width in WIDTHS}
    tables = {f"{name}-{width}" for name in TABLES for width in (60, 120)}
    assert {kept.stem for kept in KEPT.glob("*.txt")} == helps | tables
    assert set(TABLES) <= set(VIEWS)

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from interlock.cli.main import COMMANDS, _subject, _values, load, main


def paths() -> Iterator[tuple[str, ...]]:
    for name, entry in COMMANDS.items():
        yield from _below((name,), get_command(load(entry)))


def _below(path: tuple[str, ...], command: Any) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from _below((*path, name), child)


PATHS = list(paths())


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*path, "--help") == 0
    shown = capsys.readouterr()
    assert f"interlock {' '.join(path)}" in shown.out
    assert "completion for the current shell" not in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_refuses_an_option_that_it_does_not_know(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*path, "--no-such-option") == 3
    shown = capsys.readouterr()
    assert shown.err.startswith("error[usage]: ")
    assert f"  next   interlock {path[0]}" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_with_json_a_refusal_is_one_document(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*path, "--json", "--no-such-option", "--json") == 3
    assert json.loads(capsys.readouterr().out)["error"]["exit"] == 3


def test_a_mistyped_command_is_answered_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plann") == 3
    assert "interlock plan\n" in capsys.readouterr().err


def test_no_command_at_all_shows_the_help_and_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 3
    shown = capsys.readouterr()
    assert "a command is missing" in shown.err
    assert all(name in shown.out for name in COMMANDS)


def test_flags_for_terraform_need_no_folder_before_them(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path), "PATH": "/nowhere"})
    assert run("plan", "--", "-var", "colour=green") == 3
    assert "holds no Terraform configuration" in capsys.readouterr().err


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["state", "show", "prod/x", "--json"], "prod/x"),
        (["lock", "explain", "a folder"], "a folder"),
        (["plan", "infra", "--state", "s"], "s"),
        (["plan", "infra"], "infra"),
        (["state", "ls"], "."),
        (["runs"], "."),
        (["no-such-command"], "."),
    ],
)
def test_a_hint_names_the_state_that_the_command_line_is_about(words: list[str], named: str) -> None:
    assert _subject(_values(words)) == named


def test_on_windows_one_message_says_where_it_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    assert run("plan") == 3
    assert "does not run on Windows" in capsys.readouterr().err

"""A command line that is read without the parser says what the parser reads in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.cli import one_run, quick_run, run
from interlock.cli.habits import translate
from interlock.cli.main import main
from interlock.cli.many import Choice
from interlock.operate.ordering import Asked
from interlock.options import RUN_OPTIONS

OPERATIONS = ("plan", "apply", "destroy")
WORDS = st.sampled_from(["", "x", "3", "0", "11", "33", "a b", "-x", "--", "=", "é", "007", "1_0", " 4", "12345678901"])
OPTIONS = st.sampled_from(
    [option.flag for option in RUN_OPTIONS] + ["-q", "-auto-approve", "--no-such", "--help", "-var"]
)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A run's command line of options with and without their values, and of other words."""
    words = [draw(st.sampled_from(OPERATIONS))]
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.integers(0, 3))
        option = draw(OPTIONS)
        if kind == 0:
            words.append(draw(WORDS))
        elif kind == 1:
            words += [option, draw(WORDS)]
        else:
            words.append(f"{option}={draw(WORDS)}" if kind == 2 else option)
    return words


def carried_out(words: list[str]) -> list[tuple[Asked, Choice | None]]:
    """Return what a command line comes to, up to the run itself."""
    orders: list[tuple[Asked, Choice | None]] = []

    def carry_out(asked: Asked, choice: Choice | None, _spare: object) -> int:
        orders.append((asked, choice))
        return 0

    with (
        mock.patch.object(one_run, "carry_out", carry_out),
        mock.patch("interlock.cli.main._supervisor_for", return_value=mock.MagicMock()),
        pytest.raises(SystemExit),
    ):
        main(words)
    return orders


@given(command_lines())
def test_what_is_read_without_the_parser_is_what_the_parser_reads(words: list[str]) -> None:
    quickly = carried_out(words)
    with mock.patch.object(quick_run, "read", return_value=None):
        assert carried_out(words) == quickly


@pytest.mark.parametrize(
    "words",
    [
        ["plan"],
        ["plan", "dir", "--out", "p", "--detailed-exitcode", "--gate", "-q", "--no-wait"],
        ["plan", "-var", "x=1", "-out=p"],
        ["plan", "--all", "--jobs", "32"],
        ["plan", "a", "--", "-var=x=1"],
        ["apply", "dir", "--state=s", "--auto-approve", "--first-apply", "--", "-var=round=1"],
        ["apply", "--run", "1m8q7793v8fvh2s2"],
        ["apply", "--plan", "p", "--plan-digest", "d", "--allow-other-files", "--max-deletes=0", "--retries", "10"],
        ["destroy", "--allow-destroy", "--wait", "10m", "--terraform", "tofu", "--brief", "--json"],
        ["destroy", "--", "dir"],
    ],
    ids=" ".join,
)
def test_usual_command_lines_need_no_parser(words: list[str]) -> None:
    with mock.patch("interlock.cli.main.build", side_effect=AssertionError("the parser was asked")):
        (quickly,) = carried_out(words)
    with mock.patch.object(quick_run, "read", return_value=None):
        assert carried_out(words) == [quickly]


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "--no-such"],
        ["plan", "--help"],
        ["plan", "--out"],
        ["plan", "--state", "s", "--state", "t"],
        ["plan", "--state", "--gate"],
        ["plan", "--gate=yes"],
        ["plan", "--auto-approve"],
        ["plan", "--changed", "main"],
        ["plan", "--jobs", "33"],
        ["plan", "--jobs", "0"],
        ["apply", "--retries", "11"],
        ["apply", "--max-deletes", "many"],
        ["drift", "."],
        [],
    ],
    ids=" ".join,
)
def test_whatever_is_not_as_usual_is_left_to_the_parser(words: list[str]) -> None:
    assert quick_run.read(words) is None


def test_completion_is_left_to_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_INTERLOCK_COMPLETE", "complete_bash")
    assert quick_run.read(["plan"]) is None


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_option_of_a_run_is_one_of_its_command(operation: str) -> None:
    parameters = set(run.__dict__[operation].__annotations__)
    names = {option.name for option in RUN_OPTIONS if operation in option.commands}
    named = {quick_run._NAMES.get(name, "plan_file" if name == "plan" else name.replace("-", "_")) for name in names}
    assert parameters == named | {"ctx", "directory", "extra", "return"}


def test_a_run_that_is_named_by_an_empty_word_is_no_apply_of_anything(capsys: pytest.CaptureFixture[str]) -> None:
    for read in (quick_run.read, lambda _words: None):
        with mock.patch.object(quick_run, "read", read):
            assert carried_out(["apply", "--run", ""]) == []
        assert "--run names no run" in capsys.readouterr().err


_LOADED = """
import sys
from interlock.run import spare
def send(*_): print(*sys.modules); sys.stdout.flush(); import os; os._exit(0)
spare._send = send
sys.argv = ["interlock", "apply", sys.argv[1], "--state", "s", "--auto-approve", "--", "-var=x=1"]
from interlock.cli.start import main
main()
"""


def test_nothing_slow_is_imported_before_the_order_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "main.tf").write_text('variable "x" {}\n')
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    words = [sys.executable, "-P", "-c", _LOADED, str(tmp_path / "root")]
    loaded = set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert "interlock.operate.ordering" in loaded
    slow = {"asyncio", "typer", "rich", "ssl", "logging", "interlock.cli.follow", "interlock.run.transcript"}
    assert not slow & loaded


def test_words_are_translated_before_they_are_read() -> None:
    read: Callable[[list[str]], quick_run.Read | None] = quick_run.read
    found = read(translate(["apply", "-auto-approve", "-var", "x=1"]))
    assert found == quick_run.Read("apply", Path("-var"), ["x=1"], {"auto_approve": True})

import io
from datetime import UTC, datetime, timedelta
from enum import Enum

import pytest

from interlock.cli import view
from interlock.errors import UsageError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (9.94, "9.9s"), (59, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (90_000, "1d01h")],
)
def test_durations_are_spelled_for_people(seconds: float, text: str) -> None:
    assert view.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")])
def test_sizes_are_spelled_for_people(count: int, text: str) -> None:
    assert view.size(count) == text


def test_json_knows_dates_enums_and_durations() -> None:
    class Colour(Enum):
        RED = "red"

    at = datetime(2026, 1, 1, tzinfo=UTC)
    text = view.as_json({"at": at, "colour": Colour.RED, "for": timedelta(seconds=2)})
    assert '"2026-01-01T00:00:00Z"' in text
    assert '"red"' in text


def test_a_failure_has_three_parts_on_stderr_and_with_json_one_document_on_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = UsageError("it is wrong", why="because", fix="do this", state="s")
    assert view.failure(error, as_json=True) == 3
    shown = capsys.readouterr()
    assert shown.err == "error[usage]: it is wrong\n  why    because\n  next   do this\n"
    assert '"state": "s"' in shown.out
    view.say_failure("x", "it is wrong", "", "")
    assert capsys.readouterr().err == "error[x]: it is wrong\n"


def test_columns_are_aligned_and_an_empty_table_says_what_that_means(capsys: pytest.CaptureFixture[str]) -> None:
    view.table(("A", "B"), [("long", "x"), ("y", "z")], empty="nothing")
    assert capsys.readouterr().out == "A     B\nlong  x\ny     z\n"
    view.table(("A",), [], empty="nothing")
    assert capsys.readouterr().err == "nothing\n"


def test_away_from_a_terminal_nothing_is_wrapped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert view.fit("word " * 40) == "word " * 40
    view.table(("A", "B"), [("x" * 70, "y" * 70)], empty="")
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("short", "short"),
        ("a sentence that is longer than forty columns", "a sentence that is longer than forty\n  columns"),
        (
            "  label   what it says goes on for a while here",
            "  label   what it says goes on for a\n          while here",
        ),
        ("  next   a command that stays on one line, whatever", "  next   a command that stays on one line, whatever"),
        ("12 | a line of a source file that stays as it is", "12 | a line of a source file that stays as it is"),
        (
            "then this: interlock state quarantine ls prod/routing, all",
            "then this:\n  interlock state quarantine ls prod/routing,\n  all",
        ),
    ],
)
def test_sentences_are_wrapped_and_commands_stay_whole(line: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "columns", lambda: 40)
    assert view.fit(line) == shown


def test_columns_that_do_not_fit_go_below_their_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(view, "columns", lambda: 40)
    view.table(("RUN", "STATE", "WHO"), [("r" * 16, "s" * 16, "ann@desk"), ("r", "s", "")], empty="")
    assert capsys.readouterr().out.splitlines() == [
        "RUN               STATE",
        f"{'r' * 16}  {'s' * 16}",
        "    who ann@desk",
        "r                 s",
    ]


def test_a_last_column_of_sentences_is_wrapped_in_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(view, "columns", lambda: 50)
    view.table(("EXIT", "CODE", "MEANING"), [("3", "usage", "the command or the configuration is wrong")], empty="")
    assert capsys.readouterr().out.splitlines() == [
        "EXIT  CODE   MEANING",
        "3     usage  the command or the configuration is",
        "             wrong",
    ]


def test_nobody_is_asked_where_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert view.confirm("Sure?", yes=True)
    with pytest.raises(UsageError, match="not a terminal"):
        view.confirm("Sure?", yes=False)

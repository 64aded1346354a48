"""What a person at a terminal sees, on a real pseudo-terminal."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.desk import STEP_S, Desk

pytestmark = pytest.mark.e2e

ONE = 'resource "terraform_data" "kept_for_a_rather_long_time" {}\n'
_CLEAR = "\x1b[2K"


def at_terminal(
    desk: Desk, *words: object, answers: Sequence[tuple[str, bytes]] = (), columns: int = 80, **environ: str
) -> tuple[int, str]:
    """Run a command on a terminal; type each answer once its question is shown. Return exit status and output."""
    process, ours = desk.start_at_terminal(*words, columns=columns, environ=environ)
    shown, left, limit_s = "", list(answers), time.monotonic() + STEP_S
    while time.monotonic() < limit_s:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the last process has closed the terminal
                break
            shown += data.decode()
        if left and left[0][0] in shown:
            os.write(ours, left.pop(0)[1])
    os.close(ours)
    return process.wait(STEP_S), shown


def test_a_plan_is_shown_and_asked_for_and_what_was_done_is_said(desk: Desk) -> None:
    module = desk.module(text=ONE)
    code, shown = at_terminal(desk, "apply", module, answers=[("[y/N]", b"n\n")])
    assert code == 41, shown
    assert "the answer was no; nothing was changed" in shown
    code, shown = at_terminal(desk, "apply", module, answers=[("[y/N]", b"y\n")])
    assert code == 0, shown
    assert "will be created" in shown
    assert "applied: 1 added, 0 changed, 0 destroyed, in" in shown


@pytest.mark.parametrize("words", [("state", "restore", "s"), ("apply", "module", "--state", "s")])
def test_ctrl_c_answers_every_question(desk: Desk, words: tuple[str, ...]) -> None:
    module = desk.module()
    assert desk.applied(module).code == 0
    assert desk.applied(module, round_=2).code == 0
    code, shown = at_terminal(desk, *words, answers=[("[y/N]", b"\x03")])
    assert code == 130, shown
    assert "error[interrupted]" in shown
    assert len(desk.history()) == 2


ASKS = 'variable "colour" {}\nvariable "password" {\n  sensitive = true\n}\n' + ONE


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    ("words", "question", "status", "said"),
    [
        (("apply", "module", "--state", "s"), "exactly this plan? [y/N]", 41, "next   interlock plan --state s"),
        (("plan", "asks"), "Enter a value:", 130, "error[interrupted]"),
        (("plan", "asks", "--", "-var=colour=red"), "var.password", 130, "error[interrupted]"),
    ],
)
def test_ctrl_d_at_a_question_is_told_to_the_person_who_typed_it(
    desk: Desk, words: tuple[str, ...], question: str, status: int, said: str
) -> None:
    """The terminal is still there, so that nobody hung up and everything can be said."""
    desk.module(text=ONE)
    desk.module("asks", ASKS)
    code, shown = at_terminal(desk, *words, answers=[(question, b"\x04")], columns=200)
    assert (code, said in shown) == (status, True), shown


def test_the_live_line_never_wraps_and_there_is_none_where_the_cursor_cannot_move(desk: Desk) -> None:
    module = desk.module(text=ONE)
    _, shown = at_terminal(desk, "plan", module, columns=30)
    live = [part.split("\r")[0] for part in shown.split(_CLEAR) if part.startswith(("·", "\x1b[2m·"))]
    assert all(len(line.replace("\x1b[2m", "").replace("\x1b[0m", "")) < 30 for line in live), live
    _, shown = at_terminal(desk, "plan", module, TERM="dumb")
    assert "\x1b" not in shown
    _, shown = at_terminal(desk, "plan", module, NO_COLOR="1")
    assert "\x1b[3" not in shown


@pytest.mark.promise("P8")
def test_a_disk_that_is_full_for_our_output_is_said_in_three_parts(desk: Desk) -> None:
    module = desk.module(text=ONE)
    for words in (["exit-codes", "--json"], ["plan", str(module), "--json"]):
        with Path("/dev/full").open("w") as full:
            ended = subprocess.run(
                [sys.executable, "-m", "interlock", *words],
                env=desk.environ,
                stdin=subprocess.DEVNULL,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert ended.returncode == 30, ended.stderr
        assert "No space left on device" in ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    ("answer", "code", "word"),
    [
        (b"y\n", 0, "no changes"),
        pytest.param(b"n\n", 0, "next: ", marks=pytest.mark.slow),
        (b"\x03", 130, "interrupted"),
    ],
)
def test_recover_asks_for_its_plan(desk: Desk, answer: bytes, code: int, word: str) -> None:
    module = desk.module(text=ONE)
    assert desk.run("apply", module, "--auto-approve").code == 0
    left, shown = at_terminal(desk, "recover", module, answers=[("[y/N]", answer)], columns=200)
    assert left == code, shown
    assert word in shown
    assert "defect" not in shown


@pytest.mark.promise("P8")
@pytest.mark.parametrize("environ", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}])
def test_a_locale_that_lacks_a_character_neither_fails_a_run_nor_changes_what_it_keeps(
    desk: Desk, environ: dict[str, str]
) -> None:
    text = 'resource "terraform_data" "käse" { input = "→" }\noutput "shown" { value = "→" }\n'
    module, environ = desk.module(text=text), {**environ, "PYTHONUTF8": "0"}
    applied = desk.start("apply", module, "--state", "s", "--auto-approve", environ=environ, afresh=True).wait()
    assert (applied.code, 'shown = "\\u2192"' in applied.out) == (0, True), applied.err + applied.out
    listed = desk.start("state", "show", "s", environ=environ, afresh=True).wait()
    assert (listed.code, "terraform_data.k\\u00e4se" in listed.out) == (0, True), listed.err
    told = desk.start("runs", "show", "latest", "--plan", "--json", environ=environ, afresh=True).wait()
    assert "terraform_data.käse" in str(told.document), told.err

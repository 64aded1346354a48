"""Every prompt of every command, answered with yes, no and Ctrl-C, and left by a terminal that is closed."""

import os
import select
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.desk import STEP_S, Desk
from tests.e2e.test_cli_terminal import at_terminal

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P8", "P9")]

ONE = 'resource "terraform_data" "one" {}\n'
ASKS = """
variable "colour" {}
variable "password" {
  sensitive = true
}
resource "terraform_data" "one" { input = var.colour }
"""


def _applied(desk: Desk) -> Path:
    module = desk.module(text=ONE)
    assert desk.run("apply", module, "--state", "s", "--auto-approve").code == 0
    assert desk.run("apply", module, "--state", "s", "--auto-approve", "--", "-replace=terraform_data.one").code == 0
    return module


def _new(desk: Desk) -> Path:
    return desk.module(text=ONE)


def _local(desk: Desk) -> Path:
    module = desk.module(text=ONE)
    state = '{"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}, "resources": []}'
    (module / "terraform.tfstate").write_text(state)
    return module


PROMPTS: dict[str, tuple[Callable[[Desk], Path], tuple[str, ...], int]] = {
    "apply": (_new, ("apply", "module", "--state", "n"), 41),
    "apply, approved, of a new state": (_new, ("apply", "module", "--state", "n", "--auto-approve"), 41),
    "destroy": (_applied, ("destroy", "module", "--state", "s"), 41),
    "state restore": (_applied, ("state", "restore", "s"), 0),
    "adopt": (_local, ("adopt", "module", "--state", "n"), 41),
    "leave": (_applied, ("leave", "module", "--state", "s"), 41),
    "recover": (_applied, ("recover", "module"), 0),
}
"""A prompt: what is there before, the command, and how it ends after a no ."""


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("answer", ["y", "n", "ctrl-c", "closed"])
def test_each_prompt_takes_each_answer(desk: Desk, name: str, answer: str) -> None:
    before, words, declined = PROMPTS[name]
    before(desk)
    if answer == "closed":
        assert _closed(desk, *words) == 143
        return
    typed = {"y": b"y\n", "n": b"n\n", "ctrl-c": b"\x03"}[answer]
    code, shown = at_terminal(desk, *words, answers=[("[y/N]", typed)], columns=200)
    expected = {"y": 0, "n": declined, "ctrl-c": 130}[answer]
    assert code == expected, shown
    assert "defect" not in shown


def _closed(desk: Desk, *words: object) -> int:
    """Close the terminal when the question stands on it; return the exit status."""
    process, ours = desk.start_at_terminal(*words)
    shown, limit_s = "", time.monotonic() + STEP_S
    while "[y/N]" not in shown and time.monotonic() < limit_s:
        if select.select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 65536).decode(errors="replace")
    os.close(ours)
    return process.wait(STEP_S)


def test_variables_that_nobody_gave_are_asked_for(desk: Desk) -> None:
    module = desk.module(text=ASKS)
    answers = [("var.colour", b"green\n"), ("var.password", b"hunter2hunter2\n")]
    code, shown = at_terminal(desk, "plan", module, "--state", "s", answers=answers)
    assert code == 0, shown
    assert '"green"' in shown
    assert "hunter2" not in shown
    kept = "".join(path.read_text(errors="replace") for path in (desk.home / "runs").rglob("*") if path.is_file())
    assert "hunter2" not in kept
    assert desk.run("plan", module, "--state", "s").code != 0, "nobody can be asked"

"""Commands of end-to-end tests run in the process of the tests; here each says the same as a process of its own."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.desk import Answer, Desk

pytestmark = pytest.mark.e2e


def asked(desk: Desk, module: Path, state: Path) -> list[tuple[object, ...]]:
    """Return commands of every kind, and some that are refused, by the command line and by what they look at."""
    return [
        ("audit", "ls", "--json"),
        ("doctor", module, "--json"),
        ("exit-codes",),
        ("explain", desk.run_folder() / "terraform.log"),
        ("init", "--force", module),
        ("lint", module),
        ("lock", "show", "s"),
        ("plan", module, "--state", "s", "--detailed-exitcode", "--", "-var=round=2"),
        ("plan", module / "nowhere"),
        ("queue", "pause", "other", "--reason", "the same twice"),
        ("recover", module, "--state", "s"),
        ("runs", "show", "latest", "--json"),
        ("state", "pull", "s"),
        ("state", "push", state, "--state", "s"),
        ("frobnicate",),
        ("lock", "show"),
        ("state", "history", "../x", "--json"),
        ("state", "pull", "unknown"),
    ]


def lasting(answer: Answer) -> Answer:
    """Return an answer without what changes between two calls."""
    said = re.sub(r"\d+ MiB free", "MiB free", answer.out)
    told = re.sub(r"\brun \w{16}\b|, token \d+|\d+(\.\d+)?s\b", "", answer.err)
    return replace(answer, out=said, err=told)


def test_a_command_says_the_same_in_a_process_of_its_own_and_in_that_of_the_tests(desk: Desk, module: Path) -> None:
    desk.environ["TF_VAR_password"] = "hunter22-hunter22"
    assert desk.apply(module).wait().code == 0
    truncated = desk.folder / "truncated.tfstate"
    truncated.write_text(desk.run("state", "pull", "s").out[:-20])
    desk.call("queue", "pause", "other", "--reason", "the first pause of a name says that nobody ever used it")
    for words in asked(desk, module, truncated):
        assert lasting(desk.call(*words)) == lasting(desk.start(*words).wait()), words

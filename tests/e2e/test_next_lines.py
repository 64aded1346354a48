"""What an error tells a person to type next is typed as it was printed, through a shell."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from tests.desk import Answer, Desk

from interlock.cli.main import _MISUSED

pytestmark = pytest.mark.e2e

USAGE = 3
FOLDER = "it's a folder"  # a name that a hint must quote
PROVOKED = (
    "state show absent",
    "state pull absent",
    "state history absent",
    "state verify absent",
    "state diff s --from 99",
    "state show s --version 99",
    "state restore s",
    "state restore s --version 99",
    "state restore absent",
    "state push older.tfstate --state s",
    "state push foreign.tfstate --state s",
    "state push broken.tfstate --state s",
    "state quarantine show s zzzz",
    "state quarantine diff s zzzz",
    "lock release s",
    "force-unlock s --window 1s --yes",
    "runs show absent",
    "runs cancel absent",
    "runs logs absent",
    "wait absent",
    "queue cancel s absent",
    "queue bump s absent",
    "drift ls --state s",
    "lint absent",
    "doctor absent",
    "explain absent.log",
    "plam",
    "state sho s",
    "bootstrap aws",
    f'plan "{FOLDER}" --state',
    f'apply "{FOLDER}" --plan absent.bin',
    f'state show "{FOLDER}"',
    f'state restore "{FOLDER}"',
)


def _state(serial: int, lineage: str = "l") -> str:
    return json.dumps({"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage})


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    for name, text in (("first", _state(5)), ("older", _state(3)), ("foreign", _state(9, "m")), ("broken", "{")):
        (desk.folder / f"{name}.tfstate").write_text(text)
    desk.module(FOLDER)
    assert desk.run("state", "push", "first.tfstate", "--state", "s").code == 0
    return desk


def _typed(desk: Desk, line: str) -> Answer:
    """Run a line with the words that a shell reads in it."""
    reads = f"interlock() {{ printf '%s\\0' \"$@\"; }}\n{line}"
    read = subprocess.run(["sh", "-c", reads], cwd=desk.folder, capture_output=True, text=True, check=True)
    return desk.run(*read.stdout.split("\0")[:-1])


def _next_of(text: str) -> list[str]:
    """Return the commands of the `next` line, as a person would copy them."""
    told = re.search(r"^  next   (.*)$", text, re.MULTILINE)
    parts = re.split(r"    (?:or: |then: |)|; |, ", told[1]) if told else []
    return [part for part in parts if part.startswith("interlock ")]


@pytest.mark.promise("P8")
@pytest.mark.parametrize("line", PROVOKED)
def test_the_next_command_of_an_error_runs_as_printed(used: Desk, line: str) -> None:
    refused = _typed(used, f"interlock {line}")
    for command in _next_of(refused.err)[:1]:
        ended = _typed(used, command)
        misused = ended.code == USAGE and _MISUSED in ended.err
        assert not re.search(r"\b[A-Z]{3,}\b|\{", command.replace("--bucket NAME --region REGION", ""))
        assert not misused, f"{command}: {ended.err}"

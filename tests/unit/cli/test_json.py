"""Every command has `--json`, and the document names the state by its own name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.main import COMMANDS, build, main

WITHOUT = {
    "audit export": "it prints JSON lines",
    "state pull": "prints the state itself, which is JSON",
    "completion": "prints a script for a shell",
    "ci comment": "the CI system reads what it prints",
    "ci login": "the CI system reads what it prints",
}
"""Commands without it, each with the reason."""

STATE = {"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}, "resources": []}


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", {})
    for name, child in below.items():
        yield from leaves(child, f"{path} {name}")
    if not below:
        yield path, command


def test_every_command_has_it_but_those_with_a_reason() -> None:
    root: Any = build()
    found = [each for name in COMMANDS for each in leaves(root.get_command(None, name), name)]
    assert len(found) > 60
    without = {path for path, command in found if not any("--json" in one.opts for one in command.params)}
    assert without == set(WITHOUT)


@pytest.mark.promise("P11")
@pytest.mark.parametrize(
    "words",
    [
        "lock explain {}",
        "lock show {}",
        "state verify {}",
        "state history {}",
        "state restore {} --version 1 --dry-run",
        "state accept {}",
        "state repair {}",
        "state prune {} --dry-run",
        "state push pushed.json --state {}",
        "state diff {} --from 1 --to 1",
        "lock acquire {} --reason test",
        "queue ls {}",
        "queue pause {} --reason test",
        "queue resume {}",
        "recover {} --no-plan",
        "recover {} --orphans --no-look",
    ],
)
def test_a_state_that_is_named_by_its_folder_has_its_own_name_in_the_answer(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    (tmp_path / "cc").mkdir()
    (tmp_path / "cc" / "main.tf").write_text('resource "terraform_data" "one" {}\n')
    (tmp_path / "interlock.yaml").write_text("version: 1\nstates:\n  prod/routing: {directory: cc}\n")
    (tmp_path / "pushed.json").write_text(json.dumps(STATE))
    _run("state", "push", "pushed.json", "--state", "prod/routing")
    capsys.readouterr()
    _run(*words.format("./cc").split(), "--json")
    document = json.loads(capsys.readouterr().out)
    assert set(_names(document)) <= {"prod/routing"}
    assert set(_names(document)), "it names the state"


def _run(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code in (0, None)


def _names(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        if isinstance(document.get("state"), str):
            yield document["state"]
        for value in document.values():
            yield from _names(value)
    elif isinstance(document, list):
        for each in document:
            yield from _names(each)

"""One table of options: the command line has these and no others, and readers of CI files know them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from interlock.ci.document import SourceText
from interlock.ci.operations import read
from interlock.cli.main import COMMANDS, build
from interlock.operate.ordering import Asked
from interlock.options import RUN_OPTIONS, SWITCHES, is_switch

CHOOSES_ROOTS = {"all", "changed", "jobs"}
FIELDS = {"plan": "plan_file", "run": "approval"}  # an option whose field has another name than the option


def options(command: Any, path: str) -> Iterator[tuple[str, str, bool]]:
    for one in command.params:
        for name in (*one.opts, *one.secondary_opts) if one.param_type_name == "option" else ():
            if name.startswith("--"):
                yield path, name.removeprefix("--"), bool(one.is_flag or one.count)
    for name, below in getattr(command, "commands", {}).items():
        yield from options(below, f"{path} {name}")


@pytest.fixture(scope="module")
def typed() -> list[tuple[str, str, bool]]:
    root = build()
    context = root.make_context("interlock", ["exit-codes"], resilient_parsing=True)
    found = [each for name in COMMANDS for each in options(root.get_command(context, name), name)]
    assert len(found) > 200, "the whole command line was walked"
    return found


def test_every_switch_of_the_command_line_is_in_the_table_and_none_besides(typed: list[tuple[str, str, bool]]) -> None:
    switches = {name for _, name, switch in typed if switch} - {"help"}
    assert sorted(switches ^ SWITCHES) == []
    wrong = [
        (path, name) for path, name, switch in typed if name != "help" and is_switch(path.split()[0], name) != switch
    ]
    assert wrong == []


@pytest.mark.parametrize("command", ["plan", "apply", "destroy"])
def test_a_run_has_the_options_of_the_table(typed: list[tuple[str, str, bool]], command: str) -> None:
    there = {name: switch for path, name, switch in typed if path == command and name != "help"}
    assert there == {each.name: not each.value for each in RUN_OPTIONS if command in each.commands}


def test_every_option_of_a_run_is_asked_for_in_an_order_or_chooses_roots() -> None:
    fields = set(Asked.__struct_fields__)
    names = {each.name: FIELDS.get(each.name, each.name.replace("-", "_")) for each in RUN_OPTIONS}
    assert {name for name, field in names.items() if field not in fields} == CHOOSES_ROOTS


@pytest.mark.parametrize(
    "option", [each for each in RUN_OPTIONS if "apply" in each.commands], ids=lambda each: each.name
)
def test_a_reader_of_ci_files_finds_the_folder_behind_every_option(option: Any) -> None:
    words = option.flag if not option.value else f"{option.flag} 7"
    (found,) = _operations(f"interlock apply {words} centre")
    assert [argument.text for argument in found.arguments] == ["centre"]
    assert next(flag for flag in found.flags if flag.name == option.name).value == (None if not option.value else "7")


def _operations(script: str) -> tuple[Any, ...]:
    return read(script, SourceText("s.sh", script).span).operations

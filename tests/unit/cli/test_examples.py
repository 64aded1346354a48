from __future__ import annotations

import pytest
from tests.docs.test_next_commands import parse

from interlock.cli.examples import EXAMPLES


@pytest.mark.parametrize(("path", "line"), [(path, line) for path, lines in EXAMPLES.items() for line in lines])
def test_an_example_is_one_of_its_command_and_the_parser_understands_it(path: tuple[str, ...], line: str) -> None:
    assert line.startswith(" ".join(("interlock", *path)))
    assert parse(line) == ""

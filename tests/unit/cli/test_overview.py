from __future__ import annotations

import subprocess
import sys

from interlock.cli.main import COMMANDS
from interlock.cli.overview import overview

TABLE = {name: (entry.summary, entry.panel) for name, entry in COMMANDS.items()}


def test_every_command_stands_in_its_panel_on_one_line_of_a_narrow_terminal() -> None:
    lines = overview(TABLE).splitlines()
    for name, (summary, panel) in TABLE.items():
        row = next(number for number, line in enumerate(lines) if line.split()[:1] == [name])
        assert lines[row].endswith(summary)
        assert panel in lines[:row]
    assert max(map(len, lines)) <= 80


def test_headings_are_bold_only_when_asked() -> None:
    assert "\x1b[" not in overview(TABLE)
    assert "\x1b[1mRuns\x1b[0m" in overview(TABLE, bold=True)


def test_the_overview_needs_neither_typer_nor_rich() -> None:
    program = (
        "import sys; from interlock.cli.main import main\ntry: main(['--help'])\nfinally: print(sorted(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "interlock COMMAND --help" in shown
    assert "'typer'" not in shown
    assert "'rich'" not in shown

"""`interlock --help`: every command in a line, from the table alone.

Typer would lay it out with Rich, whose import takes three quarters of the command's time (`make bench BENCH=startup`);
the help of one command, which lists its options, is still theirs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO

_OPTIONS = {"--version": "Print the version and exit.", "--help": "Show this message and exit."}
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


def show(commands: Mapping[str, tuple[str, str]], stream: TextIO | None = None) -> None:
    """Print the overview.

    Args:
        commands: Name to summary and panel, in order.
        stream: Where; by default stdout. Headings are bold on a terminal, never with NO_COLOR set.
    """
    stream = sys.stdout if stream is None else stream
    stream.write(overview(commands, bold=stream.isatty() and not os.environ.get("NO_COLOR")))


def overview(commands: Mapping[str, tuple[str, str]], *, bold: bool = False) -> str:
    """Return the overview as text."""
    panels: dict[str, dict[str, str]] = {"Options": _OPTIONS}
    for name, (summary, panel) in commands.items():
        panels.setdefault(panel, {})[name] = summary
    width = max(map(len, (*_OPTIONS, *commands))) + 2
    text = "Usage: interlock [OPTIONS] COMMAND [ARGS]...\n\nDeterministic Terraform deployments of Genesys Cloud CX.\n"
    for panel, rows in panels.items():
        heading = f"{_BOLD}{panel}{_PLAIN}" if bold else panel
        text += f"\n{heading}\n" + "".join(f"  {name:<{width}}{summary}\n" for name, summary in rows.items())
    return text + "\ninterlock COMMAND --help shows the options of one.\n"

"""The help of one command, or of a group of commands, as plain text.

Typer would draw it with Rich, which cuts a long flag in two on a narrow terminal, takes what stands in square brackets
for markup and drops it, and is the slowest import of the command line. Here nothing is cut: what does not fit beside
its explanation stands on a line of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any

from interlock.cli.examples import EXAMPLES

_WIDEST, _NARROWEST = 100, 40  # longer lines are hard to read; below it nothing can be laid out
_LABELS = 0.4  # of the width at most, for the column of flags
_INDENT, _GAP = 2, 2
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"

Row = tuple[str, str]
"""A label, and what it means."""


def width() -> int:
    """Return how wide help is written: the terminal's width, within what can be read."""
    return max(_NARROWEST, min(shutil.get_terminal_size().columns, _WIDEST))


def speak_plainly(path: tuple[str, ...], command: Any) -> None:
    """Let a command, and those below it, answer `--help` with this module's text."""
    bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    command.get_help = lambda _context: render(path, command, columns=width(), bold=bold)
    for name, child in getattr(command, "commands", {}).items():
        speak_plainly((*path, name), child)


def render(path: Sequence[str], command: Any, *, columns: int, bold: bool = False) -> str:
    """Return the help of a command.

    Args:
        path: The words of the command, without `interlock`.
        command: As Typer built it.
        columns: No line is wider, but for a flag or an example that is.
        bold: Headings in bold.
    """
    usage = textwrap.fill(_usage(path, command), columns, subsequent_indent=" " * 7, break_on_hyphens=False)
    parts = [usage, *_paragraphs(command.help or "", columns)]
    for title, rows in _sections(command):
        heading = f"{_BOLD}{title}{_PLAIN}" if bold else title
        parts.append("\n".join((heading, *_laid_out(list(rows), columns))))
    examples = EXAMPLES.get(tuple(path), ())
    if examples:
        heading = f"{_BOLD}Examples{_PLAIN}" if bold else "Examples"
        parts.append("\n".join((heading, *(f"  {line}" for line in examples))))
    return "\n\n".join(part for part in parts if part)


def _usage(path: Sequence[str], command: Any) -> str:
    words = " ".join(("interlock", *path))
    if getattr(command, "commands", None):
        return f"Usage: {words} COMMAND [OPTIONS]"
    arguments = " ".join(_argument(each) for each in command.params if each.param_type_name == "argument")
    return f"Usage: {words} [OPTIONS] {arguments}".rstrip()


def _argument(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    name = parameter.name.upper()
    name += "..." if parameter.nargs < 0 else ""
    return name if parameter.required else f"[{name}]"


def _paragraphs(text: str, columns: int) -> Iterator[str]:
    for paragraph in text.replace("\f", "\n\n").split("\n\n"):
        yield textwrap.fill(" ".join(paragraph.split()), columns, break_on_hyphens=False, break_long_words=False)


def _sections(command: Any) -> Iterator[tuple[str, Iterable[Row]]]:
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    arguments = [(_argument(each), _meaning(each)) for each in shown if each.param_type_name == "argument"]
    options = [(_flags(each), _meaning(each)) for each in shown if each.param_type_name == "option"]
    below = [(name, _first_sentence(child)) for name, child in getattr(command, "commands", {}).items()]
    yield from ((title, rows) for title, rows in (("Arguments", arguments), ("Commands", below)) if rows)
    yield "Options", [*(row for row in options if row[0] != "--help"), ("--help", "Show this message and exit.")]


def _first_sentence(command: Any) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())


def _flags(parameter: Any) -> str:
    flags = ", ".join((*parameter.opts, *parameter.secondary_opts))
    if parameter.is_flag:
        return flags
    choices = getattr(parameter.type, "choices", None)
    value = parameter.metavar or ("|".join(map(_spelt, choices)) if choices else parameter.type.name.upper())
    return f"{flags} {value}"


def _meaning(parameter: Any) -> str:
    """Return the help of a parameter with its default, range and environment variable."""
    notes = list(_notes(parameter))
    return f"{parameter.help or ''} [{'; '.join(notes)}]".strip() if notes else parameter.help or ""


def _notes(parameter: Any) -> Iterator[str]:
    is_option = parameter.param_type_name == "option"
    if is_option and parameter.required:
        yield "required"
    if is_option and parameter.multiple:
        yield "repeatable"
    low, high = getattr(parameter.type, "min", None), getattr(parameter.type, "max", None)
    if low is not None or high is not None:
        yield _range(low, high)
    if _has_default(parameter):
        yield f"default: {_spelt(parameter.default)}"
    if parameter.envvar:
        yield f"env: {parameter.envvar}"


def _range(low: float | None, high: float | None) -> str:
    if high is None:
        return f"{low} or more"
    return f"at most {high}" if low is None else f"{low} to {high}"


def _has_default(parameter: Any) -> bool:
    if isinstance(parameter.show_default, str):
        return False
    is_value = not getattr(parameter, "is_flag", False) and not parameter.required
    return is_value and parameter.default not in {None, "", ()}


def _spelt(value: object) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _laid_out(rows: list[Row], columns: int) -> Iterator[str]:
    """Lay labels and meanings out in two columns; a long label gets a line of its own."""
    most = max(8, int(columns * _LABELS))
    column = min(max(len(label) for label, _ in rows), most) + _INDENT + _GAP
    for label, meaning in rows:
        lines = textwrap.wrap(meaning, columns - column, break_on_hyphens=False, break_long_words=False) or [""]
        if len(label) > column - _INDENT - _GAP:
            yield f"{'':{_INDENT}}{label}"
        else:
            yield f"{'':{_INDENT}}{label:{column - _INDENT}}{lines.pop(0)}".rstrip()
        yield from (f"{'':{column}}{line}" for line in lines if line)

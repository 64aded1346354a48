"""Reads the command line of a run without the command parser, where it is a plain one.

A run's supervisor waits for its order, and to import Typer and to build the commands takes a third of the time until
then. What is read here is read as Typer reads it. Whatever is not as usual is left to Typer, which does it or says what
is wrong: an unknown or repeated option, a value that begins with a dash, a number out of its range, a request for help.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from interlock.cli.start import own
from interlock.options import RUN_OPTIONS

_OPERATIONS = frozenset({"plan", "apply", "destroy"})
_LEFT = frozenset({"changed"})
"""Options whose value may be left out."""
_SHORT = {"-q": "--quiet"}
_NAMES = {"all": "everything"}
"""Options that have another name in `one_run.perform`."""
_JOBS_MAX, _RETRIES_MAX = 32, 10
_DIGITS_MAX = 9


class Read(NamedTuple):
    """A command line as it was read.

    Attributes:
        operation: `plan`, `apply` or `destroy`.
        directory: The first folder.
        extra: Further folders, and Terraform's flags.
        options: What else was given, by the names that `one_run.perform` has.
    """

    operation: str
    directory: Path
    extra: list[str]
    options: Mapping[str, Any]


def read(words: Sequence[str]) -> Read | None:
    """Return what a command line orders; None where that is for Typer to say."""
    if not words or words[0] not in _OPERATIONS or "_INTERLOCK_COMPLETE" in os.environ:
        return None
    ours = own(words)
    options: dict[str, Any] = {}
    folders: list[str] = []
    rest = iter(ours[1:])
    for word in rest:
        if not word.startswith("-"):
            folders.append(word)
            continue
        found = _read_option(words[0], _SHORT.get(word, word), lambda: next(rest, "-"))
        if found is None or found[0] in options:
            return None
        options[found[0]] = found[1]
    directory, *extra = [*folders, *words[len(ours) + 1 :]] or ["."]
    return Read(words[0], Path(directory), extra, options)


def _read_option(operation: str, word: str, following: Callable[[], str]) -> tuple[str, Any] | None:
    """Return an option by the name that `one_run.perform` has, and its value; None where Typer is to look at it."""
    name, equals, value = word.removeprefix("--").partition("=")
    option = next((one for one in RUN_OPTIONS if one.name == name and operation in one.commands), None)
    if option is None or option.flag != word.partition("=")[0] or name in _LEFT:
        return None
    key = _NAMES.get(name, name.replace("-", "_"))
    if not option.value:
        return None if equals else (key, True)
    text = value if equals else following()
    if text.startswith("-"):
        return None
    read_value = _VALUES.get(name, str)(text)
    return None if read_value is None else (key, read_value)


def _number(most: float) -> Callable[[str], int | None]:
    def number(text: str) -> int | None:
        is_number = text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX
        return int(text) if is_number and int(text) <= most else None

    return number


def _jobs(text: str) -> int | None:
    return _number(_JOBS_MAX)(text) or None  # there is at least one


_VALUES: Mapping[str, Callable[[str], Any]] = {
    "out": Path,
    "plan": Path,
    "max-deletes": _number(float("inf")),
    "retries": _number(_RETRIES_MAX),
    "jobs": _jobs,
}

"""Human and JSON views of the same values.

Results go to stdout; everything else goes to stderr. With `--json` stdout carries one JSON document and nothing else.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import IO, TYPE_CHECKING, Any

from interlock.errors import InterlockError

if TYPE_CHECKING:
    from rich.console import Console

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400
_KIB = 1024


def as_json(value: object) -> str:
    """Return `value` (dataclasses, datetimes, enums included) as one JSON document, two spaces of indent."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value, enc_hook=_encode), indent=2).decode()


def _encode(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def emit(value: object, *, json: bool, human: Callable[[], None]) -> None:
    """Print a result: as JSON, or by calling `human`."""
    if json:
        sys.stdout.write(as_json(value) + "\n")
    else:
        human()


def failure(error: InterlockError, *, as_json: bool) -> int:
    """Print an error in its three parts and return its exit status. With `as_json` it is a document on stdout."""
    if as_json:
        try:
            sys.stdout.write(_failure_json(error) + "\n")
            sys.stdout.flush()
        except OSError:  # a full disk, or nobody reads: the three lines below and the exit status still say it
            forget_reader(sys.stdout)
    say_failure(error.code, error.what, error.why, error.fix)
    return error.exit_status


def printable(text: str) -> str:
    """Return text that cannot steer the terminal: messages of an API, and names in locks, are others' words."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def say_failure(code: str, what: str, why: str, fix: str) -> None:
    """Print the three parts of a failure on stderr."""
    write = sys.stderr.write
    write(f"{_bold_red(f'error[{code}]:')} {printable(what)}\n")
    if why:
        write(f"  why    {printable(why)}\n")
    if fix:
        write(f"  next   {printable(fix)}\n")


def _failure_json(error: InterlockError) -> str:
    parts = {"code": error.code, "exit": error.exit_status, "what": error.what, "why": error.why, "next": error.fix}
    return as_json({"error": {**parts, **error.facts}})


def colour_allowed(stream: IO[str]) -> bool:
    """Say whether `stream` is a terminal that may be coloured (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _bold_red(text: str) -> str:
    return f"\x1b[1;31m{text}\x1b[0m" if colour_allowed(sys.stderr) else text


def console(*, stderr: bool = False) -> Console:
    """Return a Rich console on stdout or stderr that honours NO_COLOR and does not wrap when piped."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 200
    return Console(file=stream, no_color=not colour_allowed(stream), highlight=False, width=width, soft_wrap=True)


def forget_reader(stream: IO[str]) -> None:
    """Write to nowhere from now on: the reader of this stream has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def note(text: str) -> None:
    """Tell the person something that is no result (stderr)."""
    sys.stderr.write(text + "\n")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Print aligned columns on stdout without importing Rich; `empty` says what no rows mean."""
    lines = [[printable(cell).replace("\n", " ") for cell in row] for row in rows]
    if not lines:
        note(empty)
        return
    cells = [list(headings), *lines]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    for row in cells:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def duration(seconds: float) -> str:
    """Spell a duration for people: `0.4s`, `12s`, `3m05s`, `2h07m`, `4d02h`."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"  # noqa: PLR2004 - one decimal below ten
    if seconds < _HOUR_S:
        return f"{int(seconds // 60)}m{int(seconds % 60):02d}s"
    if seconds < _DAY_S:
        return f"{int(seconds // 3600)}h{int(seconds % 3600 // 60):02d}m"
    return f"{int(seconds // 86400)}d{int(seconds % 86400 // 3600):02d}h"


def size(count: int) -> str:
    """Spell a number of bytes for people: `812 B`, `14.2 KiB`, `1.3 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB or unit == "GiB":
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    raise AssertionError(count)


def instant(at: datetime) -> str:
    """Spell an instant in UTC to the second: `2026-11-24 14:02:11Z`."""
    return at.strftime("%Y-%m-%d %H:%M:%SZ")


def confirm(question: str, *, yes: bool) -> bool:
    """Ask a yes/no question on the terminal; `yes` answers it.

    Raises:
        UsageError: Nobody can answer: stdin is no terminal.
    """
    from interlock.errors import UsageError

    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("an answer is needed and stdin is not a terminal", why=question, fix="repeat with --yes")
    # asyncio's own handler would note a Ctrl-C and let the reading go on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}
    finally:
        signal.signal(signal.SIGINT, before)


def plain(value: Any) -> str:
    """Return a cell's text: `-` for nothing."""
    return "-" if value in (None, "") else printable(str(value))

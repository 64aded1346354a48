"""Human and JSON views of the same values, and the only writers of the command line.

Results go to stdout; everything else goes to stderr. With `--json` stdout carries one JSON document and nothing else.

Whatever is written here passes `interlock.foreign_text`, whoever's words it holds: a command that writes to stdout or
stderr by itself would have to think of it each time, and one that forgets lets the person who named a lock steer the
terminal or the CI runner of the person who looks at it. `tests/security/test_foreign_text.py` holds the commands to it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum
from typing import IO, TYPE_CHECKING, Any

from interlock.errors import InterlockError, command, fill_in_program
from interlock.foreign_text import CELL_CHARS, LINE_CHARS, indented, many_lines, one_line, safe_json
from interlock.instants import moved, spelled
from interlock.late_pattern import late

if TYPE_CHECKING:
    from interlock.audit import Head

_UNDER_WHY = "         | "  # a line of others' words must not look like one of ours
_TOO_LONG = "the command is too long to be shown here; see --json"
_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400
_KIB = 1024
_GAP = 2  # spaces between two columns
_MARK_CHARS = 2  # columns of a mark, whose colour takes none
_PROSE = 30  # a column of sentences can be read when it is this wide
_NARROWEST = 40
_LABEL = late(r"\s*\S+(?: \S+)*\s{2,}(?:\S+\s{2,})?")
_WHOLE = late(r"\s*(?:next\b|\d*\s*\|)")
_COMMAND = late(r"\binterlock [a-z-]+(?: [^\s:;,]+)*")


def as_json(value: object) -> str:
    """Return `value` (dataclasses, datetimes, enums included) as one JSON document, two spaces of indent."""
    return _as_json(value, indent=2)


def as_json_line(value: object) -> str:
    """Return `value` as `as_json` does, on one line."""
    return _as_json(value, indent=0)


def _as_json(value: object, *, indent: int) -> str:
    import msgspec

    try:
        encoded = msgspec.json.encode(value, enc_hook=_encode)
    except UnicodeEncodeError:  # half a character, as in a file name that is not UTF-8
        import json

        return safe_json(json.dumps(msgspec.to_builtins(value, enc_hook=_encode), indent=indent or None))
    return safe_json((msgspec.json.format(encoded, indent=indent) if indent else encoded).decode())


def _encode(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def emit(value: object, *, json: bool, human: Callable[[], None]) -> None:
    """Print a result: as JSON, or by calling `human`."""
    if json:
        print_json(value)
    else:
        human()


def print_json(value: object) -> None:
    """Print a value as one JSON document on stdout."""
    sys.stdout.write(as_json(value) + "\n")


def print_line(value: object) -> None:
    """Print a value as one line of JSON on stdout, for a stream of them."""
    sys.stdout.write(as_json_line(value) + "\n")


def flush() -> None:
    """Let a reader have at once what was printed."""
    sys.stdout.flush()


def say(text: str, *, mark: str = "") -> None:
    """Print one line of a result on stdout; on a terminal it is wrapped where it does not fit.

    Args:
        text: Its words, which may be anybody's.
        mark: What stands before them: ours, so it may be coloured.
    """
    wrapped = fit(one_line(text), taken=_MARK_CHARS if mark else 0)
    sys.stdout.write(f"{mark}{many_lines(wrapped, limit=None)}\n")  # what begins a line now may be a runner's command


def document(text: str, *, colours: bool = False) -> None:
    """Print a result of several lines on stdout, such as a report or a file that was asked for.

    Args:
        text: The lines; whoever made them has taken care that nobody else's line ends are among them.
        colours: They may be coloured, because we did it.
    """
    sys.stdout.write(many_lines(text, limit=None, colours=colours and colour_allowed(sys.stdout)))


def heading(text: str) -> None:
    """Print which of several results follows, on a line of its own (stdout)."""
    sys.stdout.write(f"\n== {one_line(text)} ==\n")


def plan(text: str) -> None:
    """Print a plan, or outputs, as Terraform prints them, on stdout; on a terminal with its colours."""
    shown = many_lines(text, limit=None)
    if not colour_allowed(sys.stdout):
        sys.stdout.write(shown)
        return
    from interlock.cli.painting import paint_plan  # nobody else paints

    sys.stdout.write(paint_plan(shown))


def github_commands(text: str) -> None:
    """Print commands to GitHub's runner on stdout, which their maker has escaped as the runner needs it."""
    sys.stdout.write(text)


def tell_github(name: str, text: str) -> None:
    """Give GitHub's runner a command (stdout); the text cannot become another one."""
    data = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    sys.stdout.write(f"::{name}::{data}\n")


def tell_azure(name: str, properties: Mapping[str, str], text: str) -> None:
    """Give Azure's agent a command (stdout); neither a property nor the text can become another one."""
    told = ";".join(f"{key}={_for_azure(value)}" for key, value in properties.items())
    sys.stdout.write(f"##vso[{name}{' ' if told else ''}{told}]{_for_azure(text)}\n")


def _for_azure(text: str) -> str:
    for char, code in (("%", "%AZP25"), (";", "%3B"), ("\r", "%0D"), ("\n", "%0A"), ("]", "%5D")):
        text = text.replace(char, code)
    return text


def raw(body: bytes) -> None:
    """Write bytes to stdout as they are: a person asked for the document itself, such as a state."""
    sys.stdout.buffer.write(body)


def tell_of_open_file(otherwise: str = "") -> None:
    """Say so when a secret goes into a file that others may read: a shell made it, by its umask.

    Args:
        otherwise: What to type instead.
    """
    from interlock.trust.secret_file import open_to_others

    try:
        mode = open_to_others(sys.stdout.fileno())
    except OSError:  # something of Python's that is no file
        return
    if mode:
        note(f"others can read what is written here ({mode}): chmod 600 {_output_name()}{otherwise}")


def _output_name() -> str:
    import shlex  # here: every command starts with this module

    try:
        return shlex.quote(os.readlink("/proc/self/fd/1"))  # noqa: PTH115 - without pathlib, likewise
    except OSError:
        return "it"


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


def say_failure(code: str, what: str, why: str, fix: str) -> None:
    """Print the three parts of a failure on stderr."""
    write, fix = sys.stderr.write, fill_in_program(fix)
    write(f"{_bold_red(f'error[{one_line(code)}]:')} {one_line(local(what))}\n")
    if why:
        write(f"  why    {indented(local(why), _UNDER_WHY)}\n")
    if fix:
        # half a command line, pasted, would be another command
        write(f"  next   {one_line(fix, limit=len(fix)) if len(fix) <= LINE_CHARS else _TOO_LONG}\n")


def failure_values(error: InterlockError) -> dict[str, object]:
    """Return a failure as `--json` says it."""
    parts = {
        "code": error.code,
        "exit": error.exit_status,
        "what": error.what,
        "why": error.why,
        "next": fill_in_program(error.fix),
    }
    return {**parts, **error.facts}


def _failure_json(error: InterlockError) -> str:
    return as_json({"error": failure_values(error)})


def colour_allowed(stream: IO[str]) -> bool:
    """Say whether `stream` is a terminal that may be coloured (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _bold_red(text: str) -> str:
    return f"\x1b[1;31m{text}\x1b[0m" if colour_allowed(sys.stderr) else text


def forget_reader(stream: IO[str]) -> None:
    """Write to nowhere from now on: the reader of this stream has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def note(text: str) -> None:
    """Tell the person something that is not a result, in one line (stderr)."""
    sys.stderr.write(one_line(text) + "\n")


def notes(text: str, *, colours: bool = False) -> None:
    """Tell the person something of several lines (stderr).

    Args:
        text: The lines, whole; as for `document`, no line end in it is somebody else's.
        colours: Keep its colours where the terminal has some, because we painted it.
    """
    sys.stderr.write(many_lines(text, limit=None, colours=colours and colour_allowed(sys.stderr)).rstrip("\n") + "\n")


def audited(head: Head) -> None:
    """Tell what the audit log's head is after a decision: kept in another log, it shows whether this one was cut."""
    note(f"audit log: entry {head.number}; keep this: {command('audit', 'verify', '--head', head)}")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Print aligned columns on stdout without importing Rich; `empty` says what no rows mean."""
    lines = [[one_line(cell, limit=CELL_CHARS) for cell in row] for row in rows]
    if not lines:
        note(empty)
        return
    cells = [list(headings), *lines]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    kept = _fitting(widths)
    for number, row in enumerate(cells):
        say("  ".join(cell.ljust(width) for cell, width in zip(row[:kept], widths[:kept], strict=True)).rstrip())
        rest = [f"{name.lower()} {cell}" for name, cell in zip(headings[kept:], row[kept:], strict=True) if cell]
        if number and rest:
            say(f"    {'  '.join(rest)}")


def _fitting(widths: Sequence[int]) -> int:
    """Return how many columns of a table fit; what follows goes below each row. A last column of prose is wrapped."""
    known = columns()
    if known is None or sum(widths) + _GAP * (len(widths) - 1) <= known:
        return len(widths)
    before_last = sum(widths[:-1]) + _GAP * (len(widths) - 1)
    if widths[-1] > known // 2 and known - before_last >= _PROSE:
        return len(widths)
    ends = [sum(widths[: end + 1]) + _GAP * end for end in range(len(widths))]
    return max(sum(end <= known for end in ends), 1)


def columns() -> int | None:
    """Return how wide the reader's terminal is; None when a result goes elsewhere, where nothing is wrapped.

    A log is read by programs too, line by line.
    """
    import shutil  # brings all that packs and unpacks

    return max(shutil.get_terminal_size().columns, _NARROWEST) if sys.stdout.isatty() else None


def fit(text: str, *, taken: int = 0) -> str:
    """Wrap lines that are wider than the reader's terminal; what follows a label stays below its first word.

    A command to be typed stays on one line, so that it can be copied, and so do source lines and their marks.

    Args:
        text: One line or several.
        taken: Columns of the first line that something else has.
    """
    known = columns()
    if known is None:
        return text
    return "\n".join(_wrapped(line, known, taken) for line in text.split("\n"))


def _wrapped(line: str, width: int, taken: int) -> str:
    if len(line) + taken <= width or _WHOLE.match(line):
        return line
    label = _LABEL.match(line)
    indent = len(label[0]) if label is not None and len(label[0]) < width // 2 else len(line) - len(line.lstrip()) + 2
    glued = _COMMAND.sub(lambda found: found[0].replace(" ", "\0"), "x" * taken + line)
    import textwrap

    parts = textwrap.wrap(glued, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(parts).replace("\0", " ")[taken:]


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
    """Spell an instant as the reader's clock shows it (TZ, else this machine's zone): `2026-11-24 15:02:11+01`."""
    return spelled(at.astimezone())


def since(at: datetime, now: datetime) -> str:
    """Spell an instant and how long ago it was: `2026-11-24 15:02:11+01 (2m00s ago)`."""
    return f"{instant(at)} ({duration(max((now - at).total_seconds(), 0.0))} ago)"


def local(text: str) -> str:
    """Return a sentence of ours with its instants as the reader's clock shows them."""
    return moved(text, None)


def confirm(question: str, *, yes: bool, declined: str = "") -> bool:
    """Ask a yes/no question on the terminal; `yes` answers it.

    Args:
        question: Without its answers.
        yes: The person has agreed already.
        declined: What is said after a no; without it the caller says what a no means.

    Raises:
        UsageError: Nobody can answer: stdin is not a terminal.
    """
    from interlock.errors import UsageError

    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("an answer is needed and stdin is not a terminal", why=question, fix="repeat with --yes")
    agreed = answered(question, lambda: ask(question)).lower() in {"y", "yes"}
    if declined and not agreed:
        note(declined)
    return agreed


def answered(question: str, put: Callable[[], None], *, hidden: bool = False) -> str:
    """Ask, and return the line that a person types at the terminal.

    Args:
        question: What is asked, for a failure.
        put: Puts the question; a terminal that is closed at that very moment is seen.
        hidden: Do not show what is typed.

    Raises:
        KeyboardInterrupt: Ctrl-C, or Ctrl-D.
        Terminated: SIGTERM, or nobody can answer any more: the terminal was closed.
    """
    from interlock.errors import Terminated
    from interlock.run.front_end import is_open_terminal

    gone = Terminated("nobody answered", why=f"the terminal was closed, or SIGTERM came: {question}", fix="try again")

    shown = [stream for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def leave(number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            forget_terminal(shown)
        raise gone

    # asyncio's own handler would note a Ctrl-C and let the reading go on; a closed terminal would end us as 129.
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: leave, signal.SIGHUP: leave}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        line = _hidden_line(put) if hidden else _line(put)
    except (OSError, EOFError):  # EIO: the terminal is gone
        forget_terminal(shown)
        raise gone from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not line and is_open_terminal(sys.stdin):
        raise KeyboardInterrupt
    if not line:
        forget_terminal(shown)
        raise gone
    return line.strip()


def forget_terminal(streams: Iterable[IO[str]]) -> None:
    """Write to nowhere from now on: else Python itself would end with a status of its own when it flushes.

    Args:
        streams: Those that were a terminal while it was there; a closed one does not say so any more.
    """
    for stream in streams:
        forget_reader(stream)


def is_terminal() -> bool:
    """Say whether the result is read on a terminal."""
    return sys.stdout.isatty()


def open_streams() -> tuple[int, int, int]:
    """Return the open files behind stdin, stdout and stderr, for a command that talks to the person itself."""
    return sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()


def stdin_file() -> int | None:
    """Return the open file behind stdin; None where there is none."""
    try:
        return sys.stdin.fileno()
    except (OSError, ValueError):
        return None


def _line(put: Callable[[], None]) -> str:
    put()
    return sys.stdin.readline()


def _hidden_line(put: Callable[[], None]) -> str:
    """Read a line that is not shown. What was typed or pasted before the question stood there is kept.

    `getpass` throws it away when it turns the echo off, which is after our question; then both sides wait for ever.
    """
    import termios

    file = sys.stdin.fileno()
    try:
        before = termios.tcgetattr(file)
        termios.tcsetattr(file, termios.TCSANOW, [*before[:3], before[3] & ~termios.ECHO, *before[4:]])
    except termios.error as error:
        raise EOFError from error  # the terminal was closed just now
    try:
        return _line(put)
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(file, termios.TCSANOW, before)
        sys.stderr.write("\n")


def prompt(text: str) -> None:
    """Print what is asked for and leave the cursor behind it (stderr)."""
    sys.stderr.write(f"{one_line(text)} ")
    sys.stderr.flush()


def ask(question: str) -> None:
    """Print a yes/no question and leave the cursor behind it (stderr)."""
    sys.stderr.write(f"{one_line(question)} [y/N] ")
    sys.stderr.flush()


def plain(value: Any) -> str:
    """Return a cell's text: `-` for nothing; an instant as the reader's clock shows it."""
    if isinstance(value, datetime):
        return instant(value)
    return "-" if value in (None, "") else one_line(value)

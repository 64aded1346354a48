"""Where the command `interlock` begins: a run's supervisor is started before anything else is even imported.

The command line and its checks take as long to load as a supervisor. So nothing may be imported here that the start of
a process does not need; `tests/unit/run/test_spare.py` holds it to that.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # without `typing`, whose import takes longer than all else here
if TYPE_CHECKING:
    from collections.abc import Sequence

_SUPERVISED = frozenset({"plan", "apply", "destroy", "exec", "import"})
_HELP = frozenset({"--help"})


def main() -> None:
    """Run one command and leave with its exit status."""
    try:
        _run()
    except SystemExit as ended:
        if ended.code in _STOPPED:
            _leave(int(ended.code or 0))
        raise


_STOPPED = frozenset({130, 143})


def _leave(status: int) -> None:
    """Leave at once: Python would wait for requests that nobody wants any more, for as long as a network is silent."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # whoever read it has gone
    os._exit(status)


def _run() -> None:
    arguments = sys.argv[1:]
    if sys.platform == "win32" or not begins_run(arguments):
        from interlock.cli.main import main as rest

        rest(arguments)
        return
    open_closed_streams()
    from interlock.run.spare import Spare

    try:
        spare = Spare(os.environ)
    except OSError:  # too many processes or open files; tried once more, where a failure is told
        spare = None
    from contextlib import nullcontext

    with spare or nullcontext():
        from interlock.cli.main import main as rest

        rest(arguments, spare)


def begins_run(arguments: Sequence[str]) -> bool:
    """Say whether a command line orders a run, as far as that can be seen without reading all of it."""
    return bool(arguments) and arguments[0] in _SUPERVISED and not _HELP & set(own(arguments))


def own(arguments: Sequence[str]) -> Sequence[str]:
    """Return the arguments before `--`; what follows is Terraform's."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def open_closed_streams() -> None:
    """Put the null device where a standard stream was closed (`<&-`), so that no later file takes its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, mode))  # noqa: SIM115, PTH123 - a standard stream stays open


def escape_in_streams() -> None:
    """Let a stream whose encoding lacks a character show its escape, which JSON knows too, where it would refuse.

    Else a run in such a locale would seem to fail at the name of an object, after its apply.
    """
    import codecs

    codecs.register_error("escape", _escaped)
    for stream in (sys.stdout, sys.stderr):
        encoding = getattr(stream, "encoding", None) or "utf-8"
        if codecs.lookup(encoding).name != "utf-8" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="escape")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    import json

    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end

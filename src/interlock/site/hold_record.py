"""Which process of this machine holds a state for a person's command. A hand: small files in the home.

A run has a folder that names its processes. A command such as `adopt` or `state push` has none; killed while it held a
state, it could not be told from one that is only slow, and the state stayed locked.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from interlock.host import ProcessName, name_own_process
from interlock.run.private_file import open_private

_FOLDER = "holds"
_NAME_CHARS = 200


def write_hold(home: Path, ticket: str) -> Path:
    """Name this process as the holder under a ticket; return the file, which the command removes when it is over."""
    from interlock.recovery.witnesses.process import render_name

    path = _path(home, ticket)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_private(path) as file:
        file.write(render_name(name_own_process()).encode())
    return path


def find_hold(home: Path, ticket: str) -> tuple[Path, ProcessName] | None:
    """Return the process that holds under a ticket, and where that is written; None where it cannot be read."""
    from interlock.recovery.witnesses.process import parse_name

    path = _path(home, ticket)
    try:
        name = parse_name(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return None if name is None else (path, name)


def forget_hold(home: Path, ticket: str) -> None:
    """Remove what names the holder under a ticket, where there is such a thing."""
    _path(home, ticket).unlink(missing_ok=True)


def _path(home: Path, ticket: str) -> Path:
    return home / _FOLDER / f"{quote(ticket, safe='')[:_NAME_CHARS]}.json"  # a ticket may be a stranger's

"""The file that says: this Terraform was asked to stop. Whoever asks leaves it first.

Terraform exits at once on its second signal and loses what is in flight, so only one of all that may want it to stop
(its supervisor, the front end of a killed supervisor, recovery) may ever signal it. A run starts several commands, so
the marker names one process; it outlives whoever left it, also a power failure.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import msgspec

from interlock.host import ProcessName
from interlock.late_pattern import late

_PREFIX = "asked-to-stop"
_PLAIN = late(r"[^A-Za-z0-9]+")  # start times of other systems hold blanks and colons


class _Marker(msgspec.Struct, kw_only=True):
    process: ProcessName
    by: str
    at: datetime
    schema: int = 1


def leave_marker(folder: Path, process: ProcessName, *, by: str, now: datetime) -> bool:
    """Leave the marker for `process`.

    Args:
        folder: The run's folder.
        process: The Terraform that is to be signalled next.
        by: Who signals it, for people.
        now: Aware UTC instant.

    Returns:
        False when somebody asked this process before; then it must not be signalled again.

    Raises:
        OSError: The marker cannot be kept, so nobody else would know of the signal.
    """
    if (folder / _PREFIX).exists():  # of a version that kept one for the whole run
        return False
    path = _path(folder, process)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(_Marker(process=process, by=by, at=now)))
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(folder)
    return True


def has_marker(folder: Path, process: ProcessName) -> bool:
    """Say whether somebody asked this very process to stop."""
    return _path(folder, process).exists() or (folder / _PREFIX).exists()


def _path(folder: Path, process: ProcessName) -> Path:
    return folder / f"{_PREFIX}-{process.pid}-{_PLAIN.sub('-', process.started)}"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

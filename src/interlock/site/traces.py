"""What may still have a state that its backend lost: versions, our copies, files of runs, their records. A hand.

Named for a person, newest first; nothing is restored from here by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from interlock.run.summary import recent
from interlock.state import MAX_STATE_BYTES

MAX_FILES = 20  # of each kind that are read
MAX_RUNS = 200  # runs that are looked at
_FILES = ("errored.tfstate", "before.tfstate")  # what a run keeps of a state, in its folder
_BACKUPS = ("errored.tfstate", "terraform.tfstate.backup")  # what Terraform keeps beside a configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One thing that knows of a state.

    Attributes:
        text: What, for people.
        path: A file that can be pushed; None for a record without bytes.
        is_it: The file is exactly the lost one, by its digest.
    """

    text: str
    path: Path | None = None
    is_it: bool = False


def find_traces(digest: str, *, directory: Path, runs: Path, serial: int) -> tuple[Trace, ...]:
    """Look for a state on this machine.

    Args:
        digest: Its MD5 as the backend keeps it, or its SHA-256 as runs keep it; empty when neither is known.
        directory: The root module.
        runs: The folder of our runs.
        serial: Serial of what is stored now; 0 for nothing. Runs that stored a higher one are named.
    """
    files = [*(directory / name for name in _BACKUPS), *_files_of_runs(directory, runs)]
    found = [trace for path in files if (trace := _of_file(path, digest)) is not None]
    return (*sorted(found, key=lambda trace: not trace.is_it), *_of_records(directory, runs, serial))


def _files_of_runs(directory: Path, runs: Path) -> Sequence[Path]:
    ours = [summary.run for summary in recent(runs, limit=MAX_RUNS) if summary.directory == str(directory)]
    paths = [runs / run / name for run in ours for name in _FILES]
    return [path for path in paths if path.is_file()][:MAX_FILES]


def _of_file(path: Path, digest: str) -> Trace | None:
    try:
        if not 0 < path.stat().st_size <= MAX_STATE_BYTES:
            return None
        is_it = bool(digest) and digest in _digests(path.read_bytes())
    except OSError:
        return None
    return Trace(text=f"{path}{' is exactly the lost state' if is_it else ''}", path=path, is_it=is_it)


def _digests(body: bytes) -> tuple[str, str]:
    return hashlib.md5(body, usedforsecurity=False).hexdigest(), hashlib.sha256(body).hexdigest()


def _of_records(directory: Path, runs: Path, serial: int) -> Iterator[Trace]:
    for summary in recent(runs, limit=MAX_RUNS):
        if summary.directory == str(directory) and summary.serial is not None and summary.serial > serial:
            yield Trace(text=f"run {summary.run} left serial {summary.serial}; its journal names what it made")
            return

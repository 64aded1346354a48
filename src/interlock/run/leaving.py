"""What a run writes down before its apply begins, so that whoever finds its remains can judge them. A hand.

A supervisor may be killed, and a saved plan leaves no event of its planning behind. Then only these two files say which
deletions were wanted, and whether an `errored.tfstate` in the user's folder is older than the run.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec

from interlock.bounded import decode_json
from interlock.run.private_file import open_private

ALLOWED = "may-delete.json"
"""In the run's folder: what a state written by its apply may lack."""
EARLIER = "earlier-errored.json"
"""In the run's folder: which `errored.tfstate` lay there before Terraform started; absent when there was none."""


SPACE = "space.json"
"""In the run's folder: the file with the state of its workspace, and the SHA-256 of what was put there or stored."""


class _Space(msgspec.Struct, frozen=True):
    path: str
    sha256: str


class _Mark(msgspec.Struct, frozen=True):
    """What tells one content of a file from the next without reading it: a state that Terraform writes is new here."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int


def note_before_apply(folder: Path, *, errored: Path, allowed: frozenset[str]) -> None:
    """Write down what is true before Terraform starts to apply.

    Args:
        folder: The run's folder.
        errored: Where its Terraform would leave a state that it could not save.
        allowed: What a state that it writes may lack; see `judge_deletions`.
    """
    _write(folder / ALLOWED, msgspec.json.encode(sorted(allowed)))
    earlier = _mark(errored)
    if earlier is not None:
        _write(folder / EARLIER, msgspec.json.encode(earlier))


def read_allowed(folder: Path) -> frozenset[str] | None:
    """Return what a state written by a run's apply may lack; None when the run never wrote it down.

    Args:
        folder: The run's folder.
    """
    try:
        return frozenset(decode_json((folder / ALLOWED).read_bytes(), type=list[str]))
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def is_left(errored: Path, folder: Path) -> bool:
    """Whether a run left this `errored.tfstate`; one that lay there before, unchanged, is somebody else's.

    Args:
        errored: The file.
        folder: The run's folder.
    """
    now = _mark(errored)
    if now is None:
        return False
    try:
        earlier = decode_json((folder / EARLIER).read_bytes(), type=_Mark)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return True
    return now != earlier


def note_space(folder: Path, path: Path, body: bytes) -> None:
    """Write down what is in the file of a run's workspace and is stored: anything else in it is not saved yet.

    Args:
        folder: The run's folder.
        path: The file.
        body: Its content; empty for none.
    """
    _write(folder / SPACE, msgspec.json.encode(_Space(path=str(path), sha256=hashlib.sha256(body).hexdigest())))


def take_from_space(folder: Path) -> Path | None:
    """Return the file of a run's workspace when it holds what was not stored; None when all of it is.

    Args:
        folder: The run's folder.
    """
    try:
        noted = decode_json((folder / SPACE).read_bytes(), type=_Space)
        left = Path(noted.path).read_bytes()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return Path(noted.path) if hashlib.sha256(left).hexdigest() != noted.sha256 else None


def clear_space(folder: Path) -> None:
    """Remove the file of a run's workspace, when what was in it is stored or kept elsewhere."""
    try:
        noted = decode_json((folder / SPACE).read_bytes(), type=_Space)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return
    shutil.rmtree(Path(noted.path).parent.parent, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)  # of an earlier attempt of the same run
    with open_private(path) as file:
        file.write(content)


def _mark(path: Path) -> _Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

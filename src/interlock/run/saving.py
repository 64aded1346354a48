"""The state that a run could not store: kept where there is room, and offered again while the run holds. A hand.

Terraform leaves it in `errored.tfstate`. Where the disk is full that file is empty, and the newest state is then only
in our memory: the body of the last write that the store could not take.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from msgspec import Struct

from interlock.clock import Clock
from interlock.errors import BackendUnavailable, StateInvalid
from interlock.run.entries import NoteEntry
from interlock.run.surroundings import Tell
from interlock.run.workspace import ERRORED
from interlock.state import parse_state
from interlock.store import StoreGone

PATIENCE_LEASES = 20
"""How many leases long a state is offered again to a store that cannot take it.

Two minutes by default, enough to free some space by hand. Who chose a short lease wants the queue to move on sooner.
"""

RETRY_S = 2.0  # between two offers

_MEBIBYTE = 1 << 20
ROOM_BYTES = 16 * _MEBIBYTE
"""Room for everything but states: the run's record and journal, what Terraform says, its plan, SQLite's log."""

STATE_COPIES = 4
"""How often a state may be on the disk at once: in SQLite's log and its database, in `errored.tfstate`, in a copy."""


class Left(Struct, frozen=True, kw_only=True):
    """A state that could not be stored.

    Attributes:
        body: Its bytes.
        path: The file that has them; None while only our memory does.
    """

    body: bytes
    path: Path | None

    @property
    def is_state(self) -> bool:
        """Whether the bytes are a whole document; what was cut off by a full disk is none."""
        return _serial(self.body) is not None


def room_needed(state_bytes: int) -> int:
    """Return how many bytes must be free where the home is before an apply may start. Pure.

    Args:
        state_bytes: Of the state as it is now; one that grows to twice its size still fits once.
    """
    return ROOM_BYTES + STATE_COPIES * state_bytes


def check_room(home: Path, state_bytes: int) -> None:
    """Refuse to start an apply whose state could not be saved.

    Raises:
        BackendUnavailable: There is too little room.
    """
    free, needed = _room(home), room_needed(state_bytes)
    if free < needed:
        raise BackendUnavailable(
            "the apply was not started: there is too little room for its state",
            why=f"{home} has {free / _MEBIBYTE:.1f} MiB left, {needed / _MEBIBYTE:.1f} MiB are needed to be safe",
            fix=f"df -h {home}    free some space, set INTERLOCK_HOME to a larger one, or lift ulimit -f",
        )


def _room(home: Path) -> int:
    """Return the bytes that may still be written: what the disk has, or what this process may put into one file."""
    found = os.statvfs(home)
    free = found.f_bavail * found.f_frsize
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return free if limit == resource.RLIM_INFINITY else min(free, limit)


def find_left(errored: Path | None, unsaved: bytes | None) -> Left | None:
    """Return the newest state that was not stored: of the file that Terraform left, and of the last refused write.

    Args:
        errored: Terraform's file; None when it left none.
        unsaved: The body of the last write that the store could not take; None when there was none.
    """
    body = _content(errored) if errored is not None else b""
    held = _serial(unsaved) if unsaved is not None else None
    written = _serial(body)
    if unsaved is not None and held is not None and (written is None or held > written):
        return Left(body=unsaved, path=None)
    return Left(body=body, path=errored) if errored is not None else None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _serial(body: bytes) -> int | None:
    """Return the serial of a state; None when it is none: Terraform could write only a part of it, or nothing."""
    try:
        return parse_state(body).serial
    except StateInvalid:
        return None


def keep_copy(body: bytes, places: Iterator[Path]) -> Path | None:
    """Write the bytes to the first place that takes all of them, for their owner only; return it, or None.

    A file that is there already is never touched, and nothing is left of an attempt that failed.
    """
    for place in places:
        try:
            handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError:
            continue
        try:
            if _is_written(handle, body):
                return place
        finally:
            os.close(handle)
        place.unlink(missing_ok=True)
    return None


def _is_written(handle: int, body: bytes) -> bool:
    """Write and read back: an empty file is never told as a saved state."""
    try:
        rest = memoryview(body)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
        return os.pread(handle, len(body) + 1, 0) == body
    except OSError:
        return False


def places_for(run: str, *, run_folder: Path, directory: Path) -> Iterator[Path]:
    """Yield where a state may be kept: with the run, in the user's folder, in the temporary folder."""
    yield run_folder / ERRORED
    yield directory / ERRORED
    yield directory / f"errored-{run}.tfstate"  # the user has one of an earlier time
    yield Path(tempfile.gettempdir()) / f"interlock-{run}-errored.tfstate"


async def offer(
    push: Callable[[], Awaitable[object]], *, clock: Clock, patience_s: float, tell: Tell, where: str
) -> None:
    """Offer a state to the store until it takes it, or the patience is over.

    Args:
        push: Stores it.
        clock: For waiting.
        patience_s: How long.
        tell: Told once that we wait.
        where: Where a copy is, for people.

    Raises:
        InterlockError: What `push` raised last. Everything but an unavailable store is raised at once, and so is a
            store that is gone: it does not come back for this process.
    """
    until_s, said = clock.monotonic() + patience_s, False
    while True:
        try:
            await push()
        except BackendUnavailable as error:
            if isinstance(error, StoreGone) or clock.monotonic() + RETRY_S > until_s:
                raise
            if not said:
                tell(NoteEntry(text=f"the state cannot be stored yet ({error.what}); trying again. {where}"))
                said = True
            await clock.sleep(RETRY_S)
        else:
            return

"""Terraform's `backend "local"`: a state file, an fcntl lock on it, and an information file beside it.

A hand. Terraform's lock is a POSIX record lock on the whole state file, so the kernel frees it when the holder's
process ends; the information file `.<state name>.lock.info` may stay behind and then locks nothing. Ours is a lock of
the open file where the kernel has such (Linux): it keeps Terraform out just the same, is not lost when this process
opens and closes the file elsewhere, and stays with whoever inherits the open file, so a run's Terraform keeps it when
we are killed.
Source: docs/facts/terraform-backends.md#backend-2; internal/states/statemgr/filesystem.go and filesystem_lock_unix.go.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from interlock.errors import THIS_STATE, LockHeld, UsageError, command
from interlock.existing.interface import (
    Description,
    Found,
    HeldTerraformLock,
    StateVersion,
    StoredState,
    TerraformLock,
    TerraformLockMoved,
    Unsupported,
)
from interlock.existing.terraform_lock import foreign_lock, held_by
from interlock.source.disk import write_file
from interlock.terraform.lockinfo import MAX_LOCK_INFO_BYTES, LockInfo, render_lock_info

_SPACES = "terraform.tfstate.d"
_CURRENT = "current"
_BACKUP = "backup"
_FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, pid; a length of 0 is the whole file
_SET, _GET = getattr(fcntl, "F_OFD_SETLK", None), getattr(fcntl, "F_OFD_GETLK", None)


def path_of(found: Found, directory: Path) -> Path:
    """Return the state file of a found local backend, by its one name: two root modules may lead to the same file."""
    if found.workspace == "default":
        return (directory / (found.text("path") or "terraform.tfstate")).resolve()
    folder = directory / (found.text("workspace_dir") or _SPACES)
    return (folder / found.workspace / "terraform.tfstate").resolve()


class LocalBackend:
    """See `ExistingBackend`.

    Args:
        path: The state file.
        found: What discovery found, for `describe`.
        directory: The root module, where other workspaces are looked for; None for the folder of the file.
    """

    def __init__(self, path: Path, *, found: Found, directory: Path | None = None) -> None:
        self.path = path
        folder = directory if directory is not None else path.parent
        self._root = path_of(replace(found, workspace="default"), folder)
        self._spaces = folder / (found.text("workspace_dir") or _SPACES)
        self._found = found
        self._held: int | None = None
        self._made = False

    @property
    def info_path(self) -> Path:
        """Where Terraform writes who holds the lock."""
        return self.path.with_name(f".{self.path.name}.lock.info")

    @property
    def backup_path(self) -> Path:
        """Terraform's own copy of the state before its last change."""
        return self.path.with_name(f"{self.path.name}.backup")

    def describe(self) -> Description:
        """See `ExistingBackend.describe`."""
        return Description(
            type="local",
            address=str(self.path),
            workspace=self._found.workspace,
            locking=("local",),
            settings=self._found.origins,
        )

    async def workspaces(self) -> tuple[str, ...]:
        """See `ExistingBackend.workspaces`. Empty files, which a lock may have made, are no states."""
        return await asyncio.to_thread(self._workspaces)

    def _workspaces(self) -> tuple[str, ...]:
        root, spaces = self._root, self._spaces
        folders = sorted(spaces.iterdir()) if spaces.is_dir() else []
        paths = {"default": root, **{folder.name: folder / "terraform.tfstate" for folder in folders}}
        return tuple(sorted(name for name, path in paths.items() if path.is_file() and path.stat().st_size))

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `ExistingBackend.read_locks`. An information file without a lock on the state file locks nothing."""
        pid = await asyncio.to_thread(self._locking_process)
        if pid is None:
            return ()
        raw = await asyncio.to_thread(self._read_info)
        lock = foreign_lock(raw, mechanism="local", place=str(self.path))
        return (replace(lock, condition=f"pid {pid}" if pid else ""),)

    async def delete_lock(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.delete_lock`. The kernel frees the lock when the holder's process ends."""
        raise Unsupported(
            f"the lock on {self.path} cannot be deleted",
            why=f"it belongs to a living process ({lock.condition or 'another pid namespace'}) and ends with it",
            fix="let that process end, or stop it: kill -INT",
        )

    async def read_state(self) -> StoredState | None:
        """See `ExistingBackend.read_state`."""
        return await asyncio.to_thread(self._read)

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """See `ExistingBackend.write_state`. In place, so that the lock on the file stays; the old state is the backup.

        A file written in place can be torn by a crash, which is how Terraform writes it too; the backup is whole.
        """
        current = await self.read_state()
        if (current.body if current else None) != (expected.body if expected else None):
            raise TerraformLockMoved(
                f"{self.path} changed while it was to be written", why="somebody wrote it", fix="try again"
            )
        if current is not None:
            await asyncio.to_thread(write_file, self.backup_path, current.body)
        await asyncio.to_thread(self._write, body)
        stored = await self.read_state()
        assert stored is not None
        return stored

    async def history(self) -> tuple[StateVersion, ...]:
        """See `ExistingBackend.history`: the state and Terraform's backup of the one before."""
        rows = []
        for name, path in ((_CURRENT, self.path), (_BACKUP, self.backup_path)):
            if path.is_file() and path.stat().st_size:
                found = path.stat()
                at = datetime.fromtimestamp(found.st_mtime, UTC)
                rows.append(StateVersion(id=name, modified_at=at, size=found.st_size, current=name == _CURRENT))
        return tuple(rows)

    async def read_version(self, version_id: str) -> bytes:
        """See `ExistingBackend.read_version`."""
        path = {_CURRENT: self.path, _BACKUP: self.backup_path}.get(version_id)
        if path is None or not path.is_file():
            raise UsageError(f"{self.path} has no version {version_id!r}", fix=command("state", "history", THIS_STATE))
        return await asyncio.to_thread(path.read_bytes)

    async def repair_digest(self, *, expected: StoredState) -> StoredState:
        """See `ExistingBackend.repair_digest`. There is none."""
        return expected

    async def take_lock(self, info: LockInfo) -> HeldTerraformLock:
        """See `ExistingBackend.take_lock`."""
        lock = await asyncio.to_thread(self._take, info)
        assert self._held is not None
        return HeldTerraformLock(info=info, locks=(lock,), files=(self._held,) if _SET is not None else ())

    async def give_lock(self, held: HeldTerraformLock) -> None:
        """See `ExistingBackend.give_lock`."""
        if self._held is None:
            return
        if self._read_info() == held.locks[0].raw:
            self.info_path.unlink(missing_ok=True)
        if self._made and not os.fstat(self._held).st_size:
            self.path.unlink(missing_ok=True)  # as Terraform does: an empty file is no state
        self._let_go()

    def write_under(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.write_under`. A write names no lock."""

    async def close(self) -> None:
        """See `ExistingBackend.close`. Frees what is held."""
        self._let_go()

    def _let_go(self) -> None:
        """Free the lock itself, which another process that has the open file would keep; then close it."""
        if self._held is not None:
            _unlock(self._held)
            os.close(self._held)
        self._held, self._made = None, False

    def _locking_process(self) -> int | None:
        """Return the process with a lock on the state file; None when there is none, 0 when it cannot be named."""
        if self._held is not None:
            return os.getpid()  # a POSIX lock never conflicts with its own process, and opening would drop it
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(
                f"cannot look at the lock on {self.path}", why=error.strerror or "", fix=f"ls -l {self.path}"
            ) from error
        try:
            return _find_owner(handle, self.path)
        finally:
            os.close(handle)

    def _take(self, info: LockInfo) -> TerraformLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(handle)
        except OSError:
            os.close(handle)
            raise self._refusal() from None
        if not _is_at(handle, self.path):  # whoever made it removed it, empty, between our two steps
            os.close(handle)
            raise self._refusal()
        self._held, self._made = handle, is_new
        raw = render_lock_info(info)
        write_file(self.info_path, raw)
        return foreign_lock(raw, mechanism="local", place=str(self.path))

    def _refusal(self) -> LockHeld:
        return held_by(foreign_lock(self._read_info(), mechanism="local", place=str(self.path)), str(self.path))

    def _read_info(self) -> bytes:
        try:
            with self.info_path.open("rb") as file:
                return file.read(MAX_LOCK_INFO_BYTES)
        except OSError:
            return b""

    def _read(self) -> StoredState | None:
        """Read through the handle that holds the lock: closing any other one of this process would free it."""
        try:
            size = self.path.stat().st_size
            body = self.path.read_bytes() if self._held is None else os.pread(self._held, size, 0)
            modified_at = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
        except FileNotFoundError:
            return None
        return StoredState(body=body, modified_at=modified_at) if body else None

    def _write(self, body: bytes) -> None:
        if self._held is None:
            raise UsageError(f"{self.path} is not locked", why="it is written only under its lock", fix="take the lock")
        os.ftruncate(self._held, 0)
        os.pwrite(self._held, body, 0)
        os.fsync(self._held)


def _lock(handle: int) -> None:
    """Lock the whole file for writing, at once or not at all.

    Raises:
        OSError: Somebody has it.
    """
    if _SET is None:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        fcntl.fcntl(handle, _SET, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))


def _unlock(handle: int) -> None:
    if _SET is None:
        fcntl.lockf(handle, fcntl.LOCK_UN)
    else:
        fcntl.fcntl(handle, _SET, struct.pack(_FLOCK, fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0))


def _find_owner(handle: int, path: Path) -> int | None:
    """Return the process with a lock on an open file; None when there is none, 0 when it cannot be named.

    Where the kernel answers the question, nothing is taken for it: a Terraform that starts meanwhile would be refused.
    """
    if _GET is not None:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, _GET, asked))
        return None if kind == fcntl.F_UNLCK else max(pid, 0)  # a lock of an open file has no process
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return _owner_of(path)
    return None  # closing frees it


def _is_at(handle: int, path: Path) -> bool:
    """Say whether an open file is the one with this name."""
    try:
        there, ours = path.stat(), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _owner_of(path: Path) -> int:
    """Return the process that /proc/locks names for a file; 0 when it names none (another pid namespace)."""
    found = path.stat()
    name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    for line in lines:
        words = line.split()
        if name in words and "POSIX" in words:
            return max(int(words[4]), 0)
    return 0

"""A `Tree` on this machine's disk, and files written in one step. A hand.

Knows: paths, limits. Knows nothing of what the files mean.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

from interlock.source.tree import MAX_FILE_BYTES, SourceUnreadable
from interlock.trust.checkout import checkouts, is_within


class DiskTree:
    """The files below the current folder, or below `root`; absolute paths and `..` reach outside."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root if root is not None else Path()

    def files(self, folder: str) -> tuple[str, ...]:
        """Return the names of the regular files (or links to them) directly in `folder`, sorted."""
        return tuple(sorted(entry.name for entry in self._entries(folder) if entry.is_file()))

    def folders(self, folder: str) -> tuple[str, ...]:
        """Return the names of the folders directly in `folder`, sorted. Links are left out, so no walk can loop."""
        return tuple(sorted(entry.name for entry in self._entries(folder) if entry.is_dir(follow_symlinks=False)))

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None when there is none.

        Raises:
            SourceUnreadable: It may not be read, is not a regular file, or is too large.
        """
        target = self._root / path
        try:
            if not target.is_file():
                return None
            with target.open("rb") as stream:
                content = stream.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise _unreadable(path, error.strerror or "input/output error") from error
        if len(content) > MAX_FILE_BYTES:
            raise _unreadable(path, f"it has more than {MAX_FILE_BYTES} bytes")
        return content

    def within(self, folder: str) -> str | None:
        """Return a folder's path below the nearest folder above it that has git's own files; None without one."""
        try:
            here = (self._root / folder).resolve()
            top = next((above for above in (here, *here.parents) if (above / ".git").exists()), None)
        except (OSError, RuntimeError):
            return None
        return None if top is None else here.relative_to(top).as_posix()

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._root / folder) as entries:
                return list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unreadable(folder, error.strerror or "input/output error") from error


def _unreadable(path: str, why: str) -> SourceUnreadable:
    return SourceUnreadable(f"{path} could not be read", why=why, fix=f"ls -l {path}", path=path)


PRIVATE = 0o600
"""The mode of a file that may hold secrets."""

SHARED = 0o644
"""The mode of a file that is made for a repository; the umask may take from it."""


def write_file(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a new file in the place of what has that name, in one step; it is on the disk when this returns.

    It is ours, whoever the file before belonged to, and whoever has that one open reads nothing of it. A link of that
    name is replaced, never followed: in a folder that others may write to, or in a checkout, it leads where they like.

    Args:
        path: Where to.
        content: All of it.
        mode: `PRIVATE` whatever the umask says, or `SHARED`.

    Raises:
        OSError: It cannot be written, or the name is that of something that is not a file, such as a device; what was
            there stays.
    """
    _refuse_no_file(path)
    draft = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(draft, flags, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            if mode != SHARED:
                os.fchmod(handle, mode)
            file.write(content)
            file.flush()
            os.fsync(handle)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _refuse_no_file(path: Path) -> None:
    """Refuse a device, a pipe or a folder: as root we would replace /dev/null for everybody."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
        raise OSError(errno.EEXIST, "it is not a regular file", str(path))


def replace_file(path: str, content: bytes) -> None:
    """Write a file of a person's, in one step: readers see the old content or the new one.

    The file's mode stays, and a link to it as long as it does not lead out of the checkout.

    Raises:
        SourceUnreadable: The folder or file may not be written.
    """
    target = Path(path).resolve()
    try:
        _refuse_way_out(Path(path), target)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else SHARED
        write_file(target, content, mode)
    except OSError as error:
        why = error.strerror or "input/output error"
        raise SourceUnreadable(f"{path} could not be written", why=why, fix=f"ls -l {path}", path=path) from error


def _refuse_way_out(path: Path, target: Path) -> None:
    if leads_out(path):
        raise OSError(errno.ELOOP, f"it is a link to {target}, which is outside the checkout", str(path))


def leads_out(path: Path) -> bool:
    """Say whether a file is a link to one outside its checkout; the author of the link may not be able to read that."""
    return path.is_symlink() and not is_within(path.resolve(), checkouts(path.absolute().parent, {}))

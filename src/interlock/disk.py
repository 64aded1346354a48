"""A `Tree` on this machine's disk, and a file replaced in one step. A hand.

Knows: paths, limits. Knows nothing of what the files mean.
"""

from __future__ import annotations

import os
from pathlib import Path

from interlock.source import MAX_FILE_BYTES, SourceUnreadable


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
            SourceUnreadable: It may not be read, is no regular file, or is too large.
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


def replace_file(path: str, content: bytes) -> None:
    """Write a file in one step: readers see the old content or the new one. The file's mode and a link to it stay.

    Raises:
        SourceUnreadable: The folder or file may not be written.
    """
    target = Path(path).resolve()
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        mode = target.stat().st_mode if target.exists() else None
        draft.write_bytes(content)
        if mode is not None:
            draft.chmod(mode & 0o7777)
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        why = error.strerror or "input/output error"
        raise SourceUnreadable(f"{path} could not be written", why=why, fix=f"ls -l {path}", path=path) from error

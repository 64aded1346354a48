"""Hears that another process writes to a file: Linux's inotify. A hand: it touches the kernel.

Where there is none (other systems, or too many watchers already), `open_bell` says so and the caller looks by itself.
Like every bell it carries no news: whoever hears it looks, and looks now and then without it.
Source: inotify(7).
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_MODIFY, _ATTRIBUTES, _DELETED, _MOVED = 0x2, 0x4, 0x400, 0x800
_MASK = _MODIFY | _ATTRIBUTES | _DELETED | _MOVED
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # the same numbers as IN_NONBLOCK and IN_CLOEXEC
_READ_BYTES = 64 * 1024


class FileBell:
    """One open inotify descriptor.

    Attributes:
        descriptor: Readable when something happened to the file.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def silence(self) -> None:
        """Forget what was heard so far."""
        try:
            while len(os.read(self.descriptor, _READ_BYTES)) == _READ_BYTES:
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Hear no more."""
        os.close(self.descriptor)


def open_bell(path: Path | str) -> FileBell | None:
    """Listen to writes to a file, and to its removal; None where that cannot be done."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(_FLAGS)
    if descriptor < 0:  # the user has too many watchers already
        return None
    if libc.inotify_add_watch(descriptor, os.fsencode(path), _MASK) < 0:
        os.close(descriptor)
        return None
    return FileBell(descriptor)

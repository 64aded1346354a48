"""Files of a run that nobody else may read. A hand.

A command that orders a run makes its folder with this alone, before its supervisor has anything to do: so nothing may
be imported here that takes time, such as an event loop.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO


def open_private(path: Path) -> IO[bytes]:
    """Open a file for appending that nobody else may read: what Terraform says shows attributes of the state."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab")


def keep_private(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read, in the place of one of that name.

    Raises:
        OSError: It cannot be written.
    """
    path.unlink(missing_ok=True)
    with open_private(path) as file:
        file.write(content)

"""Regular expressions that are compiled when they are first used.

To compile one takes as long as to import a module, and a run uses a tenth of those that its modules have.
"""

from __future__ import annotations

import re
from typing import Any, cast


class _Late:
    """Stands for a pattern; from its first use on its methods are the pattern's own."""

    def __init__(self, text: str, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(re.compile(self._text, self._flags), name)  # which keeps it, by its text
        self.__dict__[name] = found
        return found


def late(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return a pattern for its methods; functions of `re` do not take it.

    Args:
        text: As `re.compile` takes it; a test compiles all of ours.
        flags: Likewise.
    """
    return cast("re.Pattern[str]", _Late(text, flags))


def late_bytes(text: bytes, flags: int = 0) -> re.Pattern[bytes]:
    """Return a pattern for bytes; see `late`."""
    return cast("re.Pattern[bytes]", _Late(text, flags))  # type: ignore[arg-type]

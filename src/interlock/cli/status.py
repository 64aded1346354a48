"""The exit statuses, in one table made from the error classes, so that code and documentation cannot part."""

from __future__ import annotations

from dataclasses import dataclass

from interlock import errors
from interlock.errors import InterlockError

SUCCESS = 0
CHANGES = 2


@dataclass(frozen=True, slots=True)
class Status:
    """One exit status: its number, stable code and meaning."""

    exit: int
    code: str
    meaning: str


def table() -> list[Status]:
    """Return every exit status in numeric order."""
    own = [
        Status(SUCCESS, "success", "success, no changes (plan, drift); success (everything else)"),
        Status(CHANGES, "changes", "success with changes (`plan`, `drift` with --detailed-exitcode)"),
    ]
    families = [InterlockError, *(value for value in vars(errors).values() if _is_family(value))]
    return sorted(own + [Status(f.exit_status, f.code, f.meaning) for f in families], key=lambda status: status.exit)


def _is_family(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, InterlockError) and value is not InterlockError

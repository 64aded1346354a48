"""Identifiers that count instead of drawing lots."""

from __future__ import annotations

from datetime import datetime

from interlock.ids import run_id


class CountingIds:
    """`Ids` whose answers are 1, 2, 3 and so on, spelled in the form that real ones have."""

    def __init__(self) -> None:
        self._count = 0

    def fresh(self) -> str:
        """See `Ids.fresh`."""
        return f"{self._next():026d}"

    def run(self, at: datetime) -> str:
        """See `Ids.run`."""
        return run_id(at, self._next())

    def secret(self) -> str:
        """See `Ids.secret`. Anybody can guess it."""
        return f"secret-{self._next():036d}"

    def _next(self) -> int:
        self._count += 1
        return self._count

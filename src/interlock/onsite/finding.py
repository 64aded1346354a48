"""Is a root module's state one that stays where it is, and under which name does it queue?

Imported by every run's front end, so what only such a state needs is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.disk import DiskTree
from interlock.errors import UsageError
from interlock.hcl import find_backend

if TYPE_CHECKING:
    from interlock.existing import Found

SUPPORTED = frozenset({"s3"})
"""Backend types on which runs can be made without moving the state."""


def find_site(directory: Path, environ: Mapping[str, str], extra: Sequence[str] = ()) -> Found | None:
    """Return a root module's own backend when runs are made on it as it is; None for Interlock's own backend.

    Raises:
        UsageError: See `state_of`.
    """
    declared = find_backend(DiskTree(), str(directory))
    if declared is None or declared.type == "http":
        return None
    from interlock.existing.discovery import find

    found = find(DiskTree(), str(directory), environ, extra)
    state_of(found)
    return found


def state_of(found: Found) -> str:
    """Return the name under which a found backend's state queues.

    Raises:
        UsageError: The backend is incomplete, or runs cannot use it.
    """
    if found.type not in SUPPORTED:
        raise UsageError(
            f'runs cannot use backend "{found.type}" yet',
            why=f"runs work on Interlock's own backend and on {', '.join(sorted(SUPPORTED))}",
            fix="terraform state pull > state.json; interlock state push state.json; remove the backend block",
        )
    from interlock.existing.s3 import place_of
    from interlock.onsite.naming import name_of

    return name_of(found.type, place_of(found).path)

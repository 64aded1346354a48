"""From a root module to its backend. A hand: it opens what discovery found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interlock.clock import Clock
from interlock.errors import UsageError
from interlock.existing.interface import ExistingBackend, Found
from interlock.ids import Ids


async def open_backend(found: Found, directory: Path, *, clock: Clock, ids: Ids) -> ExistingBackend:
    """Open the backend that `discovery.find` found for `directory`; close it afterwards.

    Raises:
        UsageError: Settings are missing, or this version does not know the backend.
    """
    del clock, ids
    raise UsageError(f'backend "{found.type}" is not known', why=str(directory), fix="interlock doctor")


async def open_for(
    directory: Path, environ: Mapping[str, str], extra: tuple[str, ...] = (), *, clock: Clock, ids: Ids
) -> ExistingBackend:
    """Find and open the backend of a root module.

    Args:
        directory: The root module.
        environ: The user's environment.
        extra: Flags for Terraform, among which `-backend-config` may be.
        clock: For back-off.
        ids: For chance.
    """
    del environ, extra
    return await open_backend(Found(type="unknown"), directory, clock=clock, ids=ids)

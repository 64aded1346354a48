"""From a root module to its backend. A hand: it opens what discovery found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interlock.clock import Clock
from interlock.disk import DiskTree
from interlock.errors import UsageError
from interlock.existing.discovery import find
from interlock.existing.interface import ExistingBackend, Found
from interlock.ids import Ids

OPENED = ("s3", "local")
"""Backend types that `open_backend` knows."""


async def open_backend(found: Found, directory: Path, *, clock: Clock, ids: Ids) -> ExistingBackend:
    """Open the backend that `discovery.find` found for `directory`; close it afterwards.

    Raises:
        UsageError: Settings are missing, or this version does not know the backend.
    """
    match found.type:
        case "s3":
            from interlock.existing.s3 import open_s3

            return await open_s3(found, clock=clock, ids=ids)
        case "local":
            from interlock.existing.local import LocalBackend, path_of

            return LocalBackend(path_of(found, directory), found=found)
        case _:
            raise UsageError(
                f'this version of Interlock does not know backend "{found.type}"',
                why=f"it knows {', '.join(OPENED)}",
                fix="interlock doctor",
            )


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
    return await open_backend(find(DiskTree(), str(directory), environ, extra), directory, clock=clock, ids=ids)

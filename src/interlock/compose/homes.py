"""The home in which a command works: opened here, from settings and environment, and passed to whoever works in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.home.embedded import check_own, open_home, read_settings

if TYPE_CHECKING:
    from interlock.home.interface import Home, Told
    from interlock.settings.values import Settings


@asynccontextmanager
async def at_home(
    environ: Mapping[str, str], *, directory: Path | None = None, make: bool = True, told: Told | None = None
) -> AsyncIterator[Home]:
    """Open the home of a command for as long as the context lasts.

    Args:
        environ: The environment of the command.
        directory: Whose settings hold; None for the current folder.
        make: Make the home when there is none yet. Commands that only look say False, and see an empty one.
        told: Hears of each decision that is written down.

    Raises:
        UsageError: See `read_settings`.
    """
    settings = read_settings(environ, directory)
    async with open_home(settings, make=make, environ=environ, told=told) as home:
        yield home


def settings_here(environ: Mapping[str, str], directory: Path | None = None) -> Settings:
    """Return the settings that hold for a command that needs no open home.

    Raises:
        UsageError: See `read_settings`.
    """
    return read_settings(environ, directory)


def check_home_is_ours(settings: Settings, environ: Mapping[str, str]) -> None:
    """Refuse a home that others may write to, where settings were read by other means.

    Raises:
        UsageError: See `interlock.home.embedded.check_own`.
    """
    check_own(settings, environ)

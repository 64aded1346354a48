"""What `interlock doctor` examines, with the settings and the home that it examines."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.compose.homes import open_home
from interlock.errors import InterlockError
from interlock.home.embedded import read_settings
from interlock.operate.doctor import Checked, check_folder, examine_surroundings, failed
from interlock.operate.mending import mend

if TYPE_CHECKING:
    from interlock.home.interface import Home


async def examine(directory: Path, environ: Mapping[str, str], *, fix: bool = False) -> tuple[list[Checked], list[str]]:
    """Look at everything around a run in one root module; settings that cannot be read are the one thing found then.

    Args:
        directory: The root module.
        environ: The environment of a run.
        fix: Do what can be done without a decision, and look again.

    Returns:
        What was found, and what was done.

    Raises:
        UsageError: There is no such folder.
    """
    check_folder(directory)
    try:
        settings = read_settings(environ, directory)
    except InterlockError as error:
        return [failed("settings", error)], []

    def opened(*, make: bool) -> AbstractAsyncContextManager[Home]:
        return open_home(settings, make=make)

    rows = await examine_surroundings(directory, settings, opened, environ)
    done = await mend(rows, directory, settings, opened) if fix else []
    return (await examine_surroundings(directory, settings, opened, environ) if done else rows), done

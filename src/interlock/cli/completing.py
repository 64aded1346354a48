"""What a shell offers for a state or a run: names that this home knows. It makes nothing and never fails."""

from __future__ import annotations

import os
from contextlib import suppress


def states(incomplete: str) -> list[str]:
    """Return the names of states that begin so; folders are offered by the shell itself."""
    with suppress(Exception):  # a traceback in the middle of somebody's line helps nobody
        import asyncio  # every command imports this module, and few complete a word

        return [name for name in asyncio.run(_states()) if name.startswith(incomplete)]
    return []


def runs(incomplete: str) -> list[str]:
    """Return the ids of the newest runs that begin so."""
    with suppress(Exception):
        from interlock.compose.homes import settings_here
        from interlock.run.summary import recent

        found = [summary.run for summary in recent(settings_here(os.environ).runs, limit=50)]
        return [run for run in ("latest", *found) if run.startswith(incomplete)]
    return []


async def _states() -> list[str]:
    from interlock.compose.homes import at_home

    async with at_home(os.environ, make=False) as home:
        own = [view.state for view in await home.coordinator.states()]
        return sorted({*own, *(known.queue for known in await home.states.all()), *home.settings.states})

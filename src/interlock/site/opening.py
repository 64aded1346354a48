"""The queue of a state, opened wherever it is. A hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.errors import BackendUnavailable, UsageError, command
from interlock.site.ref import Existing, StateRef

if TYPE_CHECKING:
    from interlock.coordinator import Coordinator
    from interlock.home.interface import Home
    from interlock.home.known import KnownState
    from interlock.site.existing import Site


@asynccontextmanager
async def open_queue(ref: StateRef, home: Home, *, is_use: bool = True) -> AsyncIterator[Coordinator]:
    """Open the queue of a state for as long as the context lasts, and remember where it is.

    Args:
        ref: The state.
        home: Where it is remembered. A home that cannot be written keeps nobody from a queue that is not in it.
        is_use: Somebody asks for this very state; a list of all does not count, or no state would ever be forgotten.

    Raises:
        UsageError: The state is on a backend beside which no queue can be kept.
    """
    if ref.is_own:
        yield home.coordinator
        return
    if not has_queue(ref):
        raise UsageError(
            f'a state on backend "{ref.found.type}" has no queue',
            why="Interlock keeps queues on its own backend and beside s3",
            fix=command("lock", "show", ref.root_module),
        )
    async with open_site_of(ref, home) as site:
        if is_use:
            with suppress(BackendUnavailable):
                await remember(ref, home)
        yield site.coordinator


def has_queue(ref: StateRef) -> bool:
    """Say whether a state has a queue: our own has, and those elsewhere beside which one can be kept."""
    from interlock.site.finding import SUPPORTED

    return ref.is_own or ref.found.type in SUPPORTED


def open_site_of(ref: StateRef, home: Home) -> AbstractAsyncContextManager[Site]:
    """Open a state that stays where it is, with its queue."""
    from interlock.site.existing import open_site

    return open_site(ref.found, ref.root_module, clock=home.clock, ids=home.ids)


async def plan_hint(ref: StateRef, home: Home) -> str:
    """Return what a person types to plan a state, wherever that person stands; it runs as printed.

    A state that was named alone is planned in the folder that it was used from last.
    """
    if not has_queue(ref):
        from interlock.foreign_text import shell_word

        return f"terraform {shell_word(f'-chdir={ref.root_module}')} plan"
    folder = ref.directory or await _last_folder(ref, home)
    named = ("--state", ref.queue) if ref.is_own else ()
    if folder is None:
        return f"{command('plan', *named)}    in the folder of its root module"
    return command("plan", folder, *named)


async def _last_folder(ref: StateRef, home: Home) -> Path | None:
    known = await home.known(ref.queue)
    folders = (Path(folder) for folder in (known.folders if known is not None else ()))
    return next((folder for folder in folders if folder.is_dir()), None)


async def remember(ref: StateRef, home: Home) -> None:
    """Write down that a state was worked with, so that its queue's name leads to it from now on."""
    await home.states.remember(await asyncio.to_thread(known_of, ref, home))  # it asks git


def known_of(ref: StateRef, home: Home) -> KnownState:
    """Return what is remembered of a state."""
    from interlock.home.known import KnownState
    from interlock.site.identity import identities_of

    where = ref.where
    identity = identities_of(ref.directory) if ref.directory is not None else None
    return KnownState(
        queue=ref.queue,
        address=ref.address,
        type=where.found.type if isinstance(where, Existing) else "",
        workspace=where.found.workspace if isinstance(where, Existing) else "default",
        stores=(ref.store,),
        flags=where.flags if isinstance(where, Existing) else (),
        folders=(str(ref.directory),) if ref.directory is not None else (),
        repositories=identity.repositories if identity is not None else (),
        module=identity.module if identity is not None else "",
        seen_at=home.clock.now(),
    )

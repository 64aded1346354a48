"""A state, opened wherever it is: the one way from a reference to its queue, versions and locks. A hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.errors import BackendUnavailable, command
from interlock.site.ref import Existing, StateRef

if TYPE_CHECKING:
    from interlock.coordinator import Coordinator
    from interlock.gateway.sharing import LedgerPlace
    from interlock.home.interface import Home
    from interlock.home.known import KnownState
    from interlock.recovery.breaker import Breaker
    from interlock.site.interface import Site


@asynccontextmanager
async def open_site(ref: StateRef, home: Home, subject: str = "") -> AsyncIterator[Site]:
    """Open a state for as long as the context lasts.

    Args:
        ref: The state.
        home: Where its queue is when it is ours, and in any case our runs, copies and decisions.
        subject: What a person named, for hints; the name of its queue by default.

    Raises:
        UsageError: Settings of its backend are missing, or this version does not know the backend.
    """
    if ref.is_own:
        from interlock.site.own import OwnSite

        yield OwnSite(ref, home)
        return
    from interlock.site.existing import open_existing

    async with open_existing(ref, home, subject or ref.queue) as site:
        yield site


@asynccontextmanager
async def open_meant(
    text: str, home: Home, environ: Mapping[str, str], *, must_be_known: bool = False
) -> AsyncIterator[Site]:
    """Open the state that a person names for as long as the context lasts.

    Args:
        text: What the person typed.
        home: Where it is looked up.
        environ: Says where backends are.
        must_be_known: It is only looked at, so a name under which nothing ever was is a typo.

    Raises:
        UsageError: No state can be meant, it cannot be opened, or the key of the audit log is none.
    """
    from interlock.site.which import check_heard_of, resolve

    ref = await resolve(text, home, environ)
    if must_be_known:
        await check_heard_of(ref, home)
    async with open_site(ref, home, text) as site:
        yield site


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
    from interlock.site.kinds import Can, check_can

    check_can(ref, Can.QUEUE, ref.queue)
    async with open_site(ref, home) as site:
        if is_use and not ref.is_own:
            with suppress(BackendUnavailable):
                await remember(ref, home)
        yield queue_of(site)


def queue_of(site: Site) -> Coordinator:
    """Return the queue of a state that has one; see `Can.QUEUE`."""
    assert site.coordinator is not None, f"{site.ref.address} has no queue"
    return site.coordinator


def budgets_of(site: Site) -> LedgerPlace | None:
    """Return where runs on other machines share an organisation's limits with those here; None for nowhere but home."""
    from interlock.site.existing import ExistingSite

    queue = site.queue if isinstance(site, ExistingSite) else None
    return None if queue is None else queue.budgets()


def breaker_of(site: Site) -> Breaker:
    """Return what recovers the locks of dead runs on a state that has a queue."""
    from interlock.recovery.breaker import Breaker
    from interlock.site.broken import log_of

    home = site.home
    log = log_of(home, site.ref.address, is_own=site.ref.is_own)
    return Breaker(coordinator=queue_of(site), leftovers=site.leftovers, clock=home.clock, by=home.me, log=log)


async def plan_hint(ref: StateRef, home: Home) -> str:
    """Return what a person types to plan a state, wherever that person stands; it runs as printed.

    A state that was named alone is planned in the folder that it was used from last.
    """
    from interlock.site.kinds import has_queue

    if not has_queue(ref):
        from interlock.foreign_text import shell_word

        return f"terraform {shell_word(f'-chdir={ref.root_module}')} plan"
    folder = ref.directory or await last_folder(ref, home)
    named = ("--state", ref.queue) if ref.is_own else ()
    if folder is None:
        return f"{command('plan', *named)}    in the folder of its root module"
    return command("plan", folder, *named)


async def last_folder(ref: StateRef, home: Home) -> Path | None:
    """Return the root module from which a state was worked with last; None when none is known, or it is gone."""
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

"""`interlock hook`: whose comments on pull requests decide requests, by a server's store or at the server itself."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from interlock.compose.homes import settings_here
from interlock.compose.tokens import at_server, is_at_server
from interlock.errors import BackendUnavailable, command
from interlock.home.embedded import open_home

if TYPE_CHECKING:
    from interlock.api.hooks import MadeHook, NewHook, ToldHook, ToldHooks
    from interlock.home.embedded import EmbeddedHome
    from interlock.server.api.table import AnyEndpoint
    from interlock.server.hooks.endpoints import HookKeeper


def hook_keeper(home: EmbeddedHome) -> HookKeeper:
    """Return what keeps the hooks of a store."""
    from interlock.server.hooks.book import HookBook
    from interlock.server.hooks.endpoints import HookKeeper

    return HookKeeper(HookBook(home.store, home.clock, home.ids), home.audit, clock=home.clock)


def hook_rows(home: EmbeddedHome, keeper: HookKeeper) -> list[AnyEndpoint]:
    """Return the rows of the API about hooks."""
    from interlock.server.hooks.book import HeardComments, HookBook
    from interlock.server.hooks.endpoints import hook_endpoints
    from interlock.server.hooks.hearing import Hearing

    book = HookBook(home.store, home.clock, home.ids)
    return hook_endpoints(keeper, Hearing(book, HeardComments(home.store.records), home))


@asynccontextmanager
async def _keeper(store: str | None) -> AsyncIterator[tuple[HookKeeper, EmbeddedHome]]:
    async with open_home(settings_here(os.environ), environ=os.environ, store=store) as home:
        yield hook_keeper(home), home


async def add(store: str | None, asked: NewHook) -> tuple[MadeHook, str]:
    """Make a hook; return it with its secret, which is told this once, and the server's address where it is known.

    Raises:
        UsageError: See `HookBook.add`.
        BackendUnavailable: The server gave no answer.
    """
    from interlock.api.hooks import MadeHook

    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            try:
                made: MadeHook = await line.ask_for(MadeHook, "POST", "/hooks", sends=asked, attempts=1)
            except BackendUnavailable as error:
                raise _perhaps_made(error, asked.name) from error
            return made, _server()
    async with _keeper(store) as (keeper, home):
        return await keeper.add(asked, by=home.me), ""


def _server() -> str:
    return settings_here(os.environ).server or ""


def _perhaps_made(error: BackendUnavailable, name: str) -> BackendUnavailable:
    """Return what to say when the answer was lost: the hook may be there, and nobody has its secret."""
    return BackendUnavailable(
        "whether the hook was made is not known",
        why=f"{error.what}: {error.why}" if error.why else error.what,
        fix=f"{command('hook', 'ls')}    shows it if it was made; then: {command('hook', 'rotate', name)}",
    )


async def rotate(store: str | None, name: str) -> tuple[MadeHook, str]:
    """Give a hook another secret, which is told this once; return the server's address too.

    Raises:
        UsageError: There is none of this name.
    """
    from interlock.api.hooks import MadeHook

    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            made: MadeHook = await line.ask_for(MadeHook, "POST", "/hooks/secret", {"name": name}, attempts=1)
            return made, _server()
    async with _keeper(store) as (keeper, home):
        return await keeper.rotate(name, by=home.me), ""


async def change(store: str | None, name: str, *, states: str | None, persons: dict[str, str] | None) -> ToldHook:
    """Let a hook be for other states or persons.

    Args:
        store: The address of the store.
        name: Of the hook.
        states: A glob over the states; None for those that it is for.
        persons: All of those who may decide; None for those who may.

    Raises:
        UsageError: There is none of this name, or they are not usable.
    """
    from interlock.api.hooks import ChangedHook, ToldHook

    asked = ChangedHook(states=states, persons=persons)
    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            told: ToldHook = await line.ask_for(ToldHook, "PUT", "/hooks", {"name": name}, sends=asked)
            return told
    async with _keeper(store) as (keeper, home):
        return await keeper.change(name, asked, by=home.me)


async def list_hooks(store: str | None) -> ToldHooks:
    """Return all hooks, without their secrets."""
    from interlock.api.hooks import ToldHooks

    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            told: ToldHooks = await line.ask_for(ToldHooks, "GET", "/hooks")
            return told
    async with _keeper(store) as (keeper, _):
        return await keeper.all()


async def remove(store: str | None, name: str) -> None:
    """Take a hook away.

    Raises:
        UsageError: There is none of this name.
    """
    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            await line.ask("DELETE", "/hooks", {"name": name}, attempts=1)
            return
    async with _keeper(store) as (keeper, home):
        await keeper.remove(name, by=home.me)

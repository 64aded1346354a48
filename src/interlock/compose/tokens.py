"""`interlock token`: who may use a server, by its store or, where the settings name one, at the server itself."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import msgspec

from interlock.compose.homes import at_home, settings_here
from interlock.errors import BackendUnavailable, UsageError, command
from interlock.home.embedded import open_home
from interlock.persons import Party, machine_account
from interlock.rights import Role

if TYPE_CHECKING:
    from interlock.home.embedded import EmbeddedHome
    from interlock.home.line import Line
    from interlock.home.server import ServerHome
    from interlock.rights.book import TokenBook
    from interlock.server.identity.endpoints import TokensTold, TokenTold


def is_at_server(store: str | None, environ: Mapping[str, str]) -> bool:
    """Say whether a command about tokens or trust speaks to a server: one is named, and no store is."""
    return store is None and settings_here(environ).server is not None


@asynccontextmanager
async def at_server(environ: Mapping[str, str]) -> AsyncIterator[Line]:
    """Open the way to the server that the settings name."""
    async with at_home(environ) as home:
        yield cast("ServerHome", home).line


@asynccontextmanager
async def _book(store: str | None, environ: Mapping[str, str]) -> AsyncIterator[tuple[TokenBook, EmbeddedHome]]:
    from interlock.rights.book import TokenBook

    async with open_home(settings_here(environ), environ=environ, store=store) as home:
        yield TokenBook(home.store.records, home.clock, home.ids), home


async def create(
    store: str | None, role: Role, *, states: str, note: str, lifetime_s: float | None, person: Sequence[str] = ()
) -> tuple[TokenTold, str]:
    """Make a token; return it and its whole text, which is told this once.

    Raises:
        InterlockError: See `TokenBook.create` and `open_home`; at a server what it refuses.
    """
    from interlock.server.identity.endpoints import TokenMade, TokenWanted, made_token, told_token

    wanted = TokenWanted(role=role, states=states, note=note, lasts_s=lifetime_s, person=list(person))
    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            # Once: a token whose answer was lost is one that nobody knows; a second one would hide it.
            try:
                made: TokenMade = await line.ask_for(
                    TokenMade, "POST", "/tokens", body=msgspec.json.encode(wanted), attempts=1
                )
            except BackendUnavailable as error:
                raise _perhaps_made(error) from error
            return made.about, made.token
    async with _book(store, os.environ) as (book, home):
        made_with = Party(accounts=(machine_account(home.person),))
        token, text = await made_token(book, home.audit, wanted, by=home.me, made_with=made_with)
        return told_token(token), text.whole()


def _perhaps_made(error: BackendUnavailable) -> BackendUnavailable:
    """Return what to say when the answer was lost: the token may be good, and nobody has it."""
    return BackendUnavailable(
        "whether the token was made is not known",
        why=f"{error.what}: {error.why}" if error.why else error.what,
        fix=f"{command('token', 'ls')}    shows it, new and never used, if it was made; `token revoke` ends it",
    )


def _store_words(store: str | None, home: EmbeddedHome) -> tuple[str, ...]:
    """Return how a command names the store, without its password."""
    place: Any = getattr(home.store, "place", None)
    return () if store is None else ("--store", store if place is None else place.shown)


async def list_tokens(store: str | None) -> TokensTold:
    """Return all tokens."""
    from interlock.server.identity.endpoints import TokensTold, told_token

    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            told: TokensTold = await line.ask_for(TokensTold, "GET", "/tokens")
            return told
    async with _book(store, os.environ) as (book, _):
        found = await book.all()
        return TokensTold(tokens=list(map(told_token, found.tokens)), unreadable=list(found.unreadable))


async def revoke(store: str | None, token_id: str) -> TokenTold:
    """End a token.

    Raises:
        UsageError: There is none.
    """
    from interlock.server.identity.endpoints import TokenTold, revoked_token, told_token

    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            told: TokenTold = await line.ask_for(TokenTold, "POST", "/tokens/revoke", {"id": token_id})
            return told
    async with _book(store, os.environ) as (book, home):
        try:
            return told_token(await revoked_token(book, home.audit, token_id, by=home.me))
        except UsageError as error:
            error.fix = command("token", "ls", *_store_words(store, home))
            raise

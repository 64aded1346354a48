"""`interlock token`: who may use a server, by its store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from interlock.errors import UsageError, command
from interlock.home.embedded import open_home, read_settings
from interlock.rights import Role, Token

if TYPE_CHECKING:
    from interlock.home.embedded import EmbeddedHome
    from interlock.rights.book import TokenBook, TokenList


@asynccontextmanager
async def _book(store: str | None, environ: Mapping[str, str]) -> AsyncIterator[tuple[TokenBook, EmbeddedHome]]:
    from interlock.rights.book import TokenBook

    async with open_home(read_settings(environ), environ=environ, store=store) as home:
        yield TokenBook(home.store.records, home.clock, home.ids), home


async def create(
    store: str | None, role: Role, *, states: str, note: str, lifetime_s: float | None
) -> tuple[Token, str]:
    """Make a token; return it and its whole text, which is told this once.

    Raises:
        InterlockError: See `TokenBook.create` and `open_home`.
    """
    async with _book(store, os.environ) as (book, home):
        lifetime = None if lifetime_s is None else timedelta(seconds=lifetime_s)
        token, text = await book.create(role, states=states, note=note, by=home.me, lifetime=lifetime)
        facts = {"role": role.value, "states": states, "note": note, "expires": str(token.expires_at or "never")}
        await home.audit.append("token-created", subject=token.id, by=home.me, facts=facts)
        return token, text.whole()


def _store_words(store: str | None, home: EmbeddedHome) -> tuple[str, ...]:
    """Return how a command names the store, without its password."""
    place = getattr(home.store, "place", None)
    return () if store is None else ("--store", store if place is None else place.shown)


async def list_tokens(store: str | None) -> TokenList:
    """Return all tokens."""
    async with _book(store, os.environ) as (book, _):
        return await book.all()


async def revoke(store: str | None, token_id: str) -> Token:
    """End a token.

    Raises:
        UsageError: There is none.
    """
    async with _book(store, os.environ) as (book, home):
        try:
            token = await book.revoke(token_id)
        except UsageError as error:
            error.fix = command("token", "ls", *_store_words(store, home))
            raise
        await home.audit.append("token-revoked", subject=token.id, by=home.me, facts={"role": token.role.value})
        return token

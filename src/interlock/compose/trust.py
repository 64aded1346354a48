"""`interlock trust`: which CI jobs get tokens of a server, by its store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from interlock.home.embedded import open_home, read_settings

if TYPE_CHECKING:
    from interlock.home.embedded import EmbeddedHome
    from interlock.server.identity.records import RuleList, TrustBook
    from interlock.server.identity.rules import TrustRule


@asynccontextmanager
async def _book(store: str | None) -> AsyncIterator[tuple[TrustBook, EmbeddedHome]]:
    from interlock.server.identity.records import TrustBook

    async with open_home(read_settings(os.environ), environ=os.environ, store=store) as home:
        yield TrustBook(home.store.records), home


async def add(store: str | None, rule: TrustRule) -> tuple[TrustRule, tuple[str, ...]]:
    """Add a rule; return it, and what the operator should know about it.

    Raises:
        InterlockError: See `TrustBook.add` and `open_home`.
    """
    from interlock.server.identity.endpoints import added_rule
    from interlock.server.identity.rules import warnings_of

    async with _book(store) as (book, home):
        now = home.clock.now()
        added = await added_rule(book, home.audit, replace(rule, made_by=home.me, made_at=now))
        return added, warnings_of(added, now)


async def list_rules(store: str | None) -> RuleList:
    """Return all rules."""
    async with _book(store) as (book, _):
        return await book.all()


async def remove(store: str | None, name: str) -> None:
    """Take a rule away.

    Raises:
        UsageError: There is none.
    """
    from interlock.server.identity.endpoints import removed_rule

    async with _book(store) as (book, home):
        await removed_rule(book, home.audit, name, by=home.me)

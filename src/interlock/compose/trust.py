"""`interlock trust`: which CI jobs and people get tokens of a server, by its store or at the server itself."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from interlock.compose.homes import settings_here
from interlock.compose.tokens import at_server, is_at_server
from interlock.home.embedded import open_home

if TYPE_CHECKING:
    from interlock.home.embedded import EmbeddedHome
    from interlock.server.identity.records import RuleList, TrustBook
    from interlock.server.identity.rules import TrustRule


@asynccontextmanager
async def _book(store: str | None) -> AsyncIterator[tuple[TrustBook, EmbeddedHome]]:
    from interlock.server.identity.records import TrustBook

    async with open_home(settings_here(os.environ), environ=os.environ, store=store) as home:
        yield TrustBook(home.store.records), home


async def add(store: str | None, rule: TrustRule) -> tuple[TrustRule, tuple[str, ...]]:
    """Add a rule; return it, and what the operator should know about it.

    Raises:
        InterlockError: See `TrustBook.add` and `open_home`.
    """
    from interlock.server.identity.endpoints import RuleTold, RuleWanted, added_rule
    from interlock.server.identity.rules import warnings_of

    if is_at_server(store, os.environ):
        wanted = RuleWanted(
            name=rule.name,
            platform=rule.platform,
            issuer=rule.issuer,
            claims={name: list(values) for name, values in rule.claims.items()},
            role=rule.role,
            states=rule.states,
            accounts=list(rule.accounts),
        )
        async with at_server(os.environ) as line:
            # Once: repeated, a rule that was added would be refused as one that is there already.
            told: RuleTold = await line.ask_for(
                RuleTold, "POST", "/trust", body=msgspec.json.encode(wanted), attempts=1
            )
            return told.rule, tuple(told.warnings)
    async with _book(store) as (book, home):
        now = home.clock.now()
        added = await added_rule(book, home.audit, replace(rule, made_by=home.me, made_at=now))
        return added, warnings_of(added, now)


async def list_rules(store: str | None) -> RuleList:
    """Return all rules."""
    from interlock.server.identity.endpoints import RulesTold
    from interlock.server.identity.records import RuleList

    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            told: RulesTold = await line.ask_for(RulesTold, "GET", "/trust")
            return RuleList(rules=tuple(each.rule for each in told.rules), unreadable=tuple(told.unreadable))
    async with _book(store) as (book, _):
        return await book.all()


async def remove(store: str | None, name: str) -> None:
    """Take a rule away.

    Raises:
        UsageError: There is none.
    """
    from interlock.server.identity.endpoints import removed_rule

    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            await line.ask("DELETE", "/trust", {"name": name}, attempts=1)
            return
    async with _book(store) as (book, home):
        await removed_rule(book, home.audit, name, by=home.me)

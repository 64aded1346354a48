"""`interlock organisation`: the organisations of a server, by its store or, where settings name one, at the server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from interlock.compose.tokens import at_server, is_at_server
from interlock.errors import UsageError
from interlock.home.embedded import open_home, read_settings

if TYPE_CHECKING:
    from interlock.api.organisations import NewClient, NewOrganisation, ToldOrganisation, ToldOrganisations
    from interlock.home.embedded import EmbeddedHome
    from interlock.server.gateway.endpoints import OrganisationKeeper


@asynccontextmanager
async def _keeper(store: str | None) -> AsyncIterator[tuple[OrganisationKeeper, EmbeddedHome]]:
    from interlock.server.gateway.book import OrganisationBook
    from interlock.server.gateway.endpoints import OrganisationKeeper

    async with open_home(read_settings(), environ=os.environ, store=store) as home:
        yield OrganisationKeeper(OrganisationBook(home.store, home.clock), home.audit), home


async def add(
    store: str | None, asked: NewOrganisation, *, upstream: tuple[str, str] | None, check: bool
) -> ToldOrganisation:
    """Keep an organisation.

    Args:
        store: The address of the store.
        asked: What to keep.
        upstream: See `Organisation.upstream`.
        check: Log in with the OAuth client first.

    Raises:
        UsageError: See `OrganisationBook.add`.
        AuthenticationFailed: The login service refused the client.
        BackendUnavailable: It cannot be reached.
    """
    from interlock.api.organisations import ToldOrganisation
    from interlock.server.gateway.endpoints import told_organisation

    if is_at_server(store, os.environ):
        if upstream is not None:
            why = "who administers a server by its API cannot say where it sends secrets"
            raise UsageError("the organisation was not added", why=why, fix="give --store, on the server's machine")
        if check:
            await _try_login(asked, upstream)
        async with at_server(os.environ) as line:
            made: ToldOrganisation = await line.ask_for(ToldOrganisation, "POST", "/organisations", sends=asked)
            return made
    async with _keeper(store) as (keeper, home):
        if check:
            await _try_login(asked, upstream)
        return told_organisation(await keeper.add(asked, by=home.me, upstream=upstream))


async def _try_login(asked: NewOrganisation, upstream: tuple[str, str] | None) -> None:
    from interlock.gateway import Credentials, Secret
    from interlock.gateway.service import Gateway, Terms
    from interlock.server.gateway.organisation import addresses

    api, login = upstream or addresses(asked.region)
    credentials = Credentials(client_id=asked.client_id, secret=Secret(asked.secret))
    gateway = Gateway(Terms(api_url=api, login_url=login, credentials=credentials, tokens=1, runs_only=True))
    await gateway.open()
    try:
        await gateway.check_login()
    finally:
        await gateway.aclose()


async def rotate(store: str | None, name: str, asked: NewClient) -> ToldOrganisation:
    """Replace the OAuth client of an organisation, or its secret.

    Raises:
        UsageError: See `OrganisationBook.rotate`.
    """
    from interlock.api.organisations import ToldOrganisation
    from interlock.server.gateway.endpoints import told_organisation

    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            query = {"name": name}
            done: ToldOrganisation = await line.ask_for(
                ToldOrganisation, "PUT", "/organisations/client", query, sends=asked
            )
            return done
    async with _keeper(store) as (keeper, home):
        return told_organisation(await keeper.rotate(name, asked, by=home.me))


async def remove(store: str | None, name: str) -> None:
    """Forget an organisation.

    Raises:
        UsageError: There is none of this name.
    """
    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            await line.ask("DELETE", "/organisations", {"name": name})
            return
    async with _keeper(store) as (keeper, home):
        await keeper.remove(name, by=home.me)


async def list_organisations(store: str | None) -> ToldOrganisations:
    """Return all organisations, without secrets."""
    from interlock.api.organisations import ToldOrganisations

    if is_at_server(store, os.environ):
        async with at_server(os.environ) as line:
            found: ToldOrganisations = await line.ask_for(ToldOrganisations, "GET", "/organisations")
            return found
    async with _keeper(store) as (keeper, _):
        return await keeper.all()

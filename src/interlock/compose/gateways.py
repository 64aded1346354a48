"""The gateways of `interlock serve`: opened with the server's home, closed with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from interlock.home.embedded import EmbeddedHome
    from interlock.server.api.table import AnyEndpoint
    from interlock.server.gateway.doors import GatewayDoors


@asynccontextmanager
async def open_doors(home: EmbeddedHome) -> AsyncIterator[GatewayDoors]:
    """Open them for as long as the context lasts."""
    from interlock.policy.policy_book import PolicyBook
    from interlock.server.gateway.book import OrganisationBook
    from interlock.server.gateway.doors import GatewayDoors

    book = OrganisationBook(home.store, home.clock)
    doors = GatewayDoors(
        book,
        home.store,
        policies=PolicyBook(home.store.records),
        own=home.coordinator,
        beside=home.beside,
        clock=home.clock,
        ids=home.ids,
    )
    await doors.begin()
    try:
        yield doors
    finally:
        await doors.close()


def gateway_routes(doors: GatewayDoors) -> list[BaseRoute]:
    """Return where calls of runs come in."""
    from starlette.routing import Route

    from interlock.server.gateway.way import MOUNT

    return [Route(f"{MOUNT}/{{path:path}}", doors)]


def endpoints(home: EmbeddedHome, doors: GatewayDoors) -> list[AnyEndpoint]:
    """Return the rows about organisations and their gateways."""
    from interlock.server.gateway.book import OrganisationBook
    from interlock.server.gateway.endpoints import OrganisationKeeper, gateway_endpoints, organisation_endpoints

    keeper = OrganisationKeeper(OrganisationBook(home.store, home.clock), home.audit)
    return [*organisation_endpoints(keeper), *gateway_endpoints(doors)]


async def own_clients(home: EmbeddedHome) -> frozenset[str]:
    """Return the keys of the records that say where the OAuth clients belong which the server keeps itself."""
    from interlock.gateway.identity import known_key
    from interlock.server.gateway.book import OrganisationBook

    kept = await OrganisationBook(home.store, home.clock).all()
    return frozenset(known_key(each.terms.api_url, each.client_id) for each in kept)

"""A run at a server that keeps its organisation's OAuth client: which organisation that is, and the way to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.run.gateway_access import ServerOrganisation, ServersWay
    from interlock.run.order import Order
    from interlock.run.surroundings import Seat


async def find_organisation(order: Order, environ: Mapping[str, str]) -> ServerOrganisation | None:
    """Return the organisation of a run's state whose OAuth client its server keeps; None when there is none.

    Raises:
        InterlockError: The server cannot be asked, or two organisations claim the state.
    """
    if not order.server or not order.gateway:
        return None
    from interlock.api.organisations import ToldGateway
    from interlock.compose.homes import settings_of_run
    from interlock.home.server import open_server_home
    from interlock.run.gateway_access import ServerOrganisation

    async with open_server_home(settings_of_run(order, environ)) as home:
        told: ToldGateway = await home.line.ask_for(ToldGateway, "GET", "/gateway", _query(order))
        if not told.organisation:
            return None
        return ServerOrganisation(name=told.organisation, region=told.region, url=home.line.url)


def asker(order: Order, home: Home) -> Callable[[Seat], Awaitable[ServersWay]] | None:
    """Return what asks a run's server for its way to the organisation; None for a run without a server."""
    from interlock.home.server import ServerHome

    if not isinstance(home, ServerHome):
        return None
    from msgspec.structs import replace

    from interlock.api.organisations import AskedPlaceholder, Placeholder
    from interlock.home.policies import allotment_of
    from interlock.policy.policy import join
    from interlock.run.gateway_access import ServersWay

    line = home.line
    told = allotment_of(join(order.policies, order.state))  # the server knows its own policies itself

    async def ask(seat: Seat) -> ServersWay:
        asked = AskedPlaceholder(ticket=seat.ticket, token=seat.token)
        if told is not None:
            asked = replace(asked, share=told.share, policy=told.policy)
        path = "/gateway/placeholder"
        given: Placeholder = await line.ask_for(Placeholder, "POST", path, _query(order), sends=asked)
        return ServersWay(address=f"{line.url}{given.path}", client_id=given.client_id, secret=given.secret)

    return ask


def _query(order: Order) -> dict[str, object]:
    return {"state": order.state, "beside": True if order.backend else None}

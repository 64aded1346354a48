"""The way of a command, outside any run, to the organisations of a root module: gateways of its own on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.errors import InterlockError
from interlock.ids import RandomIds

if TYPE_CHECKING:
    from interlock.creations.creation import Place
    from interlock.creations.looking import Ask
    from interlock.gateway.service import Gateway
    from interlock.home.interface import Home
    from interlock.run.gateway_access import Need
    from interlock.run.gateway_access.need import Way

_LOGIN_S = 10.0


class Ways:
    """The organisations that can be asked.

    Attributes:
        why_not: Why one or all of them cannot be; empty when all can.
    """

    def __init__(self, opened: list[tuple[Way, Gateway]], why_not: str) -> None:
        self._opened = opened
        self.why_not = why_not

    def ask_for(self, alias: str) -> Ask | None:
        """Return what reads from the organisation of a provider configuration, by its alias."""
        found = (gateway for way, gateway in self._opened if any(login.alias == alias for login in way.logins))
        gateway = next(found, None)
        return None if gateway is None else gateway.read

    def ask_of(self, place: Place) -> Ask | None:
        """Return what reads from an organisation; None when none of the ways leads there."""
        from interlock.run.gateway_access.run_gateway import place_of

        found = (gateway for way, gateway in self._opened if place_of(way).is_same(place))
        gateway = next(found, None)
        return None if gateway is None else gateway.read


@asynccontextmanager
async def open_ways(directory: Path | None, home: Home, environ: Mapping[str, str]) -> AsyncIterator[Ways]:
    """Open the ways of a root module's provider configurations, within the budgets that runs share.

    Args:
        directory: The root module; None when it is not known, so that nobody can be asked.
        home: Where budgets are shared.
        environ: Where the OAuth clients are.
    """
    need = await asyncio.to_thread(_need, directory, home, environ)
    if isinstance(need, str):
        yield Ways([], need)
        return
    opened: list[tuple[Way, Gateway]] = []
    why = "; ".join(need.words)
    async with AsyncExitStack() as stack:
        for way in need.ways:
            if way.terms.credentials is None:
                why = "its OAuth client is known only when a run logs in"
                continue
            try:
                opened.append((way, await _open(way, home, stack)))
            except InterlockError as error:
                why = error.what
        yield Ways(opened, why)


def _need(directory: Path | None, home: Home, environ: Mapping[str, str]) -> Need | str:
    from interlock.run.gateway_access import find_need
    from interlock.site.in_sight import tool_for

    if directory is None:
        return "the root module is not known"
    try:
        settings = home.settings_in(directory, environ)
        return find_need(directory, settings, environ, tool=tool_for(directory, environ, settings.terraform))
    except InterlockError as error:
        return error.what


async def _open(way: Way, home: Home, stack: AsyncExitStack) -> Gateway:
    from interlock.gateway.service import Gateway

    gateway = Gateway(replace(way.terms, tokens=1), ids=RandomIds(), store=home.budgets(""))
    stack.push_async_callback(gateway.aclose)
    await gateway.start("127.0.0.1", 0)
    if trouble := await gateway.check_login(_LOGIN_S):
        raise InterlockError(trouble)
    return gateway

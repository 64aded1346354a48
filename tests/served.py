"""A server on loopback within a test's own process, with the whole way over a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette

from interlock.backend.serving import serving
from interlock.clock import SystemClock
from interlock.home.line import Line
from interlock.rights.callers import SingleToken, Tokens
from interlock.server.api.serving import api_routes
from interlock.server.api.table import AnyEndpoint
from interlock.settings.values import Secret

TOKEN: Final = "the-own-token-of-a-server-in-tests"


@asynccontextmanager
async def served(endpoints: Sequence[AnyEndpoint], tokens: Tokens | None = None) -> AsyncIterator[str]:
    """Serve endpoints for as long as the context lasts; yield the address.

    Args:
        endpoints: The table.
        tokens: Who may ask; by default whoever has `TOKEN`.
    """
    app = Starlette(routes=list(api_routes(endpoints, tokens=tokens or SingleToken(TOKEN), ending=asyncio.Event())))
    async with serving(app, host="127.0.0.1", port=0) as (host, port):
        yield f"http://{host}:{port}"


@asynccontextmanager
async def line_to(url: str, token: str = TOKEN) -> AsyncIterator[Line]:
    """Open the way to a server for as long as the context lasts."""
    line = Line(url, Secret(value=token), SystemClock())
    try:
        yield line
    finally:
        await line.close()

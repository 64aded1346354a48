"""Serves an ASGI application inside a process whose signals mean something else. A hand: uvicorn and a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from interlock.listening.guests import listen
from interlock.listening.http import new_server
from interlock.listening.strangers import names_of


@asynccontextmanager
async def serving(app: ASGIApp, *, host: str, port: int, names: Iterable[str] = ()) -> AsyncIterator[tuple[str, int]]:
    """Serve an application for as long as the context lasts; yield the address it listens on.

    Args:
        app: The application.
        host: Where to listen.
        port: Likewise; 0 takes a free one.
        names: By which clients may address it, besides that of loopback.

    Raises:
        UsageError: The address cannot be listened on, or a name is none.
    """
    listener = listen(host, port, what="the server")
    bound = listener.getsockname()[0]
    server = new_server(app, names=names_of(bound, names), log_config=None, lifespan="on", timeout_graceful_shutdown=2)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = True
        await task
        listener.close()

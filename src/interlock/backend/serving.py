"""Serves an ASGI application inside a process whose signals mean something else. A hand: uvicorn and a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from interlock.listening.guests import listen
from interlock.listening.http import new_server


@asynccontextmanager
async def serving(app: ASGIApp, *, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
    """Serve an application for as long as the context lasts; yield the address it listens on.

    Raises:
        UsageError: The address cannot be listened on.
    """
    listener = listen(host, port, what="the server")
    server = new_server(app, log_config=None, lifespan="on", timeout_graceful_shutdown=2)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = True
        await task
        listener.close()

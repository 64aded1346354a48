"""Serves an ASGI application inside a process whose signals mean something else. A hand: uvicorn and a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from starlette.types import ASGIApp

from interlock.errors import UsageError
from interlock.listening.guests import listen
from interlock.listening.http import new_server
from interlock.listening.strangers import NOTHING, ForBrowsers, names_of


@asynccontextmanager
async def serving(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    names: Iterable[str] = (),
    browsers: ForBrowsers = NOTHING,
    tls: tuple[Path, Path] | None = None,
    linger_s: int = 2,
) -> AsyncIterator[tuple[str, int]]:
    """Serve an application for as long as the context lasts; yield the address it listens on.

    Args:
        app: The application.
        host: Where to listen.
        port: Likewise; 0 takes a free one.
        names: By which clients may address it, besides that of loopback.
        browsers: What is made for browsers.
        tls: Files of the certificate and of its key; None to serve in clear.
        linger_s: Seconds for requests under way when it ends.

    Raises:
        UsageError: The address cannot be listened on, a name is none, or certificate and key cannot be used.
    """
    files = {} if tls is None else _checked(*tls)
    listener = listen(host, port, what="the server")
    bound = listener.getsockname()[0]
    options: dict[str, Any] = {"log_config": None, "lifespan": "on", "timeout_graceful_shutdown": linger_s, **files}
    server = new_server(app, names=replace(names_of(bound, names), browsers=browsers), **options)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = True
        await task
        listener.close()


def _checked(certificate: Path, key: Path) -> dict[str, str]:
    """Return the files as uvicorn wants them, after a look whether they belong together.

    Raises:
        UsageError: They cannot be used.
    """
    import ssl

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            "certificate and key cannot be used",
            why=f"{certificate} and {key}: {error.strerror or type(error).__name__}",
            fix=f"openssl x509 -noout -subject -enddate -in {certificate}",
        ) from error
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}

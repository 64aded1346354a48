"""How the gateway refuses what it does not take in: as JSON like the API that it stands for."""

from __future__ import annotations

import socket

from starlette.types import ASGIApp

from interlock.listening.guests import listen as listen_on
from interlock.listening.http import HEAD_MAX, HEAD_S, HEADERS_MAX, GuardedProtocol, QuietServer
from interlock.listening.http import new_server as new_guarded_server
from interlock.listening.strangers import Names


class ApiProtocol(GuardedProtocol):
    """One connection of a client of the API."""

    def refusal(self, status: int, why: str) -> tuple[bytes, bytes]:
        """See `GuardedProtocol.refusal`."""
        body = b'{"message":"%s","code":"bad.request","status":%d,"details":[],"errors":[]}' % (why.encode(), status)
        return b"application/json", body


def new_server(app: ASGIApp, names: Names) -> QuietServer:
    """Return a server for the proxy, not started; it may be addressed under these names."""
    return new_guarded_server(app, protocol=ApiProtocol, names=names, lifespan="off", log_level="critical")


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises as `guests.listen`."""
    return listen_on(host, port, what="the gateway")


__all__ = ["HEADERS_MAX", "HEAD_MAX", "HEAD_S", "ApiProtocol", "QuietServer", "listen", "new_server"]

"""The HTTP server under the proxy: uvicorn, with the limits on connections and request heads that it does not have.

uvicorn's parser refuses what can be read in two ways (both lengths, bad chunks, control characters in headers); this
class adds: a deadline and a size for the head, a number of connections, and only origin-form request lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from interlock.errors import UsageError

HEAD_MAX = 64 * 1024
"""Longest request head in bytes."""
HEADERS_MAX = 128
"""Most header fields of a request."""
HEAD_S = 10.0
"""Longest time from the first byte of a connection or request to the end of its head."""
CONNECTIONS_MAX = 2048
"""Most connections at once; further ones are closed at once."""
_KEEP_ALIVE_S = 30
_BACKLOG = 2048
_LENGTHS = {b"content-length", b"transfer-encoding"}


class GuardedProtocol(HttpToolsProtocol):
    """One connection of a client that may be hostile."""

    _head_bytes = 0
    _reading_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse(503, "too many connections")
            return
        self._head_timer = self.loop.call_later(HEAD_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the head's bytes before they are parsed."""
        if self._reading_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX and not self._ends_head(data):
                self._refuse(431, "the request head is too long")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A new head begins."""
        super().on_message_begin()
        if not self._reading_head:
            self._reading_head, self._head_bytes = True, 0
            self._stop_timer()
            self._head_timer = self.loop.call_later(HEAD_S, self._head_is_late)

    def on_headers_complete(self) -> None:
        """The head is there: refuse what only a forward proxy or a smuggler would send."""
        self._reading_head = False
        self._stop_timer()
        fault = self._fault()
        if fault:
            raise _BadHead(fault)
        super().on_headers_complete()

    def _fault(self) -> str:
        if not self.url.startswith(b"/"):
            return "the request line must be in origin form"
        lengths = [name for name, _ in self.headers if name in _LENGTHS]
        if len(lengths) > 1:
            return "the length of the body is given twice"
        return "too many headers" if len(self.headers) > HEADERS_MAX else ""

    def _ends_head(self, data: bytes) -> bool:
        """Say whether a large piece is mostly body: its head ends early enough."""
        end = data.find(b"\r\n\r\n")
        return end >= 0 and self._head_bytes - len(data) + end <= HEAD_MAX

    def _head_is_late(self) -> None:
        if self._reading_head and not self.transport.is_closing():
            self._refuse(408, "the request head did not arrive in time")

    def _refuse(self, status: int, why: str) -> None:
        if not self.transport.is_closing():
            body = b'{"message":"%s","code":"bad.request","status":%d,"details":[],"errors":[]}' % (
                why.encode(),
                status,
            )
            head = b"HTTP/1.1 %d \r\ncontent-type: application/json\r\nconnection: close\r\n" % status
            self.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused, as JSON like everything else."""
        self._refuse(400, msg.rstrip("."))


class _BadHead(Exception):
    """Stops the parser; it reports an HttpParserCallbackError, which becomes a 400."""


class QuietServer(uvicorn.Server):
    """A server that leaves signals to its process and says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def new_server(app: ASGIApp) -> QuietServer:
    """Return a server for the proxy, not started."""
    options: dict[str, Any] = {"http": GuardedProtocol, "ws": "none", "lifespan": "off"}
    config = uvicorn.Config(
        app,
        **options,
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        backlog=_BACKLOG,
    )
    return QuietServer(config)


def listen(host: str, port: int) -> socket.socket:
    """Bind an address; port 0 takes a free one.

    Raises:
        UsageError: It cannot be bound.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    listener.setblocking(False)
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> UsageError:
    return UsageError(
        f"the gateway cannot listen on {host}:{port}",
        why=str(error.strerror or error),
        fix="choose another address, or port 0 for a free one",
    )

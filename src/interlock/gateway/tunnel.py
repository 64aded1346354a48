"""A forward proxy for uploads: CONNECT to Genesys Cloud's hosts and its storage, nothing else; counts and passes on.

It asks for no secret, so it listens on loopback alone. A hand; what may pass is decided in `uploads.py`.
"""

from __future__ import annotations

import asyncio
import contextlib

from interlock.gateway.listener import listen
from interlock.gateway.uploads import PORTS, Target, Uploaded, counted, may_tunnel, parse_connect
from interlock.listening.guests import Guests, check_loopback, connections_max

HEAD_MAX = 8 * 1024
"""Longest request head."""
HEAD_S = 10.0
"""Longest time for the head."""
CONNECT_S = 10.0
"""Longest time for the connection to the host."""
IDLE_S = 120.0
"""Longest silence of a tunnel."""
TUNNELS_MAX = 256
"""Most tunnels at once."""
_CHUNK = 64 * 1024


class Tunnel:
    """The forward proxy.

    Args:
        domain: The region's domain; hosts below it may be reached.
        ports: Ports that may be reached.
    """

    def __init__(self, domain: str, *, ports: frozenset[int] = PORTS) -> None:
        self.uploads: dict[str, Uploaded] = {}
        self.refused = 0
        self._domain = domain
        self._ports = ports
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._guests = Guests(min(TUNNELS_MAX, connections_max()))

    async def start(self, host: str, port: int = 0) -> tuple[str, int]:
        """Listen; return the address.

        Raises:
            UsageError: It cannot be bound, or others than this machine would reach it.
        """
        why = "it asks nobody for a secret, so it serves only this machine"
        check_loopback(host, port, what="the upload proxy", why=why, fix="add --count-uploads 127.0.0.1:8182")
        listener = listen(host, port)
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=HEAD_MAX)
        bound = listener.getsockname()
        return bound[0], bound[1]

    async def aclose(self) -> None:
        """Stop, and end every tunnel."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "streams run in tasks"
        self._open.add(task)
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                if self._guests.enter(task, writer.transport.abort):
                    await self._serve(task, reader, writer)
                else:
                    await self._refuse(writer, b"503 Service Unavailable")
        finally:
            self._open.discard(task)
            self._guests.leave(task)
            writer.close()

    async def _serve(self, guest: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
        target = parse_connect(head)
        if target is None or not may_tunnel(target, domain=self._domain, ports=self._ports):
            await self._refuse(writer, b"403 Forbidden")
        else:
            self._guests.begin(guest)
            await self._join(target, reader, writer)

    async def _refuse(self, writer: asyncio.StreamWriter, status: bytes) -> None:
        self.refused += 1
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()

    async def _join(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                far_reader, far_writer = await asyncio.open_connection(target.host, target.port)
        except (OSError, TimeoutError):
            await self._refuse(writer, b"502 Bad Gateway")
            return
        counted(self.uploads, target.host, connections=1)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        up = asyncio.create_task(self._pass(reader, far_writer, target.host, is_up=True))
        down = asyncio.create_task(self._pass(far_reader, writer, target.host, is_up=False))
        try:
            await asyncio.wait({up, down})
        finally:
            up.cancel()
            down.cancel()
            far_writer.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, *, is_up: bool
    ) -> None:
        """Pass bytes on until the end, an error, or `IDLE_S` of silence; then close this direction."""
        with contextlib.suppress(OSError, TimeoutError):
            while True:
                async with asyncio.timeout(IDLE_S):
                    chunk = await reader.read(_CHUNK)
                    if not chunk:
                        break
                    writer.write(chunk)
                    await writer.drain()
                counted(self.uploads, host, up_bytes=len(chunk) * is_up, down_bytes=len(chunk) * (not is_up))
        with contextlib.suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()

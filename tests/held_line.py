"""A TCP relay for tests that can stop to forward, as a firewall or a vanished machine does: half-open connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class HeldLine:
    """Forwards to a port of loopback.

    Attributes:
        port: Where it listens.
        flows: Cleared, everything that was sent stays here, and the connections stay open.
    """

    def __init__(self, to: int) -> None:
        self.port = 0
        self.flows = asyncio.Event()
        self.flows.set()
        self._to = to
        self._tasks: set[asyncio.Task[None]] = set()

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        ways = [self._forward(reader, far_writer), self._forward(far_reader, writer)]
        tasks = {asyncio.ensure_future(way) for way in ways}
        self._tasks |= tasks
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (writer, far_writer):
            end.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self.flows.wait()
                writer.write(data)
                await writer.drain()

    def cut(self) -> None:
        """End what is still under way."""
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def held_line(to: int) -> AsyncIterator[HeldLine]:
    """Serve a relay to a port of loopback for as long as the context lasts."""
    line = HeldLine(to)
    server = await asyncio.start_server(line.attend, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        line.cut()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)  # the handlers end

"""A load balancer for tests: each new connection goes to the next server that takes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Balancer:
    """Spreads connections.

    Attributes:
        port: Where it listens.
        backends: Ports of the servers; may be changed at any time.
    """

    def __init__(self) -> None:
        self.port = 0
        self.backends: list[int] = []
        self._next = 0

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        for _ in range(len(self.backends)):
            self._next += 1
            try:
                far_reader, far_writer = await asyncio.open_connection(
                    "127.0.0.1", self.backends[self._next % len(self.backends)]
                )
            except OSError:
                continue
            with suppress(OSError, asyncio.CancelledError):  # cancelled when the test is over
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
            far_writer.close()
            break
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()  # both ways end together, as when a server is gone


@contextmanager
def balancing() -> Iterator[Balancer]:
    """Serve on loopback, in a thread, for as long as the context lasts."""
    balancer, ready, loop = Balancer(), threading.Event(), asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(balancer.attend, "127.0.0.1", 0)
        balancer.port = server.sockets[0].getsockname()[1]
        ready.set()
        await ended.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait(30)
    try:
        yield balancer
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)
        loop.close()

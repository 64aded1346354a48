"""Reads request bodies within limits: of one body, of its time, and of all bodies together.

A hand: it receives from clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from starlette.types import Message, Receive

from interlock.gateway.headers import Pair
from interlock.gateway.route import Refused
from interlock.genesys.limits import REQUEST_BYTES_MAX

LOGIN_BODY_MAX = 16 * 1024
"""Longest body of a token request."""
CALL_BODY_MAX = REQUEST_BYTES_MAX
"""Longest body of a call: the API's own limit."""
BODIES_MAX = 64 * 1024 * 1024
"""All request bodies held at once, half-read ones too; a client that would exceed it is told to come back."""
BODY_READ_S = 10.0
"""Longest time for a client to send its body."""
_TELLING = frozenset({b"content-length", b"transfer-encoding"})
_DIGITS_MAX = 20


@dataclass(slots=True)
class Bodies:
    """All bodies that are held now.

    Attributes:
        held_bytes: Their size.
    """

    held_bytes: int = 0

    @contextmanager
    def holding(self) -> Iterator[Holding]:
        """Hold one body until the block ends."""
        mine = Holding(self)
        try:
            yield mine
        finally:
            self.held_bytes -= mine.held_bytes


@dataclass(slots=True)
class Holding:
    """One body that is held.

    Attributes:
        bodies: All of them.
        held_bytes: Its size.
        is_over: Nothing more of it will come.
    """

    bodies: Bodies
    held_bytes: int = 0
    is_over: bool = False

    async def read(
        self, receive: Receive, headers: list[Pair], limit: int, within_s: float | None = None
    ) -> bytes | Refused:
        """Read a body up to `limit` bytes in time, by default `BODY_READ_S`, counting it while it grows."""
        within_s = BODY_READ_S if within_s is None else within_s
        if all(name not in _TELLING for name, _ in headers):
            return b""
        if any(name == b"content-length" and _announces(value) > limit for name, value in headers):
            return _too_large(limit)
        try:
            async with asyncio.timeout(within_s):
                return await self._read(receive, limit)
        except TimeoutError:
            why = f"the body did not arrive within {within_s:g} s"
            return Refused(status=408, code="request.timeout", message=why)

    async def _read(self, receive: Receive, limit: int) -> bytes | Refused:
        parts: list[bytes] = []
        while True:
            message: Message = await receive()
            self.is_over = not message.get("more_body", False)
            if message["type"] == "http.disconnect":
                return Refused(status=400, code="bad.request", message="the client left in the middle of its body")
            part: bytes = message.get("body", b"")
            self.held_bytes += len(part)
            self.bodies.held_bytes += len(part)
            if self.held_bytes > limit:
                return _too_large(limit)
            if self.bodies.held_bytes > BODIES_MAX:
                why = "the gateway holds too many request bodies already; nothing was sent"
                return Refused(status=503, code="service.unavailable", message=why)
            parts.append(part)
            if self.is_over:
                return b"".join(parts)


async def read_past(receive: Receive, headers: list[Pair], within_s: float) -> None:
    """Read a body and keep nothing of it, so that who still sends it sees the answer, and not a broken connection."""
    if all(name not in _TELLING for name, _ in headers):
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while (message := await receive())["type"] != "http.disconnect" and message.get("more_body", False):
                pass


def _announces(value: bytes) -> int:
    return int(value[:_DIGITS_MAX]) if value.isdigit() else 0


def _too_large(limit: int) -> Refused:
    return Refused(status=413, code="request.too.large", message=f"a request body may have {limit} bytes")

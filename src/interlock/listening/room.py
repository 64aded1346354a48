"""Room in memory for what clients send and fetch: large states, of all connections together. A hand: ASGI.

Whoever needs more than `SMALL_BYTES` waits in order until there is room, and nothing of a body is read meanwhile. There
are two rooms: who holds a state and writes it waits for others that do the same, and never for strangers' uploads and
downloads. In each, a part is for middling states alone: one large state on a slow line would keep all of them out. A
request waits once: what it needs beyond that, such as the version before the one that it writes, is counted and not
waited for, so that two requests cannot wait for each other. What was taken is given back when the answer has gone out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interlock.errors import BackendUnavailable

SMALL_BYTES: Final = 256 * 1024
"""What each request may hold without asking; there are as many as there are connections."""
MIDDLING_BYTES: Final = 8 * 1024 * 1024
"""What is no longer than this, as nearly every state, waits for no larger one, whose line may be slow."""
FOR_MIDDLING_BYTES: Final = 32 * 1024 * 1024
"""So much of each room is for those alone."""
ROOM_BYTES: Final = 128 * 1024 * 1024
"""Bytes of bodies that are held for everybody at once, in one process; one that is longer has the room alone."""
HOLDERS_BYTES: Final = 128 * 1024 * 1024
"""The same for those who write a state that they hold."""
WAIT_S: Final = 50.0
"""Longest wait for room, shorter than load balancers allow; then the client is to come back. Terraform does, twice."""
_PIECE: Final = 256 * 1024
"""An answer is given to its connection in pieces of this size, each when the one before was taken."""


class Room:
    """Bytes that may be held at once, given in the order in which they are asked for.

    Args:
        limit_bytes: How many.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.held_bytes = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def take(self, size_bytes: int) -> None:
        """Wait until there is room for so many bytes, and take it.

        Raises:
            BackendUnavailable: There was none for `WAIT_S`.
        """
        if not self._waiting and self._fits(size_bytes):
            self.held_bytes += size_bytes
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (size_bytes, turn)
        self._waiting.append(place)
        try:
            async with asyncio.timeout(WAIT_S):
                await turn
        except TimeoutError:
            self._leave(place)
            raise BackendUnavailable(
                "the server holds as many large states as fit into its memory",
                why=f"it waited {WAIT_S:g} s for others; nothing was read of what was sent",
                fix="try again",
            ) from None
        except BaseException:
            self._leave(place)
            raise

    def add(self, size_bytes: int) -> None:
        """Count bytes that are held in any case."""
        self.held_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Let those who wait have so many bytes."""
        self.held_bytes -= size_bytes
        self._let_in()

    def _leave(self, place: tuple[int, asyncio.Future[None]]) -> None:
        """Forget who does not wait any more; who goes in the instant of its turn gives it on."""
        size_bytes, turn = place
        if turn.done() and not turn.cancelled():
            self.give_back(size_bytes)
            return
        with suppress(ValueError):
            self._waiting.remove(place)
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size_bytes, turn = self._waiting.popleft()
            if not turn.done():
                self.held_bytes += size_bytes
                turn.set_result(None)

    def _fits(self, size_bytes: int) -> bool:
        return not self.held_bytes or self.held_bytes + size_bytes <= self._limit_bytes


class Rooms:
    """The two rooms of a server, each with a part for middling states."""

    def __init__(self) -> None:
        self.everybody = Room(ROOM_BYTES - FOR_MIDDLING_BYTES)
        self.holders = Room(HOLDERS_BYTES - FOR_MIDDLING_BYTES)
        self._middling = {holds: Room(FOR_MIDDLING_BYTES) for holds in (False, True)}

    def of(self, size_bytes: int, *, holds: bool) -> Room:
        """Return the room for so many bytes, of one who writes a state that they hold, or of anybody else."""
        if size_bytes <= MIDDLING_BYTES:
            return self._middling[holds]
        return self.holders if holds else self.everybody

    def numbers(self) -> Mapping[str, float]:
        """Return numbers for Prometheus."""
        rooms = (self.everybody, self.holders, *self._middling.values())
        return {
            "interlock_large_bodies_held_bytes": sum(room.held_bytes for room in rooms),
            "interlock_large_bodies_waiting": sum(room.waiting for room in rooms),
        }


class Stay:
    """What one request holds.

    Args:
        rooms: Where.
    """

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._holds = False
        self._held: list[tuple[Room, int]] = []

    def go_first(self) -> None:
        """Wait only for those who write a state that they hold; this request is one of them."""
        if not self._held:
            self._holds = True

    async def take(self, size_bytes: int, *, waits: bool = True) -> None:
        """Take room for so many bytes more. Raises as `Room.take`."""
        if size_bytes <= SMALL_BYTES:
            return
        room = self._rooms.of(size_bytes, holds=self._holds)
        if waits and not self._held:
            await room.take(size_bytes)
        else:
            room.add(size_bytes)
        self._held.append((room, size_bytes))

    def end(self) -> None:
        """Give all back."""
        for room, size_bytes in self._held:
            room.give_back(size_bytes)
        self._held.clear()


_stay: ContextVar[Stay | None] = ContextVar("stay", default=None)


async def take_room(size_bytes: int, *, waits: bool = True) -> None:
    """Take room for bytes that the request under way needs; outside of one there is no limit.

    Args:
        size_bytes: How many.
        waits: Whether it may wait for others: not while it holds what they need.

    Raises:
        BackendUnavailable: There was no room for `WAIT_S`.
    """
    stay = _stay.get()
    if stay is not None:
        await stay.take(size_bytes, waits=waits)


def go_first() -> None:
    """Say that the request under way writes a state that its client holds; see `Stay.go_first`."""
    stay = _stay.get()
    if stay is not None:
        stay.go_first()


async def take_room_for_body(request: Request, limit_bytes: int) -> None:
    """Take room for the body of a request before it is read.

    Where there is none, the body is read and nothing of it kept: a client that still sends would else see that its
    connection breaks, and never the answer.

    Raises:
        BackendUnavailable: See `take_room`.
        ClientDisconnect: The client has gone.
    """
    try:
        await take_room(size_of_body(request.headers, limit_bytes))
    except BackendUnavailable:
        async for _ in request.stream():  # the listener sees that it comes, and within which time
            pass
        raise


def size_of_body(headers: Mapping[str, str], limit_bytes: int) -> int:
    """Return for how many bytes a body needs room before it is read: what it announces, else as much as it may have."""
    announced = headers.get("content-length", "")
    if announced.isdecimal():
        return min(int(announced), limit_bytes)
    return limit_bytes if "transfer-encoding" in headers else 0


class WithRoom:
    """An application whose requests stay within the rooms.

    Args:
        app: It.
        rooms: They.
    """

    def __init__(self, app: ASGIApp, rooms: Rooms) -> None:
        self._app = app
        self._rooms = rooms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, and give back what it took."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stay = Stay(self._rooms)
        known = _stay.set(stay)
        try:
            await self._app(scope, receive, in_pieces(send))
        finally:
            _stay.reset(known)
            stay.end()


def in_pieces(send: Send) -> Send:
    """Return what sends a long answer in pieces: a whole one would be in the connection's buffer, counted by nobody."""

    async def sent(message: Message) -> None:
        body = memoryview(message.get("body") or b"") if message["type"] == "http.response.body" else memoryview(b"")
        if len(body) <= _PIECE:
            await send(message)
            return
        for begin in range(0, len(body), _PIECE):
            is_last = begin + _PIECE >= len(body)
            more = not is_last or message.get("more_body", False)
            await send({**message, "body": bytes(body[begin : begin + _PIECE]), "more_body": more})

    return sent

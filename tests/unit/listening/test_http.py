"""A real server on a loopback port, and clients that mean no good. Limits are shortened, nothing is timed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from interlock.backend.serving import serving

PATIENCE_S = 20.0


class Server:
    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.asked = asyncio.Event()
        self.port = 0
        self.app = Starlette(
            routes=[
                Route("/held", self.held, methods=["LOCK"]),
                Route("/large", self.large, methods=["GET"]),
                Route("/endless", self.endless, methods=["GET"]),
                Route("/early", self.early, methods=["POST"]),
                Route("/whole", self.whole, methods=["POST", "GET"]),
            ]
        )

    async def held(self, request: Request) -> Response:
        await request.body()
        self.asked.set()
        await self.go_on.wait()
        return Response(b"yours")

    async def large(self, _request: Request) -> Response:
        return Response(b"x" * 30_000_000)

    async def endless(self, _request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 256 * 1024
                await asyncio.sleep(0)  # so that it is seen that the client has gone

        return StreamingResponse(pieces())

    async def early(self, _request: Request) -> Response:
        return Response(b"no", status_code=401)

    async def whole(self, request: Request) -> Response:
        return Response(b"%d" % len(await request.body()))


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    async def answer(self) -> bytes:
        """Return the status and the body of the next answer."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return head.split(b" ")[1] + b" " + await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """Return everything up to the end of the connection, also when it is broken off."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self.reader.read()
        except ConnectionError:
            return b""


Connect = Callable[[], Awaitable[Client]]


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr("interlock.listening.http.connections_max", lambda: 8)
    server = Server()
    async with serving(server.app, host="127.0.0.1", port=0) as (_, server.port):
        yield server
        server.go_on.set()


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Connect]:
    clients: list[Client] = []

    async def connected() -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", server.port)))
        return clients[-1]

    yield connected
    for client in clients:
        client.writer.close()


async def test_half_sent_requests_never_keep_a_whole_one_out(connect: Connect, server: Server) -> None:
    held = await connect()
    await held.send(b"LOCK /held HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
    await asyncio.wait_for(server.asked.wait(), PATIENCE_S)
    for _ in range(30):
        await (await connect()).send(b"GET /whole HTTP/1.1\r\nHost: ")
    honest = await connect()
    await honest.send(b"GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await honest.answer() == b"200 0"
    server.go_on.set()
    assert await held.answer() == b"200 yours", "a request that is worked on was never in question"


async def test_a_head_that_does_not_end_is_cut_off(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.listening.http.HEAD_S", 0.05)
    client = await connect()
    await client.send(b"GET / HTTP/1.1\r\nX: ")
    assert b" 408 " in await client.rest()


async def test_a_head_that_is_too_long_is_refused(connect: Connect) -> None:
    client = await connect()
    await client.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000)
    assert b" 431 " in await client.rest()


async def test_a_body_that_stops_is_cut_off(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.listening.http.BODY_SILENCE_S", 0.05)
    client = await connect()
    await client.send(b"POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
    assert await client.rest() == b""


async def test_a_body_that_drips_is_cut_off_in_the_end(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.listening.http.BODY_SILENCE_S", 0.02)
    monkeypatch.setattr("interlock.listening.http.BODY_S", 0.1)
    client = await connect()
    await client.send(b"POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
    ended = asyncio.ensure_future(client.rest())
    while not ended.done():
        client.writer.write(b"x")
        await asyncio.sleep(0.005)
    assert await ended == b""


async def test_a_body_that_was_answered_early_may_not_drip_on(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.listening.http.LINGER_S", 0.05)
    client = await connect()
    await client.send(b"POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nx")
    assert await client.answer() == b"401 no"
    assert await client.rest() == b""


async def test_those_who_do_not_take_their_answers_keep_nobody_out(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.listening.http.ANSWER_SILENCE_S", 0.2)
    deaf = [await connect() for _ in range(8)]  # as many as the server takes
    for client in deaf:
        await client.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    await asyncio.gather(*(asyncio.wait_for(_gone(client), PATIENCE_S) for client in deaf))
    honest = await connect()
    await honest.send(b"GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await honest.answer() == b"200 0"


@pytest.mark.parametrize("kind", ["large", "endless"])  # given to the connection as a whole, and in pieces
async def test_an_answer_that_is_taken_in_drips_is_cut_off_in_the_end(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("interlock.listening.http.ANSWER_S", 0.3)
    client = await connect()
    await client.send(f"GET /{kind} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    drips = asyncio.ensure_future(_drips(client))
    await asyncio.wait_for(_gone(client), PATIENCE_S)
    drips.cancel()


async def _drips(client: Client) -> None:
    """Take a little of an answer again and again, so that no silence is long."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            await client.reader.readexactly(16 * 1024)
            await asyncio.sleep(0.01)


async def _gone(client: Client) -> None:
    """Wait until the server has broken the connection off, without reading from it."""
    with contextlib.suppress(ConnectionError):
        while True:
            await client.send(b"\r\n")
            await asyncio.sleep(0.01)


async def test_a_held_request_lives_longer_than_every_limit(
    connect: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HEAD_S", "BODY_SILENCE_S", "BODY_S", "LINGER_S"):
        monkeypatch.setattr(f"interlock.listening.http.{name}", 0.02)
    client = await connect()
    await client.send(b"LOCK /held HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
    await asyncio.wait_for(server.asked.wait(), PATIENCE_S)
    for _ in range(10):  # each turn of the loop is later than all of the limits together
        await asyncio.sleep(0.02)
    server.go_on.set()
    assert await client.answer() == b"200 yours"
    await client.send(b"GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await client.answer() == b"200 0"


async def test_a_few_pipelined_requests_are_answered_and_a_flood_is_refused(connect: Connect, server: Server) -> None:
    client = await connect()
    await client.send(b"GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
    assert [await client.answer() for _ in range(5)] == [b"200 0"] * 5
    flood = await connect()
    await flood.send(
        b"LOCK /held HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500
    )
    assert b"without waiting" in await flood.rest()


@pytest.mark.parametrize(
    "head",
    [
        b"POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"GET /whole HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"NONSENSE\r\n\r\n",
    ],
)
async def test_what_can_be_read_in_two_ways_is_refused(connect: Connect, head: bytes) -> None:
    client = await connect()
    await client.send(head)
    assert b" 400 " in await client.rest()

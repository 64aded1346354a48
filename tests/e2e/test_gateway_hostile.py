"""Hostile clients and hostile upstreams, over raw sockets: refused with a clear answer, memory bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from interlock.gateway.oauth import Credentials, Secret
from interlock.gateway.service import Address, Gateway, Terms
from interlock.listening import http as listener
from interlock.lock import Priority

pytestmark = pytest.mark.e2e

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Upstream:
    """A tiny API under the test's control: remembers every request and answers as told."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.answer: Answer = _ok
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await self._answer_one(reader, writer)
        finally:
            writer.close()  # also when the test ends first

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        body = await reader.readexactly(length)
        if b"/oauth/token" in head.split(b"\r\n")[0]:
            await _send(writer, b'{"access_token":"t","token_type":"bearer","expires_in":3600}')
            return
        self.requests.append(head + body)
        await self.answer(head, writer)


async def _send(writer: asyncio.StreamWriter, body: bytes, extra: bytes = b"") -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n" % (extra, len(body))
    writer.write(head + body)
    await writer.drain()


async def _ok(_head: bytes, writer: asyncio.StreamWriter) -> None:
    await _send(writer, b"{}")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    api = Upstream()
    await api.start()
    yield api
    await api.stop()


@pytest.fixture
async def address(upstream: Upstream) -> AsyncIterator[Address]:
    url = f"http://127.0.0.1:{upstream.port}"
    credentials = Credentials(client_id="id", secret=Secret("s"))
    gateway = Gateway(Terms(api_url=url, login_url=url, credentials=credentials, hold_s=2.0))
    address = await gateway.start("127.0.0.1")
    gateway.add_run("r1", Priority.APPLY, "tok", lambda _: True)
    await gateway.check_login()
    yield address
    await gateway.aclose()


async def raw(address: Address, *pieces: bytes, limit_s: float = 10.0) -> bytes:
    """Send bytes as they are; return all that came back until the gateway closed or `limit_s`."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    got = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(limit_s):
            while chunk := await reader.read(65536):
                got += chunk
    writer.close()
    return got


def get(target: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join(
        [method + b" " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *headers, b"", b""]
    )


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


async def test_an_honest_request_is_served(address: Address, upstream: Upstream) -> None:
    assert status_of(await raw(address, get(b"/r/r1/tok/api/v2/users"))) == 200
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "target",
    [
        b"http://169.254.169.254/api/v2/users",
        b"http://127.0.0.1:1/r/r1/tok/api/v2/users",
        b"//evil.example/api/v2/users",
        b"/r/r1/tok/api/v2/../../admin",
        b"/r/r1/tok/api/v2/%2e%2e/%2e%2e/admin",
        b"/r/r1/tok/api/v2/a%0d%0aX-Injected:%201",
        b"/r/r1/tok/latest/meta-data",
        b"@evil.example/api/v2/users",
        b"evil.example:80",
    ],
)
async def test_no_request_line_reaches_another_host_or_another_place(
    address: Address, upstream: Upstream, target: bytes
) -> None:
    answer = await raw(address, get(target))
    assert status_of(answer) in {400, 404}
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["details"] == []
    assert upstream.requests == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        get(b"/r/r1/tok/api/v2/users", b"Content-Length: 4", b"Transfer-Encoding: chunked", method=b"POST")
        + b"0\r\n\r\nGET /r/r1/tok/api/v2/evil HTTP/1.1\r\nHost: localhost\r\n\r\n",
        get(b"/r/r1/tok/api/v2/users", b"Content-Length: 1", b"Content-Length: 2", method=b"POST") + b"ab",
        get(b"/r/r1/tok/api/v2/users", b"Transfer-Encoding: xchunked", method=b"POST") + b"0\r\n\r\n",
        get(b"/r/r1/tok/api/v2/users", b"Transfer-Encoding : chunked", method=b"POST") + b"0\r\n\r\n",
        get(b"/r/r1/tok/api/v2/users", b"Content-Length: +3", method=b"POST") + b"abc",
        get(b"/r/r1/tok/api/v2/users", b"Transfer-Encoding: chunked", method=b"POST") + b"zz\r\nabc\r\n0\r\n\r\n",
        get(b"/r/r1/tok/api/v2/users", b"X: a\x00b"),
        get(b"/r/r1/tok/api/v2/users", b"X: a\rY: b"),
        get(b"/r/r1/tok/api/v2/users", b"Bad Name: 1"),
        b"GET /r/r1/tok/api/v2/users HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
    ],
)
async def test_requests_that_could_be_read_in_two_ways_are_refused(
    address: Address, upstream: Upstream, request_bytes: bytes
) -> None:
    answer = await raw(address, request_bytes, limit_s=5.0)
    assert status_of(answer) == 400
    assert upstream.requests == []


async def test_hop_headers_do_not_travel_and_a_client_cannot_speak_for_the_gateway(
    address: Address, upstream: Upstream
) -> None:
    await raw(
        address,
        get(
            b"/r/r1/tok/api/v2/users",
            b"Authorization: Bearer stolen",
            b"X-Forwarded-For: 1.2.3.4",
            b"Proxy-Authorization: Basic eA==",
            b"TF-Correlation-Id: 7",
        ),
    )
    [request] = upstream.requests
    lower = request.lower()
    assert b"authorization: bearer t\r\n" in lower
    assert b"tf-correlation-id: 7" in lower
    assert b"stolen" not in lower
    assert b"1.2.3.4" not in lower
    assert b"proxy-" not in lower
    assert b"connection: close" not in lower


async def test_a_body_beyond_the_apis_own_limit_is_refused_before_it_is_read(
    address: Address, upstream: Upstream
) -> None:
    announced = get(b"/r/r1/tok/api/v2/users", b"Content-Length: 99999999999", method=b"POST")
    assert status_of(await raw(address, announced)) == 413
    chunked = get(b"/r/r1/tok/api/v2/users", b"Transfer-Encoding: chunked", method=b"POST")
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert status_of(await raw(address, chunked, *[piece] * 20)) == 413
    assert upstream.requests == []


async def test_half_read_bodies_count_as_held_and_too_many_are_refused(
    address: Address, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.gateway.bodies.BODIES_MAX", 100_000)
    head = get(b"/r/r1/tok/api/v2/users", b"Content-Length: 90000", method=b"POST")
    _, slow = await asyncio.open_connection(address.host, address.port)
    slow.write(head + b"x" * 80_000)
    await slow.drain()
    await asyncio.sleep(0.1)
    assert status_of(await raw(address, head + b"x" * 90_000)) == 503
    slow.close()
    await asyncio.sleep(0.1)
    assert status_of(await raw(address, head + b"x" * 90_000)) == 200
    assert len(upstream.requests) == 1


async def test_a_head_without_end_is_refused(address: Address) -> None:
    many = [b"GET /r/r1/tok/api/v2/users HTTP/1.1\r\n", *[b"X-%d: y\r\n" % number for number in range(20000)]]
    assert status_of(await raw(address, *many)) == 431
    crowd = get(b"/r/r1/tok/api/v2/users", *[b"X-%d: y" % number for number in range(200)])
    assert status_of(await raw(address, crowd)) == 400


async def test_a_head_that_never_ends_is_cut_off(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HEAD_S", 0.2)
    assert status_of(await raw(address, b"GET /r/r1/tok/api/v2/users HTTP/1.1\r\nHo")) == 408


async def test_a_body_that_never_comes_is_cut_off(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.gateway.bodies.BODY_READ_S", 0.2)
    waiting = get(b"/r/r1/tok/api/v2/users", b"Content-Length: 5", method=b"POST")
    assert status_of(await raw(address, waiting)) == 408


async def test_an_upgrade_is_not_followed(address: Address, upstream: Upstream) -> None:
    answer = await raw(
        address, get(b"/r/r1/tok/api/v2/users", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), limit_s=3.0
    )
    assert status_of(answer) in {200, 400}
    assert all(b"upgrade" not in request.lower() for request in upstream.requests)


async def test_a_huge_answer_flows_through_without_being_held(address: Address, upstream: Upstream) -> None:
    size = 96 * 1024 * 1024

    async def huge(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()

    upstream.answer = huge
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(get(b"/r/r1/tok/api/v2/users"))
    got = 0
    while chunk := await reader.read(262144):
        got += len(chunk)
    writer.close()
    assert got >= size
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


async def test_an_upstream_that_answers_nonsense_or_nothing_is_said_to_be_unreachable(
    address: Address, upstream: Upstream
) -> None:
    async def nonsense(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        writer.close()

    upstream.answer = nonsense
    answer = await raw(address, get(b"/r/r1/tok/api/v2/users"))
    assert status_of(answer) == 503
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "interlock.upstream.unavailable"


async def test_an_upstream_that_splits_its_headers_injects_nothing(address: Address, upstream: Upstream) -> None:
    async def split(_head: bytes, writer: asyncio.StreamWriter) -> None:
        await _send(writer, b"{}", b"X-A: a\r\n b\r\nConnection: X-Secret\r\nX-Secret: 1\r\nSet-Cookie: a=b\r\n")

    upstream.answer = split
    answer = await raw(address, get(b"/r/r1/tok/api/v2/users"))
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"set-cookie" not in head
    assert b"x-secret" not in head


async def test_a_redirect_is_passed_on_and_never_followed(address: Address, upstream: Upstream) -> None:
    async def elsewhere(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    upstream.answer = elsewhere
    assert status_of(await raw(address, get(b"/r/r1/tok/api/v2/users"))) == 302
    assert len(upstream.requests) == 1


async def test_a_dripping_upstream_does_not_hold_a_read_for_ever(
    address: Address, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.gateway.proxy.REPLY_S", 1.0)

    async def drip(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(40):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.1)

    upstream.answer = drip
    answer = await raw(address, get(b"/r/r1/tok/api/v2/users"))
    assert status_of(answer) == 503


async def test_a_head_request_has_no_body(address: Address, upstream: Upstream) -> None:
    async def headless(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        await writer.drain()

    upstream.answer = headless
    answer = await raw(address, get(b"/r/r1/tok/api/v2/users", method=b"HEAD"))
    assert status_of(answer) == 200
    assert answer.endswith(b"\r\n\r\n")

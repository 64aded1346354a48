"""The upload tunnel over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from interlock.gateway import tunnel as tunnel_module
from interlock.gateway.tunnel import Tunnel

pytestmark = pytest.mark.e2e


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        writer.write(data[::-1])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def talk(port: int, head: bytes, body: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    if body:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(body)
        writer.write_eof()
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def test_an_upload_passes_and_is_counted(echo: int) -> None:
    tunnel = Tunnel("localhost", ports=frozenset({echo}))
    _, port = await tunnel.start("127.0.0.1")
    answer = await talk(port, b"CONNECT localhost:%d HTTP/1.1\r\n\r\n" % echo, b"abc" * 50_000)
    assert answer == b"cba" * 50_000
    [uploaded] = tunnel.uploads.values()
    assert (uploaded.connections, uploaded.up_bytes, uploaded.down_bytes) == (1, 150_000, 150_000)
    await tunnel.aclose()


async def test_no_other_host_or_port_is_reached(echo: int) -> None:
    tunnel = Tunnel("mypurecloud.de")
    _, port = await tunnel.start("127.0.0.1")
    for target in (b"127.0.0.1:%d" % echo, b"apps.mypurecloud.de:22", b"evil.example:443"):
        assert (await talk(port, b"CONNECT %b HTTP/1.1\r\n\r\n" % target)).startswith(b"HTTP/1.1 403")
    assert (await talk(port, b"GET http://evil.example/ HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 403")
    assert tunnel.uploads == {}
    assert tunnel.refused == 4
    await tunnel.aclose()


async def test_a_head_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel_module, "HEAD_S", 0.1)
    tunnel = Tunnel("mypurecloud.de")
    _, port = await tunnel.start("127.0.0.1")
    assert await talk(port, b"CONNECT apps") == b""
    assert await talk(port, b"CONNECT " + b"a" * 20_000 + b"\r\n\r\n") == b""
    await tunnel.aclose()

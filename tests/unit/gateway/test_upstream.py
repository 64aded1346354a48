from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interlock.gateway.retries import Failure
from interlock.gateway.upstream import Broken, Reply, Upstream, parse_base


async def called(url: str) -> Reply | Broken:
    base = parse_base(url, "the API's address")
    async with Upstream(api=base, login=base) as upstream:
        return await upstream.send("GET", "/api/v2/users", headers=[], body=b"", bearer="t", limit_s=5.0)


@asynccontextmanager
async def answering(answer: bytes, got: list[bytes] | None = None) -> AsyncIterator[int]:
    """Serve one answer to every request head."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(4096)
        if got is not None:
            got.append(head)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_refused_connection_is_said_to_be_one() -> None:
    broken = await called(f"http://127.0.0.1:{free_port()}")
    assert isinstance(broken, Broken)
    assert broken.failure is Failure.UNSENT
    assert "refused" in broken.why.lower()


async def test_a_host_that_speaks_no_tls_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        broken = await called(f"https://127.0.0.1:{port}")
    assert isinstance(broken, Broken)
    assert broken.why.startswith("TLS with 127.0.0.1 failed")


async def test_a_proxy_that_asks_for_a_login_is_named_without_its_address_and_netrc_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    async with answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pw@127.0.0.1:{port}")
        broken = await called("https://api.example.com")
    assert broken == Broken(failure=Failure.UNSENT, why="the proxy asks for a login (407)")


async def test_an_answer_that_is_cut_off_is_lost() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as port:
        broken = await called(f"http://127.0.0.1:{port}")
    assert isinstance(broken, Broken)
    assert broken.failure is Failure.LOST


async def test_an_event_stream_is_given_on_before_it_ends() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\n"
    async with answering(head + b"data: 1\n\n") as port:
        reply = await called(f"http://127.0.0.1:{port}")
        assert isinstance(reply, Reply)
        assert reply.rest is not None
        reply.rest.close()

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interlock.gateway.forward_proxy import ForwardProxy, Proxying
from interlock.gateway.oauth import Secret
from interlock.gateway.retries import Failure
from interlock.gateway.upstream import Broken, Reply, Upstream, parse_base


async def called(
    url: str, proxy: ForwardProxy | Proxying = Proxying.ENVIRONMENT, limit_s: float = 5.0
) -> Reply | Broken:
    base = parse_base(url, "the API's address")
    async with Upstream(api=base, login=base, proxy=proxy) as upstream:
        return await upstream.send("POST", "/api/v2/users", headers=[], body=b"b", bearer="t", limit_s=limit_s)


def own_proxy(port: int, host: str = "127.0.0.1") -> ForwardProxy:
    return ForwardProxy(scheme="http", host=host, port=port, user="u", password=Secret("pw-\u00e9"))


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


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """Take connections and say nothing, until the end of the context."""
    over = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    over.set()
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


async def test_a_proxy_that_asks_for_a_login_is_named_without_its_user_and_netrc_is_left_alone(
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
    assert broken == Broken(
        failure=Failure.UNSENT,
        why=f"the proxy 127.0.0.1:{port} refuses its user and password (407)",
        is_refused_login=True,
    )


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


@pytest.mark.promise("P10")
async def test_a_proxy_is_asked_to_connect_with_its_own_login_and_is_told_nothing_else() -> None:
    got: list[bytes] = []
    async with answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", got) as port:
        broken = await called("https://api.example.com", own_proxy(port))
    assert broken == Broken(
        failure=Failure.UNSENT, why=f"the proxy 127.0.0.1:{port} refused the connection to api.example.com (403)"
    )
    head = got[0].decode()
    assert head.startswith("CONNECT api.example.com:443 HTTP/1.1\r\n")
    basic = base64.b64encode("u:pw-\u00e9".encode()).decode()
    assert f"Proxy-Authorization: Basic {basic}\r\n" in head
    assert "Bearer" not in head


async def test_a_proxy_that_never_answers_connect_sent_nothing_so_a_write_may_be_sent_again() -> None:
    async with answering(b"") as port:
        broken = await called("https://api.example.com", own_proxy(port))
    assert isinstance(broken, Broken)
    assert broken.failure is Failure.UNSENT
    assert f"the proxy 127.0.0.1:{port}" in broken.why


async def test_a_silent_proxy_is_unsent_too_when_the_time_is_over() -> None:
    async with silent() as port:
        broken = await called("https://api.example.com", own_proxy(port), limit_s=0.2)
    assert isinstance(broken, Broken)
    assert broken.failure is Failure.UNSENT


async def test_an_upstream_that_took_the_request_and_is_silent_has_lost_it() -> None:
    async with silent() as port:
        broken = await called(f"http://127.0.0.1:{port}", limit_s=0.2)
    assert isinstance(broken, Broken)
    assert broken.failure is Failure.LOST


async def test_a_plain_upstream_of_this_machine_is_reached_in_absolute_form_through_a_proxy_of_this_machine() -> None:
    got: list[bytes] = []
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", got) as port:
        reply = await called("http://127.0.0.1:9", own_proxy(port))
    assert isinstance(reply, Reply)
    head = got[0].decode()
    assert head.startswith("POST http://127.0.0.1:9/api/v2/users HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic " in head


@pytest.mark.promise("P10")
async def test_a_plain_upstream_of_this_machine_is_never_sent_to_a_proxy_elsewhere() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as port:
        reply = await called(f"http://127.0.0.1:{port}", own_proxy(port, host="proxy.invalid"))
    assert isinstance(reply, Reply)


async def test_a_login_that_a_proxy_refuses_in_absolute_form_is_no_answer_of_the_api() -> None:
    async with answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as port:
        broken = await called("http://127.0.0.1:9", own_proxy(port))
    assert isinstance(broken, Broken)
    assert (broken.failure, broken.is_refused_login) == (Failure.UNSENT, True)


async def test_a_proxy_of_the_environment_without_a_scheme_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{free_port()}")
    broken = await called("https://api.example.com")
    assert isinstance(broken, Broken)
    assert broken.why.startswith("the proxy 127.0.0.1:")
    assert isinstance(await called("https://127.0.0.1:1", Proxying.DIRECT), Broken)


async def test_an_upstream_with_a_path_is_called_below_it() -> None:
    got: list[bytes] = []
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", got) as port:
        await called(f"http://127.0.0.1:{port}/genesys/")
    assert got[0].startswith(b"POST /genesys/api/v2/users HTTP/1.1\r\n")

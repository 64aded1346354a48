"""What a provider hears whose run is dead: a refusal at once, instead of a connection that it tries twenty times."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress

import pytest

from interlock.run.fence import Fence

pytestmark = pytest.mark.promise("P4")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def ask(port: int, request: bytes) -> tuple[int, dict[str, object]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(body)


async def test_every_call_is_refused_in_the_form_that_its_client_reads() -> None:
    fence, port = Fence(), free_port()
    await fence.stand("1kdc7q2m50123abc", (port,))
    status, said = await ask(port, b"GET /r/x/y/api/v2/users HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, said["code"]) == (409, "interlock.fenced")
    assert "1kdc7q2m50123abc" in str(said["message"])
    body = b"x" * 100_000
    head = f"POST /r/x/y/api/v2/users HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert (await ask(port, head + body))[1]["code"] == "interlock.fenced"
    status, said = await ask(port, b"POST /r/x/y/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert (status, said["error"]) == (409, "access_denied")
    fence.leave()
    with pytest.raises(ConnectionRefusedError):
        await ask(port, b"GET / HTTP/1.1\r\n\r\n")


async def test_a_port_that_somebody_else_has_is_left_to_them() -> None:
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 0))
        theirs.listen()
        fence = Fence()
        await fence.stand("1kdc7q2m50123abc", (theirs.getsockname()[1], free_port()))
        await fence.stand("1kdc7q2m50123abc", (theirs.getsockname()[1],))
        fence.leave()


async def test_what_speaks_no_http_gets_no_answer_and_harms_nobody() -> None:
    fence, port = Fence(), free_port()
    await fence.stand("1kdc7q2m50123abc", (port,))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"x" * 200_000)
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    assert (await ask(port, b"GET / HTTP/1.1\r\n\r\n"))[0] == 409
    fence.leave()

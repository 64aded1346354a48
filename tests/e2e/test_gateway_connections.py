"""Connections of the gateway's clients: old ones, many at once, and ones that come when there is no room."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections import Counter

import pytest
from aiohttp import web

from interlock.gateway.oauth import Credentials, Secret
from interlock.gateway.service import Gateway, Terms
from interlock.lock import Priority

pytestmark = pytest.mark.e2e

FILES, CLIENTS = 256, 400
CHILD = """
import asyncio, sys
from interlock.gateway.oauth import Credentials, Secret
from interlock.gateway.service import Gateway, Terms
from interlock.lock import Priority

async def main(url):
    credentials = Credentials(client_id="id", secret=Secret("s"))
    gateway = Gateway(Terms(api_url=url, login_url=url, credentials=credentials))
    address = await gateway.start("127.0.0.1")
    print(address.port, gateway.add_run("r", Priority.APPLY, "tok", lambda _: True), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await gateway.aclose()

asyncio.run(main(sys.argv[1]))
"""


async def serve(request: web.BaseRequest) -> web.StreamResponse:
    if request.path == "/oauth/token":
        return web.json_response({"access_token": "t", "token_type": "bearer", "expires_in": 3600})
    if request.path.endswith("/long"):
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        for _ in range(40):
            await answer.write(b"x" * 65_536)
        return answer
    await asyncio.sleep(0.05)
    return web.json_response({})


async def upstream() -> tuple[web.ServerRunner, str]:
    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}"


async def asked(port: int, path: str, version: str = "1.1", wait: asyncio.Event | None = None) -> bytes:
    """Return all bytes of an answer; its connection is closed after it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    if wait is not None:
        await wait.wait()
    writer.write(f"GET {path} HTTP/{version}\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    try:
        return await reader.read(-1)
    finally:
        writer.close()


@pytest.mark.parametrize(("version", "is_chunked"), [("1.0", False), ("1.1", True)])
async def test_a_long_answer_is_framed_as_its_client_understands(version: str, is_chunked: bool) -> None:
    runner, url = await upstream()
    gateway = Gateway(Terms(api_url=url, login_url=url, credentials=Credentials(client_id="id", secret=Secret("s"))))
    address = await gateway.start("127.0.0.1")
    prefix = gateway.add_run("r", Priority.APPLY, "tok", lambda _: True)
    raw = await asked(address.port, f"{prefix}/api/v2/long", version)
    await gateway.aclose()
    await runner.cleanup()
    head, _, body = raw.partition(b"\r\n\r\n")
    assert (b"transfer-encoding: chunked" in head) is is_chunked
    if not is_chunked:
        assert body == b"x" * 40 * 65_536


@pytest.mark.promise("P7")
async def test_where_only_256_files_are_allowed_until_somebody_asks_four_hundred_clients_at_once_are_all_answered() -> (
    None
):
    runner, url = await upstream()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHILD, url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES)),
    )
    assert child.stdout is not None
    port, prefix = (await child.stdout.readline()).decode().split()
    path = f"{prefix}/api/v2/users"
    answers = await asyncio.gather(*(asked(int(port), path) for _ in range(CLIENTS)), return_exceptions=True)
    counts = Counter(each.split(b" ")[1] if isinstance(each, bytes) and each else repr(each)[:60] for each in answers)
    assert set(counts) <= {b"200", b"429", b"503"}, counts
    assert counts[b"200"] >= 60, counts
    child.stdin.close()  # type: ignore[union-attr]
    await child.wait()
    await runner.cleanup()

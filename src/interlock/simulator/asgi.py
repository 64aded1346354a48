"""Serves a simulation over HTTP on loopback: plain ASGI, no framework, because benchmarks count on its speed.

The one hand of this room besides the provider. It reads requests, spoils answers as faults say, and owns the server's
start and stop. Resetting a connection reaches into uvicorn's request cycle, since ASGI has no word for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from interlock.clock import Clock, SystemClock
from interlock.errors import BackendUnavailable

from .answer import Moment, Reply, Request
from .certificate import Certificate
from .faults import MAX_WAIT_S, FaultKind, FaultRule
from .region import Handles
from .simulation import MAX_UPLOAD_BYTES, Outcome, Simulation

MAX_QUERY_FIELDS = 100
START_LIMIT_S = 10.0
DRIP_PARTS = 10
TICK_S = 0.02  # how soon the end of the block is noticed

_ENCODER = msgspec.json.Encoder()
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close sends RST


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running simulation: `url` is `http://127.0.0.1:PORT`, API and login service together.

    Attributes:
        scheme: `https` where it has a certificate.
    """

    host: str
    port: int
    simulation: Simulation
    scheme: str = "http"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.scheme}://{self.host}:{self.port}"


def create_app(simulation: Handles, *, clock: Clock | None = None) -> ASGIApp:
    """Return the ASGI application of a simulation."""
    timepiece = clock or SystemClock()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = await read_request(scope, receive)
        moment = Moment(at=timepiece.now(), elapsed_s=timepiece.monotonic())
        await _perform(simulation.handle(request, moment), receive, send, timepiece)

    return app


async def read_request(scope: Scope, receive: Receive) -> Request:
    """Return a request as the simulation takes it."""
    return _request(scope, await _body(receive))


async def send_reply(reply: Reply, send: Send) -> None:
    """Send an answer whole."""
    body = _encoded(reply)
    await send({"type": "http.response.start", "status": reply.status, "headers": _headers(reply, body)})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serve(
    simulation: Simulation,
    *,
    clock: Clock | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: Certificate | None = None,
) -> AsyncIterator[Served]:
    """Serve a simulation in the running event loop until the block ends; port 0 takes a free one.

    Raises:
        BackendUnavailable: The address cannot be bound, or the server did not start.
    """
    async with serve_app(
        create_app(simulation, clock=clock), host=host, port=port, certificate=certificate
    ) as bound_port:
        scheme = "http" if certificate is None else "https"
        yield Served(host=host, port=bound_port, simulation=simulation, scheme=scheme)


@contextlib.asynccontextmanager
async def serve_app(
    app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0, certificate: Certificate | None = None
) -> AsyncIterator[int]:
    """Serve an application in the running event loop until the block ends, and yield its port.

    Raises:
        BackendUnavailable: The address cannot be bound, or the server did not start.
    """
    listener = _listen(host, port)
    server = _server(app, certificate)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _started(server, task)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
        listener.close()


@contextlib.contextmanager
def serve_in_thread(
    simulation: Simulation,
    *,
    clock: Clock | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: Certificate | None = None,
) -> Iterator[Served]:
    """Serve a simulation from a thread of its own, for callers without an event loop.

    Raises:
        BackendUnavailable: As `serve`.
    """
    listener = _listen(host, port)
    server = _server(create_app(simulation, clock=clock), certificate)
    ready = threading.Event()
    thread = threading.Thread(target=_run, args=(server, listener, ready), name="simulator", daemon=True)
    thread.start()
    try:
        if not ready.wait(START_LIMIT_S):
            raise _not_started()
        scheme = "http" if certificate is None else "https"
        yield Served(host=host, port=listener.getsockname()[1], simulation=simulation, scheme=scheme)
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(START_LIMIT_S)
        listener.close()


class _QuietServer(uvicorn.Server):
    """A server that leaves the process's signals alone, since it lives in somebody else's process, and ends quickly."""

    async def main_loop(self) -> None:
        while not self.should_exit:  # noqa: ASYNC110 - a plain flag, which another thread may set
            await asyncio.sleep(TICK_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: ASGIApp, certificate: Certificate | None) -> _QuietServer:
    files = (None, None) if certificate is None else (str(certificate.chain), str(certificate.key))
    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
        backlog=2048,
        timeout_keep_alive=30,
        ssl_certfile=files[0],
        ssl_keyfile=files[1],
    )
    return _QuietServer(config)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise BackendUnavailable(
            f"the simulated organisation cannot listen on {host}:{port}",
            why=str(error.strerror or error),
            fix="choose another port, or 0 for a free one",
        ) from error
    return listener


async def _started(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    deadline = asyncio.get_running_loop().time() + START_LIMIT_S
    while not server.started:
        if task.done() or asyncio.get_running_loop().time() > deadline:
            raise _not_started()
        await asyncio.sleep(0.005)


def _not_started() -> BackendUnavailable:
    return BackendUnavailable("the simulated organisation did not start", fix="run the command again")


def _run(server: uvicorn.Server, listener: socket.socket, ready: threading.Event) -> None:
    async def main() -> None:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await _started(server, task)
        ready.set()
        await task

    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(main())


async def _body(receive: Receive) -> bytes:
    """Return the body, or a little more than the longest limit of a longer one; the rest is thrown away."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        if len(body) <= MAX_UPLOAD_BYTES:
            body += message.get("body", b"")
    return body


def _request(scope: Scope, body: bytes) -> Request:
    query = scope["query_string"]
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=_query(query) if query else {},
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
        scheme=scope.get("scheme", "http"),
    )


def _query(raw: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        return {}


async def _perform(outcome: Outcome, receive: Receive, send: Send, clock: Clock) -> None:
    fault = outcome.fault
    if outcome.reply is None:
        await _reset(receive)
        return
    if fault is not None and fault.kind is FaultKind.HANG:
        await clock.sleep(_wait_s(fault))
    body = _encoded(outcome.reply)
    await send(
        {"type": "http.response.start", "status": outcome.reply.status, "headers": _headers(outcome.reply, body)}
    )
    if fault is not None and fault.kind is FaultKind.DRIP:
        await _drip(body, _wait_s(fault), send, clock)
    await send({"type": "http.response.body", "body": b"" if _is_dripped(fault) else body})


def _is_dripped(fault: FaultRule | None) -> bool:
    return fault is not None and fault.kind is FaultKind.DRIP


def _wait_s(fault: FaultRule) -> float:
    return min(fault.seconds or 0.0, MAX_WAIT_S)


async def _drip(body: bytes, wait_s: float, send: Send, clock: Clock) -> None:
    size = max(1, -(-len(body) // DRIP_PARTS))
    for start in range(0, len(body), size):
        await clock.sleep(wait_s / DRIP_PARTS)
        await send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})


def _encoded(reply: Reply) -> bytes:
    if reply.content is None:
        return b""
    return reply.content if isinstance(reply.content, bytes) else _ENCODER.encode(reply.content)


def _headers(reply: Reply, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    if body and not isinstance(reply.content, bytes):
        headers.append((b"content-type", b"application/json"))
    if reply.status not in {204, 304}:
        headers.append((b"content-length", str(len(body)).encode()))
    return headers


async def _reset(receive: Receive) -> None:
    """Cut the connection with RST, then wait until the server has noticed."""
    cycle: Any = getattr(receive, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is None:  # another server, or a test without one: say nothing at all
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass

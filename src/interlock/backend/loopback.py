"""One run's address on a loopback port, over asyncio streams alone. A hand.

A run has one client, its own Terraform, and one address. A web server and a framework in front of that would double
the time in which a supervisor starts, so this speaks the little of HTTP/1.1 that Terraform's client does.
Source: RFC 9112; Go's net/http, which sends Content-Length for the bodies that Terraform gives it.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import ClassVar
from urllib.parse import parse_qsl

from interlock.backend.gate import Gate, answer_request
from interlock.backend.protocol import MAX_LOCK_BYTES, Answer, Refused, answer
from interlock.errors import AuthenticationFailed, InterlockError, UsageError
from interlock.listening.guests import Guests, connections_max, listen
from interlock.listening.strangers import ONLY_LOOPBACK, find_fault
from interlock.secrecy import PartlyShown
from interlock.state import MAX_STATE_BYTES

MAX_HEAD_BYTES = 16 * 1024
HEAD_S = 10.0  # until a connection has sent its first head, and for each head from its first byte
CONNECTIONS_MAX = 64  # a run has one client
BODY_TIMEOUT_S = 300.0  # a state of 256 MB on a busy machine
ANSWER_TIMEOUT_S = 300.0  # likewise
_LENGTH_DIGITS = 15  # a petabyte; Python refuses to read numbers of thousands of digits
_NOT_FOUND = 404
_LENGTH_REQUIRED = 411
_TOO_LARGE = 413
_BAD_REQUEST = 400


class Head(PartlyShown, frozen=True, kw_only=True):
    """The head of one request.

    Attributes:
        method: HTTP method.
        path: Without the query.
        query: By name; of a repeated name the last.
        headers: By name in lower case; of a repeated name the last.
        fields: All of them, names in lower case, as they came.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"path", "query", "headers", "fields"})

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    fields: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def keeps_open(self) -> bool:
        """Whether the client wants to go on with the connection."""
        return self.headers.get("connection", "").lower() != "close"


class _Misspelled(InterlockError):
    """A request that cannot be read on; the connection ends with its answer."""

    code = "request"

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what, fix="this address is for the run's own Terraform")
        self.status = status


def parse_head(text: bytes) -> Head:
    """Read a request line and headers, up to the empty line.

    Raises:
        UsageError: This is not HTTP.
    """
    first, *lines = text.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - method, target, version
        raise UsageError("the request is not HTTP/1.1")
    path, _, query = words[1].partition("?")
    pairs = [line.partition(":") for line in lines if line]
    fields = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
    return Head(
        method=words[0],
        path=path,
        query=dict(parse_qsl(query, keep_blank_values=True)),
        headers=dict(fields),
        fields=tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in fields),
    )


def body_bytes(head: Head, limit: int) -> int:
    """Return how long the body is.

    Raises:
        _Misspelled: It is longer than `limit`, or its length is not said.
    """
    announced = head.headers.get("content-length", "0")
    if "transfer-encoding" in head.headers or not announced.isdecimal():
        raise _Misspelled("the request does not say how long its body is", _LENGTH_REQUIRED)
    if len(announced) > _LENGTH_DIGITS or int(announced) > limit:
        shown = announced[:_LENGTH_DIGITS]
        raise _Misspelled(f"the request has {shown} bytes, the limit is {limit}", _TOO_LARGE)
    return int(announced)


@asynccontextmanager
async def serve_run(
    gate: Gate, secret: str, *, limit_bytes: int = MAX_STATE_BYTES, listener: socket.socket | None = None
) -> AsyncIterator[int]:
    """Serve a gate at `/run/<secret>/state` for as long as the context lasts; yield the port.

    Args:
        gate: What may be done.
        secret: Part of the address.
        limit_bytes: Of one body.
        listener: Listens already; by default on a free port.
    """
    site = _Site(gate, secret, limit_bytes)
    listener = listener or listen("127.0.0.1", 0, what="the run's own address")
    server = await asyncio.start_server(site.serve, sock=listener, limit=MAX_HEAD_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await site.close()


class _Site:
    def __init__(self, gate: Gate, secret: str, limit_bytes: int) -> None:
        self._gate = gate
        self._path = f"/run/{secret}/state".encode()
        self._limit_bytes = limit_bytes
        self._serving: set[asyncio.Task[None]] = set()
        self._guests = Guests(min(CONNECTIONS_MAX, connections_max()))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        close = writer.transport.abort
        try:
            if not self._guests.enter(task, close):
                return
            with self._gate.visits.visited():
                known = await self._exchange(reader, writer, task, is_stranger=True)
                while known:
                    self._guests.end(task, close)
                    known = await self._exchange(reader, writer, task, is_stranger=False)
        except (OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # the client has gone or sends no HTTP, or the run is over: nobody is there to be told
        finally:
            self._serving.discard(task)
            self._guests.leave(task)
            writer.close()

    async def close(self) -> None:
        """End all connections."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, guest: object, *, is_stranger: bool
    ) -> bool:
        """Answer one request; False when the connection is over. Nothing of a stranger's is read but the head."""
        async with asyncio.timeout(HEAD_S if is_stranger else None):  # Terraform may think long between two requests
            first = await reader.readexactly(1)
        async with asyncio.timeout(HEAD_S):
            text = first + await reader.readuntil(b"\r\n\r\n")
        try:
            head = parse_head(text)
            self._check_address(head)
            self._guests.begin(guest)
            body = await self._read_body(reader, head)
        except InterlockError as error:
            await _send(writer, answer(Refused(error=error, status=_status_of(error))))
            return False
        sent = await self._answer(head, body)
        await _send(writer, sent, without_body=head.method == "HEAD")
        return head.keeps_open

    async def _read_body(self, reader: asyncio.StreamReader, head: Head) -> bytes:
        length = body_bytes(head, self._limit_bytes if head.method in {"POST", "PUT"} else MAX_LOCK_BYTES)
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await reader.readexactly(length)

    def _check_address(self, head: Head) -> None:
        if not hmac.compare_digest(head.path.encode(), self._path):
            raise AuthenticationFailed("no run has this address", why="it has ended", fix="start a new run")
        if fault := find_fault(head.fields, ONLY_LOOPBACK):
            raise _Misspelled(fault, _NOT_FOUND)

    async def _answer(self, head: Head, body: bytes) -> Answer:
        return await answer_request(self._gate, head.method, head.query, body, md5=head.headers.get("content-md5"))


def _status_of(error: InterlockError) -> int | None:
    match error:
        case _Misspelled():
            return error.status
        case AuthenticationFailed():
            return None  # its own
        case _:
            return _BAD_REQUEST


async def _send(writer: asyncio.StreamWriter, sent: Answer, *, without_body: bool = False) -> None:
    lines = [f"HTTP/1.1 {sent.status} ", f"Content-Length: {len(sent.body)}"]
    lines += [f"{name}: {value}" for name, value in sent.headers.items()]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
    if not without_body:
        writer.write(sent.body)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await writer.drain()
    except TimeoutError:
        writer.transport.abort()  # closing would wait for the client again
        raise

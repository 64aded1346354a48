"""A server on a loopback port that answers as a test tells it, for the APIs of platforms. A hand: it serves."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from http.server import ThreadingHTTPServer
from typing import Any

from interlock.testing.one_piece import OnePieceHandler


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that came.

    Attributes:
        method: HTTP's, or a backend's own.
        path: With its query.
        headers: By lower-case name.
        body: What was sent.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer.

    Attributes:
        status: HTTP's.
        body: Bytes as they are; anything else is sent as JSON.
        headers: Sent beside the usual ones.
    """

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)

    def bytes(self) -> bytes:
        """Return what is sent."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(slots=True)
class AnswerServer:
    """A running server.

    Attributes:
        url: Its address, without a slash at the end.
        answer: Called with each request.
        now: What its `Date` header says.
        calls: What came, in order.
    """

    url: str
    answer: Callable[[Call], Told]
    now: datetime
    calls: list[Call] = field(default_factory=list)

    def routes(self, answers: dict[str, Any]) -> None:
        """Answer GET and everything else by path without query: a `Told`, or a JSON value; 404 for other paths."""

        def answer(call: Call) -> Told:
            found = answers.get(call.path.partition("?")[0])
            if found is None:
                return Told(status=404, body={"message": "Not Found"})
            return found if isinstance(found, Told) else Told(body=found)

        self.answer = answer


@contextmanager
def answer_server(now: datetime, *, tls: ssl.SSLContext | None = None) -> Iterator[AnswerServer]:
    """Serve for as long as the context lasts; until told otherwise it answers 404.

    Args:
        now: What its `Date` header says.
        tls: With a certificate for 127.0.0.1, to serve HTTPS; None for HTTP.
    """
    made = AnswerServer(url="", answer=lambda _: Told(status=404), now=now)

    class Handler(OnePieceHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            """Answer any method, so that a backend's own are answered too."""
            try:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                self._reply()
            except (ConnectionError, TimeoutError):
                self.close_connection = True

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _reply(self) -> None:
            body = self._body()
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(method=self.command, path=self.path, headers=headers, body=body)
            made.calls.append(call)
            told = made.answer(call)
            sent = told.bytes()
            self.send_response_only(told.status)
            self.send_header("Date", format_datetime(made.now, usegmt=True))
            self.send_header("Content-Length", str(len(sent)))
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)
            self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = _secure(server, tls)
    made.url = f"{scheme}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _secure(server: ThreadingHTTPServer, tls: ssl.SSLContext | None) -> str:
    """Let a server speak TLS, if it shall; return the scheme of its address.

    Hands are shaken at the first read, in a connection's own thread: a client that says nothing stops nobody else.
    """
    if tls is None:
        return "http"
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return "https"

"""What somebody without any secret may send to a port, and what came back. Raw sockets, so nothing is tidied up."""

from __future__ import annotations

import itertools
import json
import os
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

METHODS = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "LOCK", "UNLOCK"),
    *("PROPFIND", "SUBSCRIBE", "PURGE"),
)
ELSEWHERE = (
    *(
        "/",
        "/docs",
        "/openapi.json",
        "/metrics",
        "/api/v1/runs",
        "/state/s",
        "/run/x/state",
        "/run//state",
        "/c/",
        "/r/",
    ),
    *("/c/-/api/v2/users", "/c/-/oauth/token", "/r/x/y/api/v2/users", "/r/x/y/oauth/token", "//healthz", "/%2e%2e/"),
)
"""Paths of any listener of ours, and some of none."""
SHUT = frozenset({401, 404})
_CLIENT_S = 20.0
_ANSWER_MAX = 1 << 20
_NOBODY = 65534
_BODY = b"grant_type=client_credentials"


@dataclass(frozen=True)
class Heard:
    """One request and its answer."""

    request: bytes
    answer: bytes

    @property
    def status(self) -> int:
        words = self.answer.split(b" ", 2)
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def every_request(port: int, paths: Iterable[str]) -> Iterator[bytes]:
    """Yield every method on every path, and the forms that a proxy, an old client or a web page would use."""
    paths = list(paths)
    host = f"127.0.0.1:{port}"
    for method, path in itertools.product(METHODS, [*paths, *ELSEWHERE]):
        yield _request(method, path, host)
    for path in paths:
        yield _request("GET", f"http://{host}{path}", host)
        yield _request("POST", f"http://elsewhere.example{path}", host, body=_BODY)
        yield _request("GET", path, "", version="1.0")
        yield _request("GET", path, host, "Upgrade: websocket", "Connection: Upgrade, close", "Sec-WebSocket-Key: eA==")
        yield _request("GET", path, host, "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        yield _request("POST", path, host, "X-HTTP-Method-Override: GET", body=_BODY)
        yield _request("GET", path, host, "Authorization: Basic Og==")
        yield _request("GET", path, host, "Authorization: Bearer ")
        yield from (_request(method, path, host, *_page(origin)) for method in ("GET", "POST") for origin in _ORIGINS)
        yield from (_request("GET", path, name) for name in ("rebound.example", f"rebound.example:{port}", "0"))
    yield _request("OPTIONS", "*", host)
    yield _request("CONNECT", "169.254.169.254:80", host)


_ORIGINS = ("http://rebound.example", "null")


def _page(origin: str) -> tuple[str, ...]:
    return (f"Origin: {origin}", "Sec-Fetch-Site: cross-site")


def _request(method: str, target: str, host: str, *headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
    closing = () if any(each.startswith("Connection:") for each in headers) else ("Connection: close",)
    length = (f"Content-Length: {len(body)}", "Content-Type: application/x-www-form-urlencoded") if body else ()
    named = (f"Host: {host}",) if host else ()
    lines = [f"{method} {target} HTTP/{version}", *named, *headers, *closing, *length, "", ""]
    return "\r\n".join(lines).encode() + body


def knock(port: int, requests: Iterable[bytes]) -> list[Heard]:
    """Send each request on a connection of its own, and read until the other side closes it."""
    return [Heard(request, _exchange(port, request)) for request in requests]


def knock_as_nobody(port: int, requests: Iterable[bytes]) -> list[Heard]:
    """Do the same as another Unix user."""
    requests = list(requests)
    answers = as_nobody(lambda: [_exchange(port, each).hex() for each in requests])
    return [Heard(request, bytes.fromhex(answer)) for request, answer in zip(requests, answers, strict=True)]


def as_nobody(act: Callable[[], list[str]]) -> list[str]:
    """Return what `act` returns when Unix user 65534 does it; only root can become another user.

    The process is a fork: that user may not be allowed to start the Python of this environment.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child only opens things, and ends at once
        child = os.fork()
    if not child:
        _become_nobody(act, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    found: list[str] = json.loads(told)
    return found


def _become_nobody(act: Callable[[], list[str]], writing: int) -> NoReturn:
    status = 1
    try:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(act()).encode())
        status = 0
    finally:
        os._exit(status)


def _exchange(port: int, request: bytes) -> bytes:
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=_CLIENT_S) as connection:
        try:
            connection.sendall(request)
            while len(got) < _ANSWER_MAX and (piece := connection.recv(65536)):
                got += piece
        except ConnectionError:
            pass  # refused before all was sent: what was answered counts
    return got

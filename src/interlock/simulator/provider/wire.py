"""One HTTP/1.1 exchange on a connection of its own, under one deadline.

The Go SDK closes the connection after each request and its timeout covers everything from dialling to the last byte of
the body. The standard clients bound only single reads, and cost 50 ms of start-up.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic  # noqa: TID251 - a plugin process of its own; nothing is composed here

MAX_RESPONSE_BYTES = 64 * 1024 * 1024
_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to connect: `scheme` is `http` or `https`, `prefix` is empty or starts with a slash.

    `proxy` is where a forward proxy listens. It is sent requests for http in absolute form, with `proxy_login` as their
    Proxy-Authorization where that is not empty.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""
    proxy: tuple[str, int] | None = None
    proxy_login: str = ""

    @property
    def authority(self) -> str:
        """The Host header."""
        default = {"http": 80, "https": 443}.get(self.scheme)
        return self.host if self.port == default else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class WireError(Exception):
    """The exchange did not complete: refused, reset, timed out, or not HTTP."""


def exchange(
    endpoint: Endpoint, method: str, target: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float
) -> Response:
    """Send one request and return its whole answer.

    Raises:
        WireError: It did not complete within `timeout_s`.
    """
    deadline = monotonic() + timeout_s
    try:
        with _connect(endpoint, deadline) as connection:
            connection.sendall(_head(endpoint, method, target, headers, body) + body)
            return _parse(_read_all(connection, deadline), method)
    except (OSError, ValueError) as error:
        raise WireError(f"{method} {target}: {str(error) or type(error).__name__}") from error


def _connect(endpoint: Endpoint, deadline: float) -> socket.socket:
    if endpoint.proxy is not None and endpoint.scheme == "https":
        raise ValueError("this stand-in asks no proxy to CONNECT")
    connection = socket.create_connection(endpoint.proxy or (endpoint.host, endpoint.port), timeout=_left(deadline))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if endpoint.scheme != "https":
        return connection
    import ssl

    return ssl.create_default_context().wrap_socket(connection, server_hostname=endpoint.host)


def _head(endpoint: Endpoint, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    address = "" if endpoint.proxy is None else f"{endpoint.scheme}://{endpoint.authority}"
    lines = [
        f"{method} {address}{endpoint.prefix}{target} HTTP/1.1",
        f"Host: {endpoint.authority}",
        "Connection: close",
    ]
    if endpoint.proxy_login:
        lines.append(f"Proxy-Authorization: {endpoint.proxy_login}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method in {"POST", "PUT", "PATCH"}:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _read_all(connection: socket.socket, deadline: float) -> bytes:
    """Read until the server closes: we asked it to."""
    parts: list[bytes] = []
    size = 0
    while True:
        connection.settimeout(_left(deadline))
        part = connection.recv(_READ_BYTES)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > MAX_RESPONSE_BYTES:
            raise ValueError("the answer is too large")


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("timed out awaiting the answer")
    return left


def _parse(raw: bytes, method: str) -> Response:
    head, separator, body = raw.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError("the connection was closed before an answer came")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    status = int(status_line.split(" ")[1])
    if 100 <= status < 200:  # noqa: PLR2004 - informational, the real answer follows
        return _parse(body, method)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = _unchunked(body)
    elif "content-length" in headers and len(body) < int(headers["content-length"]) and method != "HEAD":
        raise ValueError("the connection was closed in the middle of the answer")
    return Response(status=status, headers=headers, body=body)


def _unchunked(raw: bytes) -> bytes:
    parts: list[bytes] = []
    while True:
        line, separator, raw = raw.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if not separator or len(raw) < size:
            raise ValueError("the connection was closed in the middle of the answer")
        if size == 0:
            return b"".join(parts)
        parts.append(raw[:size])
        raw = raw[size + 2 :]

"""Asks an ASGI application without a socket: what tests of a server's endpoints need."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from starlette.types import ASGIApp, Message


class Answered(Struct, kw_only=True):
    """What an application answered.

    Attributes:
        status: The HTTP status.
        headers: Their names in lower case.
        body: Whole.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Return the values of a body in JSON."""
        return json.loads(self.body)


async def ask(
    app: ASGIApp,
    method: str,
    address: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    sends: object = None,
) -> Answered:
    """Send one request and return its answer.

    Args:
        app: The application.
        method: The HTTP method.
        address: Path and query, quoted.
        headers: Of the request.
        body: Of the request.
        sends: Is sent as JSON in the place of `body`.
    """
    path, _, query = address.partition("?")
    sent = [{"type": "http.request", "body": body if sends is None else json.dumps(sends).encode()}]
    answered = Answered()

    async def receive() -> Message:
        return sent.pop() if sent else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered.status = message["status"]
            answered.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answered.body += message.get("body", b"")

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    return answered

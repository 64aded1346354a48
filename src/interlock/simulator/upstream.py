"""Passes calls on to a real organisation and writes down what was said. A hand: the one that talks to the vendor.

Only `python -m interlock.simulator --record` uses it. It sends what it was sent, follows no redirect and retries
nothing: what is recorded is what happened.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import IO, Self

import aiohttp
import msgspec
from starlette.types import Receive, Scope, Send
from yarl import URL

from .answer import Reply, Request
from .asgi import read_request, send_reply
from .oauth import TOKEN_PATH
from .recording import Recorder

LIMIT_S = 120.0
_FORWARDED = ("authorization", "content-type", "accept", "user-agent", "tf-correlation-id")
_FILE_MODE = 0o600


class RecordingProxy:
    """An ASGI application that is the vendor, with a notebook.

    Args:
        api_url, login_url: Where calls and token requests go.
        file: Where exchanges are added, one JSON document a line.
        recorder: What is kept of each.
    """

    def __init__(self, api_url: str, login_url: str, file: Path, recorder: Recorder) -> None:
        self._urls = (api_url.rstrip("/"), login_url.rstrip("/"))
        self._path = file
        self._recorder = recorder
        self._session: aiohttp.ClientSession | None = None
        self._file: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        """Open the file and the connections."""
        self._path.touch(mode=_FILE_MODE)
        self._file = self._path.open("ab")
        timeout = aiohttp.ClientTimeout(total=LIMIT_S)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=True, trust_env=True)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        """Close both."""
        if self._session is not None:
            await self._session.close()
        if self._file is not None:
            self._file.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request as ASGI has it."""
        if scope["type"] != "http":
            return
        request = await read_request(scope, receive)
        reply = await self._asked(request, scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1"))
        self._note(request, reply)
        await send_reply(reply, send)

    async def _asked(self, request: Request, path: str, query: str) -> Reply:
        if self._session is None:
            raise RuntimeError("the proxy serves only while it is open")
        base = self._urls[1] if request.path == TOKEN_PATH else self._urls[0]
        url = URL(base + path + (f"?{query}" if query else ""), encoded=True)
        headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
        try:
            async with self._session.request(
                request.method, url, data=request.body or None, headers=headers, allow_redirects=False
            ) as answer:
                body = await answer.read()
                kept = [(n, v) for n, v in answer.headers.items() if n.lower() not in _HOP]
                return Reply(status=answer.status, content=body, headers=tuple(kept))
        except (TimeoutError, aiohttp.ClientError) as error:
            message = f"the organisation could not be asked: {type(error).__name__}".encode()
            return Reply(status=502, content=message, headers=(("content-type", "text/plain"),))

    def _note(self, request: Request, reply: Reply) -> None:
        exchange = self._recorder.keep(request, reply)
        if exchange is not None and self._file is not None:
            self._file.write(msgspec.json.encode(exchange) + b"\n")
            self._file.flush()


_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-encoding", "content-length", "date", "server"}
)

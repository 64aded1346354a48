"""Speaks to a server: HTTP/1.1 with connections that are used again. A hand.

Small on purpose: a library takes longer to import than most commands take. Whatever is asked may be asked twice, so a
question whose answer was lost is simply asked again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from typing import Any, Final
from urllib.parse import SplitResult, urlencode, urlsplit

import httptools
import msgspec
from msgspec import Struct

from interlock import __version__
from interlock.api.problem import error_of
from interlock.bounded import decode_json
from interlock.clock import Clock
from interlock.errors import AuthenticationFailed, BackendUnavailable, InterlockError, UsageError, command, reason_of
from interlock.settings.values import Secret
from interlock.state import MAX_STATE_BYTES

BASE: Final = "/api/v1"
CONNECT_S: Final = 10.0
ANSWER_S: Final = 30.0
"""Seconds for an answer that needs no waiting."""
BULK_S: Final = 300.0
"""Seconds for an answer to a state of full size over a slow line."""
PAUSES_S: Final = (0.1, 0.4, 1.0)
"""Before each further attempt: a server that is restarted, or a replica that ends, is back by then."""
_IDLE_MAX: Final = 8
_ANSWER_BYTES_MAX: Final = MAX_STATE_BYTES + 1024 * 1024
_CHUNK: Final = 256 * 1024
_OK: Final = range(200, 300)
_NOTHING: Final = 204
_ABSENT: Final = 404


class Reply(Struct, kw_only=True):
    """A server's answer, whole."""

    status: int = 0
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""


class _Reading:
    """Collects an answer from what the parser reports."""

    def __init__(self) -> None:
        self.reply = Reply()
        self.is_whole = False
        self.began = False
        self._body = BytesIO()  # gives its buffer away without a copy, which of a large state would be as large

    def on_message_begin(self) -> None:
        self.began = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self.reply.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        if self._body.tell() + len(body) > _ANSWER_BYTES_MAX:
            raise BackendUnavailable("the server's answer is larger than any state", fix="interlock doctor")
        self._body.write(body)

    def on_message_complete(self) -> None:
        self.reply.body = self._body.getvalue()
        self.is_whole = True


class _Stale(Exception):
    """A connection that was kept had been closed by the server before our question came."""


class Line:
    """The way to one server.

    Args:
        url: Its address, such as `https://interlock.example.com`.
        token: Shown with each question.
        clock: For the pauses between attempts.
        patience_s: Seconds for which a server that is away is asked again, beyond the usual second and a half. A run
            that holds a state has as long as its lease.

    Raises:
        UsageError: It cannot be a token; see `check_token`.
    """

    def __init__(self, url: str, token: Secret, clock: Clock, *, patience_s: float = 0.0) -> None:
        check_token(token, url)
        self.url = url.rstrip("/")
        self._place: SplitResult = urlsplit(self.url)
        self._token = token
        self._clock = clock
        self._attempts = len(PAUSES_S) + 1 + int(patience_s / PAUSES_S[-1])
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._tls: ssl.SSLContext | None = None

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        *,
        body: bytes | Sequence[bytes] | None = None,
        wait_s: float = ANSWER_S,
        attempts: int | None = None,
        absent_ok: bool = False,
    ) -> Reply:
        """Ask, again when the answer was lost or the server cannot be reached; return an answer of success.

        Args:
            method: The HTTP method.
            path: Below `/api/v1`.
            query: Parameters; None values are left out.
            body: What is sent; of several parts, one after the other, so that nobody needs to join them.
            wait_s: Seconds to wait for the whole answer.
            attempts: How often to try at most; None for as often as this line is patient.
            absent_ok: "There is no such thing" is an answer too.

        Raises:
            InterlockError: What the server refused, as it told it.
            BackendUnavailable: It cannot be reached; whether it did what was asked is not known.
        """
        target = _target(self._place.path + BASE + path, query)
        parts = (body,) if isinstance(body, bytes) else body
        further = (self._attempts if attempts is None else attempts) - 1
        pauses = [*PAUSES_S, *[PAUSES_S[-1]] * further][:further]
        for pause_s in (*pauses, None):
            try:
                reply = await self._once(method, target, parts, wait_s)
                if reply.status in _OK or (absent_ok and reply.status == _ABSENT):
                    return reply
                raise self._refused(reply)
            except BackendUnavailable:
                if pause_s is None:
                    raise
                await self._clock.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    async def ask_for(
        self, kind: type[Any], method: str, path: str, query: Mapping[str, object] | None = None, **more: Any
    ) -> Any:
        """Ask as `ask` does; return the answer as a value of `kind`, or None for an empty one.

        Raises:
            BackendUnavailable: The answer is not one: a server of another version.
        """
        sends = more.pop("sends", None)
        if sends is not None:
            more["body"] = msgspec.json.encode(sends)
        reply = await self.ask(method, path, query, **more)
        if reply.status == _NOTHING:
            return None
        return self.read(reply.body, kind)

    def read(self, body: bytes, kind: type[Any]) -> Any:
        """Return what an answer says.

        Raises:
            BackendUnavailable: It has another form.
        """
        try:
            return decode_json(body, type=kind)
        except (msgspec.MsgspecError, ValueError) as error:
            raise BackendUnavailable(
                f"{self.url} gave an answer that cannot be read",
                why=f"{reason_of(error)}; it may be of another version than {__version__}",
                fix="interlock doctor",
            ) from error

    async def close(self) -> None:
        """Let go of all connections."""
        while self._idle:
            await _closed(self._idle.pop()[1])

    async def _once(self, method: str, target: str, parts: Sequence[bytes] | None, wait_s: float) -> Reply:
        while True:
            kept = bool(self._idle)
            try:
                return await self._told(method, target, parts, wait_s)
            except _Stale:
                if not kept:
                    raise self._away("it closed the connection") from None

    async def _told(self, method: str, target: str, parts: Sequence[bytes] | None, wait_s: float) -> Reply:
        try:
            async with asyncio.timeout(CONNECT_S + wait_s), self._connection() as (reader, writer):
                await _send(writer, self._head(method, target, parts), parts or ())
                return await _receive(reader, writer)
        except TimeoutError as error:
            raise self._away(f"no answer came within {wait_s:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise BackendUnavailable(
                f"the certificate of {self.url} is not trusted",
                why=error.verify_message,
                fix="SSL_CERT_FILE=ca.pem interlock doctor    with the certificate of your own authority in ca.pem",
            ) from error
        except (OSError, httptools.HttpParserError) as error:
            raise self._away(reason_of(error)) from error

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Lend a connection; it is kept when its answer was read whole, and closed after anything else."""
        pair = self._idle.pop() if self._idle else await self._connect()
        try:
            yield pair
        except BaseException:
            pair[1].close()
            raise
        if pair[1].is_closing() or len(self._idle) >= _IDLE_MAX:
            pair[1].close()
        else:
            self._idle.append(pair)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        is_tls = self._place.scheme == "https"
        if is_tls and self._tls is None:
            self._tls = ssl.create_default_context()
        port = self._place.port or (443 if is_tls else 80)
        async with asyncio.timeout(CONNECT_S):
            return await asyncio.open_connection(self._place.hostname, port, ssl=self._tls, limit=_CHUNK)

    def _refused(self, reply: Reply) -> InterlockError:
        """Return what the server refused. A token that it does not take is replaced by logging in again."""
        error = error_of(reply.status, reply.body)
        if reply.status == AuthenticationFailed.http_status:
            error.fix = command("login", self.url)
        return error

    def _head(self, method: str, target: str, parts: Sequence[bytes] | None) -> bytes:
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {self._place.netloc.rpartition('@')[2]}",
            f"Authorization: Bearer {self._token.value}",
            f"User-Agent: interlock/{__version__}",
            "Accept: application/json",
        ]
        if parts is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {sum(map(len, parts))}"]
        elif method != "GET":
            lines.append("Content-Length: 0")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _away(self, why: str) -> BackendUnavailable:
        return BackendUnavailable(f"{self.url} cannot be reached", why=why, fix="interlock doctor", server=self.url)


def check_token(token: Secret, url: str) -> None:
    """Refuse what would be more than one line of a request's head: a proxy answers that with its own 400.

    Raises:
        UsageError: It has several lines, or a character that cannot be printed.
    """
    lines = len(token.value.splitlines())
    if not token.value.isprintable():
        why = f"it has {lines} lines" if lines > 1 else "it has a character that cannot be printed"
        raise UsageError("this is not a token", why=why, fix=command("login", url.rstrip("/")))


def _target(path: str, query: Mapping[str, object] | None) -> str:
    said = {name: _spelled(value) for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(said)}" if said else path


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _send(writer: asyncio.StreamWriter, head: bytes, parts: Sequence[bytes]) -> None:
    try:
        writer.write(head)
        for part in parts:
            for start in range(0, len(part), _CHUNK):
                writer.write(memoryview(part)[start : start + _CHUNK])
                await writer.drain()
        await writer.drain()
    except (ConnectionResetError, BrokenPipeError):
        return  # the server may have answered before it closed: what it says tells more


async def _receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Reply:
    reading = _Reading()
    parser = httptools.HttpResponseParser(reading)
    while not reading.is_whole:
        try:
            chunk = await reader.read(_CHUNK)
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            if reading.began:
                raise ConnectionResetError("the connection ended in the middle of an answer")
            raise _Stale
        parser.feed_data(chunk)
    reading.reply.status = parser.get_status_code()
    if not parser.should_keep_alive():
        writer.close()
    return reading.reply


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, InterlockError, asyncio.TimeoutError):
        async with asyncio.timeout(1.0):
            await writer.wait_closed()

"""The HTTP server under our applications: uvicorn, with the limits that it does not have.

uvicorn's parser refuses what can be read in two ways (bad chunks, control characters in headers); this class adds a
deadline and a size for the head, deadlines for the body and for taking the answer, a number of connections and of
pipelined requests, and only request lines in origin form. Requests that are not for us or that a web page makes
(`strangers.py`) are refused before the application is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from interlock.listening.guests import Guests, connections_max, open_more_files, peer_of
from interlock.listening.strangers import ONLY_LOOPBACK, Names, find_fault

HEAD_MAX = 64 * 1024
"""Longest request head in bytes."""
HEADERS_MAX = 128
"""Most header fields of a request."""
HEAD_S = 10.0
"""Longest time from the first byte of a connection or request to the end of its head."""
BODY_SILENCE_S = 30.0
"""Longest time in which nothing of a body arrives, while we are ready to take it."""
BODY_S = 600.0
"""Longest time for a whole body: 256 MB at half a megabyte a second."""
LINGER_S = 5.0
"""Time to send the rest of a body that was answered before it had arrived, such as one without credentials."""
ANSWER_SILENCE_S = 30.0
"""Longest time in which a client takes nothing of an answer that waits for it."""
ANSWER_S = 600.0
"""Longest time in which some of an answer waits all the while: who takes a little at a time holds room in memory."""
BREATH_S = 1.0
"""A client that keeps up for so long is no slow one: a log that somebody follows waits for its reader now and then."""
PIPELINED_MAX = 16
"""Most requests that wait behind one that is worked on; nobody needs them, and each takes memory."""
KEEP_ALIVE_S = 30
"""Longest time between two requests of a connection."""
AWAY_S = 2.0
"""Time for a client without a place to send its request, so that it can read why it is refused."""
_FULL = 503, "too many connections"
_BAD_REQUEST = 400
_NOT_FOUND = 404
_LENGTHS = {b"content-length", b"transfer-encoding"}


class _UntilTheEnd(int):
    """The length of an answer that ends with its connection: longer than any piece, and never missed."""

    def __lt__(self, other: object) -> bool:
        return False

    def __sub__(self, other: object) -> Self:
        return self

    def __ne__(self, other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class GuardedProtocol(HttpToolsProtocol):
    """One connection of a client that may be hostile. Subclasses say how a refusal looks."""

    guests: Guests
    names: Names = ONLY_LOOPBACK
    _head_bytes = 0
    _reading_head = True
    _head_timer: asyncio.TimerHandle | None = None
    _body_timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None
    _body_until_s = 0.0
    _answer_until_s = 0.0
    _kept_up_at_s = float("-inf")
    _heard = False
    _refused: tuple[int, str] | None = None
    _is_turned_away = False
    _has_asked = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; when there are too many, the one that was idle longest goes."""
        super().connection_made(transport)
        if not self.guests.enter(self, self._make_room, peer=peer_of(transport.get_extra_info("peername"))):
            self._turn_away(_FULL)
            return
        self._head_timer = self.loop.call_later(HEAD_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timers."""
        self.guests.leave(self)
        self._stop_timer()
        self._stop_body_timer()
        self._stop_answer_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take its answer as fast as it comes: see that it takes some."""
        super().pause_writing()
        now_s = self.loop.time()
        if now_s - self._kept_up_at_s > BREATH_S:
            self._answer_until_s = now_s + ANSWER_S
        self._watch_answer()

    def resume_writing(self) -> None:
        """It has taken what waited."""
        self._stop_answer_timer()
        self._kept_up_at_s = self.loop.time()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Count the head's bytes before they are parsed."""
        self._heard = True
        if self._is_turned_away:
            return
        if self._reading_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX and not self._ends_head(data):
                self._refuse(431, "the request head is too long")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A new head begins."""
        super().on_message_begin()
        if not self._reading_head:
            self._reading_head, self._head_bytes = True, 0
            self._stop_timer()
            self._head_timer = self.loop.call_later(HEAD_S, self._head_is_late)

    def on_headers_complete(self) -> None:
        """The head is there: refuse what only a forward proxy or a smuggler would send."""
        self._reading_head, self._has_asked, self._head_bytes = False, True, 0
        self._stop_timer()
        self._refused = self._foreign() or self._fault()
        if self._refused is not None:
            raise _BadHead(self._refused[1])
        self._body_until_s = self.loop.time() + BODY_S
        self._watch_body(BODY_SILENCE_S)
        self.guests.begin(self)
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            # It knows no chunks: what has no announced length ends with the connection, which 1.0 closes anyway.
            self.cycle.chunked_encoding, self.cycle.expected_content_length = False, _UntilTheEnd()

    def on_message_complete(self) -> None:
        """The body is there."""
        self._stop_body_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request was answered: the connection is idle, or its next request is worked on."""
        has_more = self.cycle.more_body
        self._kept_up_at_s = float("-inf")
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if has_more and not self.pipeline:
            self._stop_body_timer()
            self._body_timer = self.loop.call_later(LINGER_S, self.transport.abort)
        if self.cycle.response_complete:
            self.guests.end(self, self._make_room)

    def refusal(self, status: int, why: str) -> tuple[bytes, bytes]:
        """Return content type and body of a refusal."""
        return b"text/plain", b"%d %s\n" % (status, why.encode())

    def _foreign(self) -> tuple[int, str] | None:
        """Return how a request that is not for us is refused: as if nothing were here."""
        if not self.url.startswith(b"/"):
            return _NOT_FOUND, "nothing is passed on from here: the request line must be in origin form"
        fault = find_fault(self.headers, self.names, self.url.partition(b"?")[0])
        return (_NOT_FOUND, fault) if fault else None

    def _fault(self) -> tuple[int, str] | None:
        why = self._misspelling()
        return (_BAD_REQUEST, why) if why else None

    def _misspelling(self) -> str:
        lengths = [name for name, _ in self.headers if name in _LENGTHS]
        if len(lengths) > 1:
            return "the length of the body is given twice"
        if len(self.pipeline) >= PIPELINED_MAX:
            return "too many requests were sent without waiting for an answer"
        return "too many headers" if len(self.headers) > HEADERS_MAX else ""

    def _ends_head(self, data: bytes) -> bool:
        """Say whether a large piece is mostly body: its head ends early enough."""
        end = data.find(b"\r\n\r\n")
        return end >= 0 and self._head_bytes - len(data) + end <= HEAD_MAX

    def _head_is_late(self) -> None:
        if self._reading_head and not self.transport.is_closing():
            self._refuse(408, "the request head did not arrive in time")

    def _watch_body(self, wait_s: float) -> None:
        self._stop_body_timer()
        self._heard = False
        self._body_timer = self.loop.call_later(wait_s, self._look_at_body)

    def _look_at_body(self) -> None:
        """End a connection whose body does not come; while we do not read, that is not its fault."""
        is_silent = not self._heard and not self.flow.read_paused
        if is_silent or self.loop.time() >= self._body_until_s:
            self.transport.abort()
        else:
            self._watch_body(BODY_SILENCE_S)

    def _watch_answer(self) -> None:
        self._stop_answer_timer()
        waiting = self.transport.get_write_buffer_size()
        left_s = max(self._answer_until_s - self.loop.time(), 0.0)
        self._answer_timer = self.loop.call_later(min(ANSWER_SILENCE_S, left_s), self._look_at_answer, waiting)

    def _look_at_answer(self, waited: int) -> None:
        """End a connection that took nothing, or too little in all.

        It counts as one that is worked on, and would hold its place, and its room in memory, for good.
        """
        is_silent = self.transport.get_write_buffer_size() >= waited
        if is_silent or self.loop.time() >= self._answer_until_s:
            self.transport.abort()
        else:
            self._watch_answer()

    def _refuse(self, status: int, why: str) -> None:
        if not self.transport.is_closing():
            self._write_refusal(status, why)
        self.transport.close()

    def _write_refusal(self, status: int, why: str) -> None:
        kind, body = self.refusal(status, why)
        head = b"HTTP/1.1 %d \r\ncontent-type: %s\r\nconnection: close\r\n" % (status, kind)
        self.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)

    def _make_room(self) -> None:
        """Another connection needs the place of this one, which was idle longest."""
        if self._has_asked and self._head_bytes == 0:
            self.transport.close()  # between two requests: a client knows that such a connection may end
        else:
            self._turn_away(_FULL)

    def _turn_away(self, why: tuple[int, str]) -> None:
        """Refuse a connection whose request is still coming.

        Were it closed at once, what then arrives would be answered by a reset, and that takes the refusal with it.
        """
        if self.transport.is_closing() or self._is_turned_away:
            return
        self._stop_timer()
        self._is_turned_away = True
        self._write_refusal(*why)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._head_timer = self.loop.call_later(AWAY_S, self.transport.abort)
        self.guests.send_away(self, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_answer_timer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused as everything else is refused."""
        self._refuse(*(self._refused or (_BAD_REQUEST, msg.rstrip("."))))


class _BadHead(Exception):
    """Stops the parser; it reports an HttpParserCallbackError, which becomes a 400."""


class QuietServer(uvicorn.Server):
    """A server that leaves signals to its process and says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def new_server(
    app: ASGIApp, *, protocol: type[GuardedProtocol] = GuardedProtocol, names: Names = ONLY_LOOPBACK, **options: Any
) -> QuietServer:
    """Return a guarded server for an application, not started.

    Args:
        app: The application.
        protocol: How a refusal looks.
        names: Under which names it may be addressed.
        options: Further ones of `uvicorn.Config`.
    """
    open_more_files()
    guests = Guests(connections_max())
    guarded: Callable[..., asyncio.Protocol] = type("Guarded", (protocol,), {"guests": guests, "names": names})
    config = uvicorn.Config(
        app,
        http=guarded,  # type: ignore[arg-type]
        ws="none",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        **options,
    )
    return QuietServer(config)

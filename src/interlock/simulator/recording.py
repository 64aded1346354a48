"""Recorded traffic of a real organisation: what of an exchange is kept, and how it is answered again. Pure.

Nothing secret is kept: no header but the content type and what the limits say, no body of the login service, no value
under a name that sounds secret (`clientSecret`, `password`, `credentialFields`), no copy of a secret seen earlier. What
remains is still an organisation's own data (names, e-mail addresses, numbers): a recording is no public file.

On replay a call is answered with what the same call was answered, in the order of the recording; the last answer stays.
A call is the same when method, path and query are; among several, one with the same body is preferred.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from interlock.secrecy import NO_KNOWN_SECRETS, NO_SECRETS, KnownSecrets, hide_within, placed_texts

from .answer import Moment, Reply, Request
from .control import CONTROL_PREFIX
from .oauth import TOKEN_PATH, bearer
from .simulation import Outcome

SCHEMA = 1
MAX_EXCHANGES = 100_000
KEPT_HEADERS = ("content-type", "retry-after", "inin-ratelimit-count", "inin-ratelimit-allowed", "inin-ratelimit-reset")
REPLAYED_TOKEN = "replayed"  # noqa: S105 - it opens nothing


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer, without secrets.

    Attributes:
        query: Sorted, as one text.
        body: What was sent, decoded JSON; None for nothing, or for what is no JSON.
        content: What was answered, likewise; a text that is no JSON as it is.
    """

    method: str
    path: str
    status: int
    query: str = ""
    body: Any = None
    content: Any = None
    headers: dict[str, str] = {}
    schema: int = SCHEMA


class Recorder:
    """Turns exchanges into what is kept of them.

    Args:
        known: Secrets known from the start, such as the client's own.
    """

    def __init__(self, known: KnownSecrets = NO_KNOWN_SECRETS) -> None:
        self._known = known

    def keep(self, request: Request, reply: Reply) -> Exchange | None:
        """Return what is kept of an exchange; None for one with the login service.

        Args:
            request: As the client sent it.
            reply: As the vendor answered it; `content` is bytes.
        """
        body, content = _decoded(request.body), _decoded(reply.content or b"")
        self._learn(request, body, content)
        if request.path == TOKEN_PATH or request.path.startswith(CONTROL_PREFIX):
            return None
        headers = {name.lower(): value for name, value in reply.headers if name.lower() in KEPT_HEADERS}
        return Exchange(
            method=request.method,
            path=self._known.hide(request.path),
            status=reply.status,
            query=self._known.hide(spelled(request.query)),
            body=self._hidden(body),
            content=self._hidden(content),
            headers=headers,
        )

    def _learn(self, request: Request, *bodies: Any) -> None:
        token = bearer(request)
        found = [text for body in bodies for text in placed_texts(body, ())]
        self._known = self._known.and_of([text for text in (token, *found) if text])

    def _hidden(self, value: Any) -> Any:
        return self._known.hide_within(hide_within(value, NO_SECRETS))


class Replay:
    """Answers calls as they were answered.

    Args:
        exchanges: In the order of the recording.
    """

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self._answers: dict[tuple[str, str, str], list[Exchange]] = {}
        for exchange in exchanges:
            self._answers.setdefault((exchange.method, exchange.path, exchange.query), []).append(exchange)
        self.unknown: list[str] = []

    def handle(self, request: Request, _moment: Moment) -> Outcome:
        """Serve one request: any token is granted and believed; a call that was not recorded is a 404."""
        if request.path == TOKEN_PATH:
            granted = {"access_token": REPLAYED_TOKEN, "token_type": "bearer", "expires_in": 86_400}
            return Outcome(reply=Reply(content=granted))
        if request.path == CONTROL_PREFIX + "unknown":
            return Outcome(reply=Reply(content={"unknown": self.unknown}))
        exchange = self._next(request)
        if exchange is None:
            return Outcome(reply=self._refused(request))
        content = exchange.content.encode() if isinstance(exchange.content, str) else exchange.content
        return Outcome(reply=Reply(status=exchange.status, content=content, headers=_headers(exchange)))

    def _next(self, request: Request) -> Exchange | None:
        waiting = self._answers.get((request.method, request.path, spelled(request.query)))
        if not waiting:
            return None
        body = _decoded(request.body)
        at = next((at for at, each in enumerate(waiting) if each.body == body), 0)
        return waiting.pop(at) if len(waiting) > 1 else waiting[0]

    def _refused(self, request: Request) -> Reply:
        if len(self.unknown) < MAX_EXCHANGES:
            self.unknown.append(f"{request.method} {request.path}")
        message = f"The recording has no {request.method} {request.path}"
        content = {"message": message, "code": "not.recorded", "status": 404, "messageParams": {}, "errors": []}
        return Reply(status=404, content=content)


def read_recording(lines: Iterable[bytes]) -> Iterator[Exchange]:
    """Yield the exchanges of a file, one JSON document a line.

    Raises:
        ValueError: A line is no exchange, or of a later version than this.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if number > MAX_EXCHANGES:
            raise ValueError(f"the recording has more than {MAX_EXCHANGES} exchanges")
        try:
            exchange = msgspec.json.decode(line, type=Exchange)
        except msgspec.MsgspecError as error:
            raise ValueError(f"line {number} of the recording is not an exchange: {error}") from error
        if exchange.schema > SCHEMA:
            raise ValueError(f"line {number} of the recording is of version {exchange.schema}; this reads {SCHEMA}")
        yield exchange


def spelled(query: Any) -> str:
    """Return a query as one text in which the order of parameters does not matter."""
    return "&".join(f"{name}={value}" for name, value in sorted(query.items()))


def _decoded(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw.decode("utf-8", "replace")


def _headers(exchange: Exchange) -> tuple[tuple[str, str], ...]:
    """Return the recorded headers; the server itself says what JSON is."""
    kept = exchange.headers if isinstance(exchange.content, str) else {**exchange.headers, "content-type": ""}
    return tuple((name, value) for name, value in kept.items() if value)

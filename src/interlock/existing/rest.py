"""Requests to a service that keeps states: with limits, repeated as far as repeating is harmless. A hand."""

from __future__ import annotations

import asyncio
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from interlock.clock import Clock
from interlock.errors import AuthenticationFailed, BackendUnavailable
from interlock.existing.http import Reply, without_secrets
from interlock.state import MAX_STATE_BYTES
from interlock.trust.sending import SameOrigin

TIMEOUT_S = 60.0  # of one request; a state of 256 MB on a slow line
ATTEMPTS = 4
_PAUSE_S = 0.5  # before the second attempt; doubled before each further one
_DENIED = frozenset({401, 403})
_BUSY = 429
_BROKEN = 500

Sign = Callable[[urllib.request.Request, bytes], None]
"""Adds to a request what proves who we are; called in a thread, for each attempt anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Who is asked.

    Attributes:
        title: For people: `bucket states of Google Cloud Storage`.
        login: What to do when our credentials are refused.
        sign: See `Sign`.
        context: Which certificates are accepted; None for the system's.
        proxy: URL of the proxy to go by; empty for what the environment says.
    """

    title: str
    login: str
    sign: Sign
    context: ssl.SSLContext | None = None
    proxy: str = field(default="", repr=False)


class Rest:
    """The way to a service.

    Args:
        service: Who is asked.
        clock: For pauses.
    """

    def __init__(self, service: Service, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._said_at: tuple[float, float] | None = None
        handlers: list[urllib.request.BaseHandler] = [SameOrigin()]
        if service.context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=service.context))
        if service.proxy:
            handlers.append(urllib.request.ProxyHandler(dict.fromkeys(("http", "https"), service.proxy)))
        self._opener = urllib.request.build_opener(*handlers)

    def server_time_s(self) -> float | None:
        """Return what the service's clock says now, in seconds since 1970; None before its first answer."""
        if self._said_at is None:
            return None
        said_s, at_s = self._said_at
        return said_s + self._clock.monotonic() - at_s

    async def send(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        answers: frozenset[int] = frozenset(),
        repeats: bool = True,
    ) -> Reply:
        """Send a request; return an answer of success, or one whose status is in `answers`.

        Args:
            method: HTTP's.
            url: Where to, without credentials.
            body: What to send.
            headers: Beside those that `sign` adds.
            answers: Statuses beside 2xx that the caller understands.
            repeats: Whether it may be sent again when its outcome is unknown.

        Raises:
            AuthenticationFailed: 401 or 403.
            BackendUnavailable: There is no usable answer.
        """
        failure = BackendUnavailable(f"{self._service.title} did not answer", fix="try again later")
        for attempt in range(ATTEMPTS if repeats else 1):
            if attempt:
                await self._clock.sleep(_PAUSE_S * 2.0 ** (attempt - 1))
            try:
                reply = await asyncio.to_thread(self._exchange, method, url, body, dict(headers or {}))
            except (OSError, ValueError, http.client.HTTPException) as error:
                failure = BackendUnavailable(
                    f"{self._service.title} cannot be reached",
                    why=f"{without_secrets(url)}: {getattr(error, 'reason', None) or type(error).__name__}",
                    fix="check address and network: interlock doctor",
                )
                continue
            self._hear_time(reply)
            if 200 <= reply.status < 300 or reply.status in answers:  # noqa: PLR2004 - HTTP's own boundaries
                return reply
            if reply.status in _DENIED:
                raise AuthenticationFailed(
                    f"{self._service.title} refused our credentials",
                    why=f"{method} {without_secrets(url)} answered {reply.status}",
                    fix=self._service.login,
                )
            failure = BackendUnavailable(
                f"{self._service.title} did not do what was asked",
                why=f"{method} {without_secrets(url)} answered {reply.status}",
                fix="try again later",
            )
            if reply.status != _BUSY and reply.status < _BROKEN:
                break
        raise failure

    def _hear_time(self, reply: Reply) -> None:
        with suppress(ValueError, TypeError):
            said = parsedate_to_datetime(reply.headers.get("date", ""))
            self._said_at = (said.timestamp(), self._clock.monotonic())

    def _exchange(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        headers = {"User-Agent": "interlock", **headers}
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(url, data=body, method=method, headers=headers)  # noqa: S310 - ours, checked
        self._service.sign(request, body or b"")
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return _read(answer.status, answer)
        except urllib.error.HTTPError as error:
            with error:
                return _read(error.code, error)


def _read(status: int, answer: http.client.HTTPResponse | urllib.error.HTTPError) -> Reply:
    content = answer.read(MAX_STATE_BYTES + 1)
    if len(content) > MAX_STATE_BYTES:
        raise ValueError("it sent too much")
    return Reply(status=status, body=content, headers={name.lower(): value for name, value in answer.headers.items()})

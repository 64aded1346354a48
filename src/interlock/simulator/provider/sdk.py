"""The HTTP behaviour of the Go SDK inside the provider: addresses, headers, retries, errors.

Source: docs/facts/genesys.md#genesys-13 and #genesys-24. Fixed waits can be divided by a speed so that tests
need not sit through them; Retry-After is always obeyed in full.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic  # noqa: TID251 - a plugin process of its own; nothing is composed here
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .wire import Endpoint, Response, WireError, exchange

ATTEMPTS = 21
ATTEMPT_LIMIT_S = 16.0
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 30.0
LONGEST_RETRY_AFTER_S = 180
USER_AGENT = "GC Terraform Provider/1.84.1"

_TOO_MANY = 429
_UNAVAILABLE = 503
_NOT_IMPLEMENTED = 501


class ApiError(Exception):
    """The API answered with an error, or not at all.

    Attributes:
        status: HTTP status; 0 when there was no answer.
    """

    def __init__(self, message: str, *, method: str, path: str, status: int = 0, correlation_id: str = "") -> None:
        super().__init__(message)
        self.method = method
        self.path = path
        self.status = status
        self.correlation_id = correlation_id

    def detail(self, resource_type: str) -> str:
        """Return the detail of a diagnostic, as util_diagnostics.go writes it."""
        if not self.status:
            return f"{resource_type}: the APIResponse has no data"
        facts = {
            "resourceType": resource_type,
            "method": self.method,
            "path": self.path,
            "statusCode": self.status,
            "errorMessage": str(self),
            "correlationId": self.correlation_id,
        }
        return json.dumps(facts)


class Stopped(Exception):
    """Terraform asked the provider to stop; retries end, what is in flight does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast fixed waits pass, and when to stop waiting.

    Attributes:
        is_stubborn: Waits between attempts of one call go on though Terraform asked to stop, as in the real SDK.
    """

    speed: float
    stopping: threading.Event
    is_stubborn: bool = False

    def wait(self, wait_s: float, *, scaled: bool = True) -> None:
        """Wait.

        Raises:
            Stopped: Terraform asked to stop meanwhile.
        """
        if self.stopping.wait(wait_s / self.speed if scaled else wait_s):
            raise Stopped

    def wait_for_retry(self, wait_s: float, *, scaled: bool = True) -> None:
        """Wait between two attempts of one call.

        Raises:
            Stopped: Terraform asked to stop meanwhile, and the provider is not stubborn.
        """
        if self.is_stubborn:
            threading.Event().wait(wait_s / self.speed if scaled else wait_s)
        else:
            self.wait(wait_s, scaled=scaled)


class Patience:
    """How long something is tried.

    At a speed, the waits count and not the clock: a busy machine needs as long for a request as ever, and would end a
    minute that takes half a second before its second attempt.

    Args:
        pace: Waits.
        limit_s: For so long, as the real provider counts.
    """

    def __init__(self, pace: Pace, limit_s: float) -> None:
        self._pace = pace
        self._limit_s = limit_s
        self._began_s = monotonic()
        self._waited_s = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it is time to give up."""
        return max(self._waited_s, monotonic() - self._began_s) >= self._limit_s

    def wait(self, wait_s: float) -> None:
        """Wait between two attempts. Raises as `Pace.wait`."""
        self._pace.wait(wait_s)
        self._waited_s += wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The two services behind one gateway."""

    api: Endpoint
    login: Endpoint


class Sdk:
    """Calls the API with one token.

    Args:
        upstream: Where.
        token: Read before every attempt, so a refreshed token is used at once.
        pace: Waits.
    """

    def __init__(self, upstream: Upstream, token: str, *, pace: Pace) -> None:
        self.upstream = upstream
        self.token = token
        self.pace = pace

    def call(self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Any:
        """Call `/api/v2` + path and return the decoded answer, None for an empty one.

        Raises:
            ApiError: The API refused, or no attempt was answered.
            Stopped: Terraform stopped the provider while it waited for a retry.
        """
        full = "/api/v2" + quote(path, safe="/-_.~")
        target = f"{full}?{urlencode(query)}" if query else full
        raw = b"" if body is None else json.dumps(body).encode()
        response = self._attempt_all(method, full, target, raw)
        if response.status >= 400:  # noqa: PLR2004 - HTTP's own border of errors
            raise _api_error(response, method, full)
        if not response.body:
            return None
        try:
            return json.loads(response.body)
        except ValueError as error:
            raise ApiError(f"invalid JSON in the answer: {error}", method=method, path=full) from error

    def upload(self, url: str, body: bytes, headers: Mapping[str, str], method: str = "PUT") -> Response:
        """Send to an absolute URL that the API returned: no gateway, no retry (docs/facts/genesys.md#genesys-15).

        Raises:
            ApiError: There was no answer.
        """
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        endpoint = Endpoint(scheme=parts.scheme, host=parts.hostname or "", port=port)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            return exchange(endpoint, method, target, headers=headers, body=body, timeout_s=ATTEMPT_LIMIT_S)
        except WireError as error:
            raise ApiError(str(error), method=method, path=parts.path) from error

    def _attempt_all(self, method: str, path: str, target: str, body: bytes) -> Response:
        failure = ""
        for attempt in range(ATTEMPTS):
            response: Response | None = None
            try:
                response = self._attempt(method, target, body)
            except WireError as error:
                failure = str(error)
            if response is not None and not _is_retried(response):
                return response
            if attempt + 1 < ATTEMPTS:
                self._back_off(attempt, response)
        message = f"{method} {path} giving up after {ATTEMPTS} attempt(s){': ' + failure if failure else ''}"
        raise ApiError(message, method=method, path=path)

    def _attempt(self, method: str, target: str, body: bytes) -> Response:
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "TF-Correlation-Id": str(uuid.uuid4()),  # noqa: TID251 - a plugin process of its own
        }
        return exchange(self.upstream.api, method, target, headers=headers, body=body, timeout_s=ATTEMPT_LIMIT_S)

    def _back_off(self, attempt: int, response: Response | None) -> None:
        told = _retry_after(response) if response is not None and response.status in {_TOO_MANY, _UNAVAILABLE} else None
        if told is not None:
            self.pace.wait_for_retry(told, scaled=False)
        else:
            self.pace.wait_for_retry(min(FIRST_BACKOFF_S * 2**attempt, LONGEST_BACKOFF_S))


def _is_retried(response: Response) -> bool:
    if response.status == _TOO_MANY:
        return (_retry_after(response) or 0) <= LONGEST_RETRY_AFTER_S
    return response.status >= 500 and response.status != _NOT_IMPLEMENTED  # noqa: PLR2004 - HTTP's server errors


def _retry_after(response: Response) -> int | None:
    value = response.headers.get("retry-after", "")
    return int(value) if value.isascii() and value.isdigit() else None


def _api_error(response: Response, method: str, path: str) -> ApiError:
    correlation_id = response.headers.get("inin-correlation-id", "")
    try:
        message = str(json.loads(response.body)["message"])
    except (ValueError, KeyError, TypeError):
        text = response.body[:200].decode("utf-8", "replace")
        return ApiError(
            f"API Error: {response.status} - {text}", method=method, path=path
        )  # no JSON: no status (docs/facts/genesys.md#genesys-25)
    return ApiError(
        f"API Error: {response.status} - {message} ({correlation_id})",
        method=method,
        path=path,
        status=response.status,
        correlation_id=correlation_id,
    )

"""What reaches the simulated API and what it says back, free of any HTTP library.

Errors have the vendor's fields (`status`, `code`, `message`, `messageParams`, `contextId`, `details`, `errors`).
Source: src/interlock/genesys/data/limits.json (error_body_fields, response_429); codes marked "ours" are not
documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
"""A JSON object of the vendor's API, which we do not own; the edge where untyped data enters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One instant on both clocks.

    Attributes:
        at: Aware UTC instant, for the dates in objects and audits.
        elapsed_s: Monotonic seconds, for windows, delays and lifetimes.
    """

    at: datetime
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as the API sees it.

    Attributes:
        method: Upper case.
        path: The path without query, undecoded parts already decoded.
        query: The last value of each query parameter.
        headers: Lower-case names.
        body: At most `MAX_BODY_BYTES` bytes.
        scheme: How the client reached us, `http` or `https`.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    scheme: str = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; `content` None means an empty body, bytes are sent as they are, anything else as JSON."""

    status: int = 200
    content: Any = None
    headers: tuple[tuple[str, str], ...] = ()


class ApiRefusal(Exception):
    """The API refuses a request; becomes an error body, never a failure of ours.

    Args:
        status: HTTP status, 400 to 599.
        code: The vendor's error code.
        message: One line; goes into Terraform's error text.
        params: `messageParams` of the body.
        headers: Extra response headers, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.params = dict(params or {})
        self.headers = headers

    def reply(self, correlation_id: str) -> Reply:
        """Return the error in the API's form."""
        content = {
            "message": self.message,
            "code": self.code,
            "status": self.status,
            "messageParams": self.params,
            "contextId": correlation_id,
            "details": [],
            "errors": [],
        }
        return Reply(status=self.status, content=content, headers=self.headers)


def bad_request(message: str, code: str = "bad.request") -> ApiRefusal:
    """Return a 400."""
    return ApiRefusal(400, code, message)


def not_found(kind: str, wanted: str) -> ApiRefusal:
    """Return the 404 of one object."""
    return ApiRefusal(404, "not.found", f"Unable to find a {kind} with the id {wanted}", params={"id": wanted})


def conflict(message: str, code: str = "general.conflict") -> ApiRefusal:
    """Return a 409."""
    return ApiRefusal(409, code, message)

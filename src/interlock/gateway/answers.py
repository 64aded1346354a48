"""The gateway's own answers, in the API's error form, so that SDKs show them like any other API error.

Source of the form: genesys/data/limits.json, `response_429` and `error_body_fields`. Bodies are JSON always: the SDKs
lose the status of an error they cannot decode.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from interlock.gateway.headers import Pair
from interlock.gateway.route import Refused
from interlock.genesys.limits import TOO_MANY_REQUESTS_CODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer."""

    status: int
    headers: tuple[Pair, ...]
    body: bytes


OUTCOME_UNKNOWN_STATUS = 424
"""What a client gets when nobody knows whether its write was done: no SDK repeats it by itself."""


def api_error(status: int, code: str, message: str, *, correlation: str, retry_after_s: int | None = None) -> Answer:
    """Return an error in the API's form.

    Args:
        status: HTTP status.
        code: Dotted, such as `interlock.fenced`.
        message: One sentence for people.
        correlation: The id that the answer carries, for logs.
        retry_after_s: Adds the header.
    """
    document = {
        "message": message,
        "code": code,
        "status": status,
        "contextId": correlation,
        "details": [],
        "errors": [],
    }
    return _answer(status, document, correlation, retry_after_s)


def refused(route: Refused, *, correlation: str) -> Answer:
    """Answer a request line that goes nowhere."""
    return api_error(route.status, route.code, route.message, correlation=correlation)


def too_many(retry_after_s: int, why: str, *, correlation: str) -> Answer:
    """Answer a request that waited long enough, in the words of the API's own 429."""
    message = f"{why}. Retry the request in [{retry_after_s}] seconds"
    return api_error(429, TOO_MANY_REQUESTS_CODE, message, correlation=correlation, retry_after_s=retry_after_s)


def fenced(run: str, *, correlation: str) -> Answer:
    """Answer a run whose grant is no longer current."""
    return api_error(409, "interlock.fenced", fenced_text(run), correlation=correlation)


def fenced_text(run: str) -> str:
    """Return what a run is told whose grant is no longer current."""
    return (
        f"Interlock refused this call: run {run} no longer holds its lock, so it may change nothing any more. "
        "Nothing was sent to Genesys Cloud"
    )


def done() -> Answer:
    """Answer a write that is known to be done although its own answer was lost."""
    return Answer(status=204, headers=(), body=b"")


def outcome_unknown(method: str, *, correlation: str) -> Answer:
    """Answer a write that was sent and whose reply was lost."""
    message = (
        f"Interlock does not know whether this {method} was carried out: it was sent and its answer was lost. "
        "It was not sent again. "
        + ("What it made may be in no state" if method == "POST" else "Plan again: the refresh shows what exists")
    )
    return api_error(OUTCOME_UNKNOWN_STATUS, "interlock.outcome.unknown", message, correlation=correlation)


def unreachable(why: str, *, correlation: str, retry_after_s: int = 2) -> Answer:
    """Answer a request that the API did not carry out because it, or its login service, cannot be reached."""
    message = f"Interlock cannot reach Genesys Cloud: {why}"
    return api_error(
        503, "interlock.upstream.unavailable", message, correlation=correlation, retry_after_s=retry_after_s
    )


def login_error(status: int, error: str, description: str) -> Answer:
    """Return an error in the login service's form; SDKs fail to decode anything else."""
    return _answer(status, {"error": error, "error_description": description}, "", None)


def login_answer(token: str, life_s: int) -> Answer:
    """Return a good answer of the login service."""
    return _answer(200, {"access_token": token, "token_type": "bearer", "expires_in": life_s}, "", None)


def plain(status: int, document: dict[str, object]) -> Answer:
    """Return any small JSON answer."""
    return _answer(status, document, "", None)


def _answer(status: int, document: dict[str, object], correlation: str, retry_after_s: int | None) -> Answer:
    headers: list[Pair] = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-cache, no-store, must-revalidate"),
    ]
    if correlation:
        headers.append((b"inin-correlation-id", correlation.encode()))
    if retry_after_s is not None:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    return Answer(status=status, headers=tuple(headers), body=json.dumps(document).encode())

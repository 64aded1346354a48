"""What to do with the outcome of an attempt: answer, send again, or say that nobody knows.

Safe is: what was refused before it was worked on (429, a connection that never stood), and anything whose repetition
changes nothing. A POST whose outcome is unknown is never sent again; its client is told so with a status that the Go
SDK does not retry by itself (it repeats every 5xx but 501, POST included).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from interlock.gateway.headers import RETRY_AFTER_DEFAULT_S

ATTEMPTS_MAX = 8
"""Attempts of one request inside the gateway, refusals by budget not counted."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_READING_POSTS = ("/search",)  # last segments; POST /users/search and the like change nothing
_INTERMEDIARY = frozenset({502, 504})  # said by something between, so the API may have worked on it
_UNAVAILABLE = 503
_TOO_MANY = 429
_UNAUTHORISED = 401
_PAUSE_MIN_S = 0.25
_PAUSE_MAX_S = 4.0


class Failure(Enum):
    """Why there is no answer."""

    UNSENT = "unsent"
    """No connection could be made, so nothing was sent."""
    LOST = "lost"
    """It was sent and no whole answer came back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The API answered.

    Attributes:
        status: Of the answer.
        retry_after_s: What its Retry-After says; None without one.
    """

    status: int
    retry_after_s: float | None = None


Outcome: TypeAlias = Answered | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """Give the client what the API said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Send the request again.

    Attributes:
        pause_s: Not before so many seconds; budgets may make it wait longer.
        fresh_token: The token was refused; use another one.
    """

    pause_s: float = 0.0
    fresh_token: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Tell the client that nobody knows whether the API did it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """Tell the client that the API did not do it and cannot be reached."""


Verdict: TypeAlias = Deliver | Again | Unknown | Unreachable


def is_repeatable(method: str, path: str) -> bool:
    """Say whether sending it twice is the same as once."""
    return method in _SAFE_METHODS or (method == "POST" and path.rstrip("/").endswith(_READING_POSTS))


def judge(outcome: Outcome, *, method: str, path: str, attempt: int, replayed_401: bool) -> Verdict:
    """Decide what follows an attempt.

    Args:
        outcome: What came back.
        method: Upper case.
        path: Without the query.
        attempt: 1 for the first; 429s do not count.
        replayed_401: Whether this request was sent again after a 401 before.
    """
    last = attempt >= ATTEMPTS_MAX
    match outcome:
        case Failure.UNSENT:
            return Unreachable() if last else Again(pause_s=pause_s(attempt))
        case Failure.LOST:
            if not is_repeatable(method, path):
                return Unknown()
            return Unreachable() if last else Again(pause_s=pause_s(attempt))
        case Answered():
            return _judge_answer(outcome, method=method, path=path, attempt=attempt, replayed_401=replayed_401)


def _judge_answer(answer: Answered, *, method: str, path: str, attempt: int, replayed_401: bool) -> Verdict:
    if answer.status == _TOO_MANY:
        wait_s = RETRY_AFTER_DEFAULT_S if answer.retry_after_s is None else answer.retry_after_s
        return Again(pause_s=wait_s)
    if answer.status == _UNAUTHORISED:
        return Deliver() if replayed_401 else Again(fresh_token=True)
    if answer.status in _INTERMEDIARY and not is_repeatable(method, path):
        return Unknown()
    if answer.status in _INTERMEDIARY or answer.status == _UNAVAILABLE:
        if attempt >= ATTEMPTS_MAX or not is_repeatable(method, path):
            return Deliver()
        return Again(pause_s=max(pause_s(attempt), answer.retry_after_s or 0.0))
    return Deliver()


def pause_s(attempt: int) -> float:
    """Return the pause before the next attempt: a quarter of a second, doubling to four."""
    return min(_PAUSE_MIN_S * 2.0 ** (attempt - 1), _PAUSE_MAX_S)

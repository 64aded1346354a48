"""What to do with the outcome of an attempt: answer, send again, look at the object, or say that nobody knows.

Safe is: what was refused before it was worked on (429, a connection that never stood), and anything whose repetition
changes nothing. A write whose answer was lost may have been done. Repeating it blindly would report its success as a
conflict (a PUT with a version: 409; a DELETE: 404), so its object is looked at first (`traces.py`). A POST leaves no
trace at its own path: it is never sent again, and its client is told so with a status that the Go SDK does not
retry by itself (it repeats every 5xx but 501, POST included).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from interlock.gateway.headers import RETRY_AFTER_DEFAULT_S
from interlock.gateway.traces import Trace, leaves_traces

ATTEMPTS_MAX = 8
"""Attempts of one request inside the gateway, refusals by budget not counted."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_READING_POSTS = ("/search",)  # last segments; POST /users/search and the like change nothing
_INTERMEDIARY = frozenset({502, 504})  # said by something between, so the API may have worked on it
_UNAVAILABLE = 503
_TOO_MANY = 429
_UNAUTHORISED = 401
_GONE = frozenset({404, 410})
_FAILED = 400
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
class Look:
    """Look at the object of a write whose answer was lost, and go on by `judge_trace`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Tell the client that its write was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Tell the client that nobody knows whether the API did it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """Tell the client that the API did not do it and cannot be reached."""


Verdict: TypeAlias = Deliver | Again | Look | Done | Unknown | Unreachable


def is_read(method: str, path: str) -> bool:
    """Say whether it changes nothing, so that sending it twice is the same as once."""
    return method in _READS or (method == "POST" and path.rstrip("/").endswith(_READING_POSTS))


def is_answer(status: int) -> bool:
    """Say whether the API itself answered, and not something between that lost its answer."""
    return status not in _INTERMEDIARY


def judge(
    outcome: Outcome, *, method: str, path: str, attempt: int, replayed_401: bool, lost_before: bool = False
) -> Verdict:
    """Decide what follows an attempt.

    Args:
        outcome: What came back.
        method: Upper case.
        path: Without the query.
        attempt: 1 for the first; 429s do not count.
        replayed_401: Whether this request was sent again after a 401 before.
        lost_before: Whether an earlier attempt of it was sent and its answer lost.
    """
    last = attempt >= ATTEMPTS_MAX
    match outcome:
        case Failure.UNSENT:
            if last:
                return Unknown() if lost_before else Unreachable()
            return Again(pause_s=pause_s(attempt))
        case Failure.LOST if not is_read(method, path):
            return _after_loss(method)
        case Failure.LOST:
            return Unreachable() if last else Again(pause_s=pause_s(attempt))
        case Answered():
            verdict = _judge_answer(outcome, method=method, path=path, attempt=attempt, replayed_401=replayed_401)
            if lost_before and not is_read(method, path) and isinstance(verdict, Deliver):
                return _echo(method, outcome.status) or verdict
            return verdict


def _after_loss(method: str) -> Verdict:
    return Look() if leaves_traces(method) else Unknown()


def _echo(method: str, status: int) -> Done | Look | None:
    """Say what follows when a repetition fails, perhaps for what its own lost attempt did, while that may be done."""
    if method == "DELETE" and status in _GONE:
        return Done()
    return Look() if status >= _FAILED and leaves_traces(method) else None


def judge_trace(
    trace: Trace | None, *, method: str, is_guarded: bool, attempt: int, is_answered: bool
) -> Deliver | Again | Done | Unknown:
    """Decide what follows a look at the object of a lost write.

    Args:
        trace: What the object shows; None when it could not be looked at.
        method: PUT, PATCH or DELETE.
        is_guarded: Whether the write names the version that it replaces.
        attempt: The last one, 1 for the first.
        is_answered: Whether the last attempt was answered, with a failure; then an earlier one was lost.
    """
    if trace is Trace.DONE:
        return Done()
    if is_answered:
        return Deliver() if trace is Trace.NOT_DONE else Unknown()
    if attempt >= ATTEMPTS_MAX:
        return Unknown()
    # A guarded write may be sent again when the look failed: the API does it at most once. One that was looked at and
    # shows another version lost a race, or was done and overwritten since: nobody can tell.
    may_repeat = {
        Trace.NOT_DONE: True,
        Trace.UNCLEAR: method != "PATCH" and not is_guarded,
        None: method != "PATCH" or is_guarded,
    }
    return Again(pause_s=pause_s(attempt)) if may_repeat[trace] else Unknown()


def _judge_answer(answer: Answered, *, method: str, path: str, attempt: int, replayed_401: bool) -> Verdict:
    if answer.status == _TOO_MANY:
        wait_s = RETRY_AFTER_DEFAULT_S if answer.retry_after_s is None else answer.retry_after_s
        return Again(pause_s=wait_s)
    if answer.status == _UNAUTHORISED:
        return Deliver() if replayed_401 else Again(fresh_token=True)
    if answer.status in _INTERMEDIARY and not is_read(method, path):
        return _after_loss(method)
    if answer.status in _INTERMEDIARY or answer.status == _UNAVAILABLE:
        if attempt >= ATTEMPTS_MAX or (method in {"POST", "PATCH"} and not is_read(method, path)):
            return Deliver()
        return Again(pause_s=max(pause_s(attempt), answer.retry_after_s or 0.0))
    return Deliver()


def pause_s(attempt: int) -> float:
    """Return the pause before the next attempt: a quarter of a second, doubling to four."""
    return min(_PAUSE_MIN_S * 2.0 ** (attempt - 1), _PAUSE_MAX_S)

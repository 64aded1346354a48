"""A refusal over HTTP: RFC 9457's problem, with which a client makes the very same error again. Pure.

An error tells what happened, why, and the next command, and its class decides the exit status and what a caller does.
All of that crosses; a class that is only known to the server crosses as the family that it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from interlock import errors
from interlock.bounded import decode_json
from interlock.coordinator.refusals import HeadMoved, PlaceLost
from interlock.errors import BackendUnavailable, InterlockError, fill_in_program
from interlock.rights.token import Forbidden
from interlock.store import RecordDamaged

PROBLEM_TYPE: Final = "application/problem+json"
UNAVAILABLE: Final = 503
_URN: Final = "urn:interlock:problem:"
_FACTS_MAX: Final = 200  # items of a list among the facts

_CLASSES: Final[tuple[type[InterlockError], ...]] = (
    errors.UsageError,
    errors.WaitTimeout,
    errors.Superseded,
    PlaceLost,
    errors.LeaseLost,
    errors.LockHeld,
    errors.StateInvalid,
    errors.PlanStale,
    errors.MergeConflict,
    errors.StateSuspect,
    errors.BackendUnavailable,
    RecordDamaged,
    errors.BudgetExhausted,
    errors.AuthenticationFailed,
    Forbidden,
    errors.DependencyRejected,
    errors.TerraformFailed,
    errors.DriftGate,
    errors.PolicyGate,
    HeadMoved,
    InterlockError,
)
"""What may cross. A new class that callers tell apart is added here; a test finds one that was forgotten."""
_BY_NAME: Final[Mapping[str, type[InterlockError]]] = {each.__name__: each for each in _CLASSES}


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is told of a refusal.

    Attributes:
        type: A URN that ends in the error's code.
        title: What happened, one line.
        status: The HTTP status.
        detail: Why.
        next: The next command; `{state}` in it stands for the state or folder at hand.
        code: The error's stable code.
        kind: Its class.
        exit_status: The exit status of a command that ends with it.
        facts: Named values.
    """

    type: str
    title: str
    status: int
    detail: str = ""
    next: str = ""
    code: str = InterlockError.code
    kind: str = InterlockError.__name__
    exit_status: int = InterlockError.exit_status
    facts: dict[str, Any] = {}


def problem_of(error: InterlockError) -> Problem:
    """Return what a client is told of an error."""
    kind = _kind_of(error)
    return Problem(
        type=f"{_URN}{error.code}",
        title=error.what,
        status=error.http_status,
        detail=error.why,
        next=fill_in_program(error.fix),
        code=error.code,
        kind=kind.__name__,
        exit_status=kind.exit_status,
        facts={name: _plain(value) for name, value in error.facts.items()},
    )


def error_of(status: int, body: bytes) -> InterlockError:
    """Return the error that a server told, or what an answer without one means: something in between gave it."""
    try:
        told = decode_json(body, type=Problem)
    except (msgspec.MsgspecError, ValueError):
        return BackendUnavailable(
            "the server gave an answer that is not its own",
            why=f"HTTP {status}, as a proxy in between gives it, or a server of another kind",
            fix="interlock doctor",
        )
    family = _BY_NAME.get(told.kind) or (BackendUnavailable if told.status >= UNAVAILABLE else InterlockError)
    error = family.__new__(family)
    InterlockError.__init__(error, told.title, why=told.detail, fix=told.next, **told.facts)
    if isinstance(error, RecordDamaged):
        error.key = str(told.facts.get("key", ""))
    return error


def _kind_of(error: InterlockError) -> type[InterlockError]:
    """Return the class that a client knows. The server's own trouble with its store is not the client's fault."""
    if error.http_status == UNAVAILABLE and not isinstance(error, BackendUnavailable):
        return BackendUnavailable
    return next(each for each in type(error).__mro__ if each in _CLASSES)


def _plain(value: object) -> object:
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in list(value)[:_FACTS_MAX]]
    return str(value)

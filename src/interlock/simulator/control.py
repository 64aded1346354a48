"""The control API under `/_control`: look inside, change faults, limits and tokens while the organisation runs. Pure.

For tests, demos and benchmarks on loopback. It needs no token: whoever reaches the simulator owns it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .answer import ApiRefusal, Json, Reply, Request, bad_request
from .faults import MAX_RULES, FaultRule
from .limits import Limit

if TYPE_CHECKING:
    from .simulation import Simulation

CONTROL_PREFIX = "/_control/"
MAX_LIMITS = 100

_Value = TypeVar("_Value")


def control(simulation: Simulation, request: Request) -> Reply:
    """Serve one control request.

    Raises:
        ApiRefusal: 404 unknown; 400 with what is wrong in the body.
    """
    handler = _HANDLERS.get((request.method, request.path.removeprefix(CONTROL_PREFIX)))
    if handler is None:
        listing = ", ".join(f"{method} {CONTROL_PREFIX}{name}" for method, name in _HANDLERS)
        raise ApiRefusal(404, "not.found", f"The control API serves: {listing}")
    return Reply(content=handler(simulation, request))


def _organisation(simulation: Simulation, _request: Request) -> Json:
    return dict(simulation.snapshot())


def _counts(simulation: Simulation, _request: Request) -> Json:
    clients = Counter(entry.caller for entry in simulation.journal if entry.caller)
    return {
        "requests": simulation.statuses.total(),
        "statuses": {str(status): count for status, count in sorted(simulation.statuses.items())},
        "clients": dict(clients),
        "tokensGranted": simulation.login.granted,
        "faults": simulation.faults.hits,
    }


def _journal(simulation: Simulation, _request: Request) -> Json:
    return {"entries": msgspec.to_builtins(list(simulation.journal))}


def _set_faults(simulation: Simulation, request: Request) -> Json:
    rules = _decoded(request, list[FaultRule])
    if len(rules) > MAX_RULES:
        raise bad_request(f"At most {MAX_RULES} rules")
    for rule in rules:
        _check_pattern(rule.path)
    simulation.faults.replace(rules)
    return {"faults": len(rules)}


def _set_limits(simulation: Simulation, request: Request) -> Json:
    limits = _decoded(request, list[Limit])
    if len(limits) > MAX_LIMITS:
        raise bad_request(f"At most {MAX_LIMITS} limits")
    for limit in limits:
        _check_pattern(limit.path)
        if limit.allowed < 1 or not limit.window_s > 0:
            raise bad_request("A limit needs allowed of 1 or more and a window_s above 0")
    simulation.meter.replace(limits)
    return {"limits": len(limits)}


def _revoke(simulation: Simulation, request: Request) -> Json:
    body = _decoded(request, dict[str, Any]) if request.body else {}
    client = body.get("client_id")
    return {"revoked": simulation.login.revoke_all(str(client) if client is not None else None)}


def _set_life(simulation: Simulation, request: Request) -> Json:
    seconds = _decoded(request, dict[str, float]).get("seconds", 0.0)
    if not seconds > 0:
        raise bad_request("seconds must be above 0")
    simulation.login.set_life(seconds)
    return {"seconds": seconds}


def _decoded(request: Request, kind: type[_Value]) -> _Value:
    try:
        return msgspec.json.decode(request.body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise bad_request(f"The request body is wrong: {str(error)[:200]}", "invalid.request.body") from error


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise bad_request(f"The path is not a regular expression: {error}") from error


_HANDLERS: dict[tuple[str, str], Callable[[Simulation, Request], Json]] = {
    ("GET", "organisation"): _organisation,
    ("GET", "counts"): _counts,
    ("GET", "journal"): _journal,
    ("PUT", "faults"): _set_faults,
    ("PUT", "limits"): _set_limits,
    ("POST", "tokens/revoke"): _revoke,
    ("PUT", "tokens/life"): _set_life,
}

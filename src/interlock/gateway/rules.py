"""Which budgets a request needs, and what it costs in each.

Knows: the rate limits of the genesys room and the user's overrides. Every request needs `organisation` and its
endpoint's own budget too: they count even where no limit is documented, so that a limit can be learned and shared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from interlock.errors import UsageError
from interlock.genesys import RateLimit, Scope

ORGANISATION = "organisation"
TOKEN = "token"  # noqa: S105 - the name of a budget
ENDPOINTS_MAX = 512
"""Most endpoint budgets; requests to further endpoints share `other`."""

_API = "/api/v2/"
_ID = re.compile(r"[0-9a-fA-F-]{20,}|\d+|.*[%@+~:].*|.{41,}")  # what no fixed path segment looks like
_OVERRIDE = re.compile(r"(?P<name>[a-z][a-z0-9-]{0,39})=(?P<allowed>\d{1,9})/(?P<window>\d{1,5}(?:\.\d{1,3})?)s?")
_COST_MAX = 10_000
_LABEL_SEGMENTS = 3

Need = tuple[str, int]
"""A budget's name and what the request costs in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """The user's own limit for a budget: so many requests in so many seconds."""

    name: str
    allowed: int
    window_s: float


def parse_override(text: str) -> Override:
    """Read `NAME=REQUESTS/SECONDSs`, such as `token=300/60s`.

    Raises:
        UsageError: It cannot be read, or a number is zero.
    """
    match = _OVERRIDE.fullmatch(text.strip())
    if match is None or int(match["allowed"]) < 1 or float(match["window"]) <= 0:
        raise UsageError(
            f"budget {text[:60]!r} cannot be read",
            why="a budget is NAME=REQUESTS/SECONDSs, with both numbers above zero",
            fix="for example --budget token=300/60s --budget organisation=3000/60s",
        )
    return Override(name=match["name"], allowed=int(match["allowed"]), window_s=float(match["window"]))


def apply_overrides(limits: Iterable[RateLimit], overrides: Iterable[Override]) -> tuple[RateLimit, ...]:
    """Return the limits as the user wants them; an overridden one is enforced.

    Raises:
        UsageError: An override names no known limit.
    """
    known = {limit.name: limit for limit in limits}
    for each in overrides:
        if each.name not in known:
            raise UsageError(
                f"there is no budget {each.name!r}",
                why="a budget can be overridden only by its name",
                fix=f"one of: {', '.join(sorted(known))}",
            )
        known[each.name] = replace(known[each.name], allowed=each.allowed, window_s=each.window_s, enforce=True)
    return tuple(known.values())


class Rules:
    """Says what a request needs.

    Args:
        limits: As `apply_overrides` returned them.
    """

    def __init__(self, limits: Iterable[RateLimit]) -> None:
        self.limits = {limit.name: limit for limit in limits}
        self._patterns = [(limit, _pattern(limit)) for limit in self.limits.values() if limit.path and limit.enforce]
        self._everywhere: tuple[Need, ...] = tuple(
            (limit.name, 1)
            for limit in self.limits.values()
            if not limit.path and limit.scope is not Scope.TOKEN and (limit.enforce or limit.name == ORGANISATION)
        )
        self._labels: set[str] = set()

    def needs(self, method: str, path: str, query: str) -> tuple[Need, ...]:
        """Return the budgets beside the token's, in the order organisation, named ones, endpoint.

        Args:
            method: Upper case.
            path: From `/api/v2/` on, as sent.
            query: Without the question mark.
        """
        named = tuple(
            (limit.name, _cost(limit, query))
            for limit, pattern in self._patterns
            if (not limit.methods or method in limit.methods) and pattern.fullmatch(path)
        )
        return (*self._everywhere, *named, (self._label(method, path), 1))

    def _label(self, method: str, path: str) -> str:
        label = endpoint_of(method, path)
        if label not in self._labels:
            if len(self._labels) >= ENDPOINTS_MAX:
                return "other"
            self._labels.add(label)
        return label


def endpoint_of(method: str, path: str) -> str:
    """Return the endpoint's name: the method and the fixed segments, with `{id}` for what varies."""
    segments = path.removeprefix(_API).strip("/").split("/")[:_LABEL_SEGMENTS]
    return f"{method} " + "/".join("{id}" if _ID.fullmatch(each) else each for each in segments)


def _pattern(limit: RateLimit) -> re.Pattern[str]:
    def one(template: str) -> str:
        return "[^/]+".join(re.escape(part) for part in template.split("{id}"))

    return re.compile("(?:" + "|".join(one(each) for each in (limit.path, *limit.also)) + ")/?")


def _cost(limit: RateLimit, query: str) -> int:
    if not limit.cost_from:
        return 1
    values: Mapping[str, list[str]] = {}
    try:
        values = parse_qs(query, max_num_fields=100)
    except ValueError:
        return limit.cost_default
    text = values.get(limit.cost_from, [""])[-1]
    return min(max(int(text), 1), _COST_MAX) if text.isascii() and text.isdigit() else limit.cost_default

"""How many requests fit into which window, and what the headers say. Pure.

Nobody outside the vendor knows whether the window is fixed or sliding (docs/facts/genesys.md#genesys-41), so both
exist. Our choices where nothing is documented: a refused request is not counted; a fixed window begins with the first
request of its key and, as in the one recorded sample, its reset is announced as its length plus up to one second.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from .answer import ApiRefusal, Reply

LONGEST_RETRY_AFTER_S = 180  # above it the provider gives up (docs/facts/genesys.md#genesys-2)
MAX_DIGITS = 9
MAX_KEYS = 10_000  # windows kept per limit; the one touched longest ago goes first


class Scope(Enum):
    """Whose requests a limit counts together."""

    TOKEN = "token"  # noqa: S105 - the name of a scope
    CLIENT = "client"
    USER = "user"
    APP_USER = "app-user"  # one OAuth client acting for one user
    ENDPOINT = "endpoint"
    ORGANIZATION = "organization"


class WindowKind(Enum):
    """How a window moves."""

    FIXED = "fixed"
    SLIDING = "sliding"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit.

    Attributes:
        namespace, key: As the limits API names it.
        allowed: Requests in a window.
        window_s: Length of the window in seconds.
        methods: Methods counted; empty for all.
        path: Regular expression on the path below `/api/v2`; empty for all.
        cost_query: The query parameter that says how much a request counts, such as `pageSize`; empty for one each.
        cost_default: What a request without that parameter counts.
    """

    namespace: str = "platform.api"
    key: str
    scope: Scope
    allowed: int
    window_s: float = 60.0
    window: WindowKind = WindowKind.FIXED
    methods: frozenset[str] = frozenset()
    path: str = ""
    cost_query: str = ""
    cost_default: int = 1

    def cost(self, query: Mapping[str, str]) -> int:
        """Return how much a request counts, never more than a whole window."""
        given = query.get(self.cost_query, "") if self.cost_query else ""
        number = int(given) if given.isascii() and given.isdigit() and len(given) <= MAX_DIGITS else self.cost_default
        return max(1, min(number, self.allowed))

    def covers(self, method: str, path: str) -> bool:
        """Return whether the limit counts such a request."""
        return (not self.methods or method in self.methods) and (not self.path or bool(re.fullmatch(self.path, path)))


DEFAULT_LIMITS = (
    Limit(key="client.credentials.token.rate.per.minute", scope=Scope.TOKEN, allowed=300),
    Limit(
        namespace="architect",
        key="ivr.put.rate.per.minute",
        scope=Scope.ENDPOINT,
        allowed=100,
        methods=frozenset({"PUT"}),
        path=r"/architect/ivrs/[^/]+",
    ),
    Limit(
        namespace="architect",
        key="flows.rate.per.minute",
        scope=Scope.ORGANIZATION,
        allowed=300_000,
        methods=frozenset({"GET"}),
        path=r"/flows(/divisionviews)?",
        cost_query="pageSize",
        cost_default=25,
    ),
)
"""The documented ones. Source: src/interlock/genesys/data/limits.json; the names of the second and third key are ours.

The user limits (3000 a minute) are documented too, but bind only callers that act for a user.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one caller stands with one limit after a request."""

    limit: Limit
    count: int
    reset_s: float

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the vendor's three headers."""
        return (
            ("inin-ratelimit-count", str(self.count)),
            ("inin-ratelimit-allowed", str(self.limit.allowed)),
            ("inin-ratelimit-reset", str(math.floor(self.reset_s) + 1)),
        )


class Meter:
    """Counts requests against limits.

    Args:
        limits: All limits in force; a request must have room in each that covers it.
        speed: Windows run this many times faster than the limits say.
    """

    def __init__(self, limits: Sequence[Limit], *, speed: float = 1.0) -> None:
        self.limits = tuple(limits)
        self.speed = speed
        self._windows: dict[tuple[str, str], dict[str, _Window]] = {}

    def take(
        self, method: str, path: str, keys: Mapping[Scope, str], now_s: float, query: Mapping[str, str] | None = None
    ) -> Standing | None:
        """Count one request and return the tightest standing; None when no limit covers it.

        Args:
            method: Of the request.
            path: Below `/api/v2`.
            keys: Who is counted, by scope; a scope that is missing is not limited.
            now_s: Monotonic seconds.
            query: Of the request; some limits count by it.

        Raises:
            ApiRefusal: 429 with Retry-After; nothing was counted.
        """
        asked = query or {}
        windows = list(self._covering(method, path, keys))
        for limit, window in windows:
            wait_s = window.wait_s(now_s, limit.cost(asked))
            if wait_s > 0:
                raise too_many_requests(wait_s, Standing(limit=limit, count=limit.allowed, reset_s=wait_s))
        standings = [_counted(limit, window, now_s, limit.cost(asked)) for limit, window in windows]
        return min(standings, key=lambda standing: standing.limit.allowed - standing.count, default=None)

    def replace(self, limits: Iterable[Limit]) -> None:
        """Put other limits in force at once; windows of a limit with the same scope and key keep their counts."""
        self.limits = tuple(limits)
        for limit in self.limits:
            for window in self._windows.get((limit.scope.value, limit.key), {}).values():
                window.allowed = limit.allowed
                window.length_s = limit.window_s / self.speed

    def _covering(self, method: str, path: str, keys: Mapping[Scope, str]) -> Iterable[tuple[Limit, _Window]]:
        for limit in self.limits:
            key = limit.key if limit.scope is Scope.ENDPOINT else keys.get(limit.scope)
            if key is not None and limit.covers(method, path):
                yield limit, self._window(limit, key)

    def _window(self, limit: Limit, key: str) -> _Window:
        known = self._windows.setdefault((limit.scope.value, limit.key), {})
        window = known.get(key)
        kind = _Fixed if limit.window is WindowKind.FIXED else _Sliding
        if not isinstance(window, kind):
            if len(known) >= MAX_KEYS:
                known.pop(next(iter(known)))
            window = known[key] = kind(limit.allowed, limit.window_s / self.speed)
        return window


def too_many_requests(wait_s: float, standing: Standing | None = None) -> ApiRefusal:
    """Return the 429 of the vendor: whole seconds, at least one, in the header and in brackets in the message."""
    seconds = max(1, min(math.ceil(wait_s), LONGEST_RETRY_AFTER_S))
    headers = (("Retry-After", str(seconds)), ("Cache-Control", "no-cache, no-store, must-revalidate"))
    return ApiRefusal(
        429,
        "too.many.requests.retry.after",
        f"Rate limit exceeded the maximum. Retry the request in [{seconds}] seconds",
        headers=headers + (standing.headers() if standing is not None else ()),
    )


def limits_reply(limits: Sequence[Limit], namespace: str) -> Reply:
    """Return the limits of a namespace as the limits API shows them."""
    found = [
        {"namespace": limit.namespace, "key": limit.key, "value": limit.allowed}
        for limit in limits
        if limit.namespace == namespace
    ]
    return Reply(content={"entities": found, "pageSize": 100, "pageNumber": 1, "total": len(found), "pageCount": 1})


def _counted(limit: Limit, window: _Window, now_s: float, cost: int) -> Standing:
    count, reset_s = window.count(now_s, cost)
    return Standing(limit=limit, count=count, reset_s=reset_s)


class _Fixed:
    """A window that starts with its first request and ends at once."""

    __slots__ = ("_count", "_since_s", "allowed", "length_s")

    def __init__(self, allowed: int, length_s: float) -> None:
        self.allowed = allowed
        self.length_s = length_s
        self._since_s = -math.inf
        self._count = 0

    def wait_s(self, now_s: float, cost: int) -> float:
        if now_s >= self._since_s + self.length_s or self._count + cost <= self.allowed:
            return 0.0
        return self._since_s + self.length_s - now_s

    def count(self, now_s: float, cost: int) -> tuple[int, float]:
        if now_s >= self._since_s + self.length_s:
            self._since_s, self._count = now_s, 0
        self._count += cost
        return self._count, self._since_s + self.length_s - now_s


class _Sliding:
    """A window that ends now, whenever that is."""

    __slots__ = ("_count", "_taken", "allowed", "length_s")

    def __init__(self, allowed: int, length_s: float) -> None:
        self.allowed = allowed
        self.length_s = length_s
        self._count = 0
        self._taken: deque[tuple[float, int]] = deque()

    def wait_s(self, now_s: float, cost: int) -> float:
        self._forget(now_s)
        surplus = self._count + cost - self.allowed
        for taken_s, part in self._taken if surplus > 0 else ():
            surplus -= part
            if surplus <= 0:
                return taken_s + self.length_s - now_s
        return 0.0

    def count(self, now_s: float, cost: int) -> tuple[int, float]:
        self._forget(now_s)
        self._taken.append((now_s, cost))
        self._count += cost
        return self._count, self._taken[0][0] + self.length_s - now_s

    def _forget(self, now_s: float) -> None:
        while self._taken and self._taken[0][0] <= now_s - self.length_s:
            self._count -= self._taken.popleft()[1]


_Window = _Fixed | _Sliding

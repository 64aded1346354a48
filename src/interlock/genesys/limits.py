"""Published and observed rate limits, and how the API speaks about them.

Source: data/limits.json; every row names its sources and how far they can be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache

from interlock.genesys.tables import Meta, load_table


class Scope(Enum):
    """Who shares one allowance."""

    TOKEN = "token"  # noqa: S105 - a scope, not a secret
    USER = "user"
    ORGANISATION = "organisation"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """So many requests in a window of so many seconds.

    Attributes:
        name: What `--budget NAME=…` overrides.
        scope: Who shares the allowance.
        methods: HTTP methods that count; empty for all.
        path: Path template that counts, `{id}` for one segment; empty for all.
        also: Further templates that share the same allowance.
        allowed: Requests (or what `cost_from` counts) in a window; None when the number is not known.
        window_s: Length of the window in seconds.
        enforce: Whether the gateway holds it unless told otherwise.
        cost_from: Query parameter that says how much one request costs; empty for one each.
        cost_default: The cost when the parameter is missing.
        sources: Keys of the table's sources.
        trust: How far the sources can be trusted.
        note: What a reader must know.
    """

    name: str
    scope: Scope
    allowed: int | None
    window_s: float
    enforce: bool
    methods: tuple[str, ...] = ()
    path: str = ""
    also: tuple[str, ...] = ()
    cost_from: str = ""
    cost_default: int = 1
    sources: tuple[str, ...] = ()
    trust: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginLimit:
    """How the login service limits token requests. Its number is not known; the pace is our own choice.

    Attributes:
        mint_every_s: Seconds between two token requests.
        backoff_min_s: First wait after the login service's rate-limit answer.
        backoff_max_s: Longest wait.
    """

    mint_every_s: float
    backoff_min_s: float
    backoff_max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLimit:
    """One limit as found, with its trust; not everything here is about rates."""

    namespace: str
    key: str | None
    value: int | None
    unit: str
    scope: str
    source: tuple[str, ...]
    trust: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    meta: Meta
    rates: tuple[RateLimit, ...]
    login: LoginLimit
    published: tuple[PublishedLimit, ...]


REQUEST_BYTES_MAX = 512_000
"""Largest request body the API takes (`request.bytes.max`)."""

CLIENT_TIMEOUT_S = 16.0
"""The Go SDK gives up on one attempt after this long and sends the request again, POST included."""

RETRY_AFTER_MAX_S = 180
"""The Go SDK does not retry a 429 whose Retry-After is longer."""

LOGIN_LIMIT_ERROR = "rate limit exceeded"
"""How the description of the login service's HTTP 400 begins when tokens are asked for too fast."""

TOO_MANY_REQUESTS_CODE = "too.many.requests.retry.after"
"""The `code` of a 429 body."""


@cache
def _table() -> _Table:
    return load_table("limits", _Table)


def rate_limits() -> tuple[RateLimit, ...]:
    """Every rate limit the gateway knows of, enforced or not."""
    return _table().rates


def login_limit() -> LoginLimit:
    """How fast tokens may be asked for."""
    return _table().login


def published_limits() -> tuple[PublishedLimit, ...]:
    """Every limit that was found, for documentation and the simulator."""
    return _table().published

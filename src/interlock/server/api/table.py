"""A row of the table of endpoints. Pure.

What a row does is told once: the first line of its function's docstring is what people read in the OpenAPI document.

States are named in the query, `?state=prod/routing`: their names have slashes, and not every proxy passes on a quoted
slash in a path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct

from interlock.rights import Right
from interlock.rights.callers import Caller

BASE: Final = "/api/v1"
BODY_BYTES_MAX: Final = 1024 * 1024
"""Of a body in JSON."""

Q = TypeVar("Q")
B = TypeVar("B")


class NoQuery(Struct, frozen=True, kw_only=True):
    """Nothing is asked in the query."""


class OfState(Struct, frozen=True, kw_only=True):
    """Asks about one state.

    Attributes:
        state: Its name.
    """

    state: str


class NoBody(Struct, frozen=True, kw_only=True):
    """Nothing is sent."""


class Sent(Struct, frozen=True, kw_only=True):
    """An answer that is not JSON, or has headers of its own.

    Attributes:
        body: Its bytes.
        media_type: Their kind.
        headers: Further headers.
        status: The HTTP status.
    """

    body: bytes
    media_type: str = "application/octet-stream"
    headers: Mapping[str, str] = {}
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Q, B]):
    """One request that may be done: who asks has the endpoint's right.

    Attributes:
        caller: Who asks; for a right that depends on what is asked, `caller.check(Right.APPLY, state)`.
        query: What the address asks.
        body: What was sent.
        address: From where, as far as is known.
    """

    caller: Caller
    query: Q
    body: B
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[Q, B]):
    """One row.

    Attributes:
        method: `GET` reads and may be repeated; `POST` acts, and is made so that a repetition does nothing more; `PUT`
            replaces; `DELETE` takes away.
        path: Below `BASE`; begins with a slash and has no parameters.
        right: What who asks must have on the state that the query names, if it is an `OfState`, else on all states
            (`**`). None: any good token; then `do` looks at `caller` itself.
        do: Does it. Returns a struct, None for nothing, or `Sent`. The first line of what it says of itself is told to
            people: see `summary`.
        query: The parameters of the address, all of them text, numbers or booleans.
        body: What is sent, in JSON; `bytes` for a body that is not JSON.
        answer: What is answered, in JSON; None for nothing, `bytes` for what is not JSON.
        limit_bytes: Largest body.
        is_open: Needs no token: the endpoint itself finds out who asks.
        waits: It waits for others. Then it ends when its client is gone or the server ends; what acts is let finish.
    """

    method: str
    path: str
    right: Right | None
    do: Callable[[Call[Q, B]], Awaitable[object]]
    query: type[Q]
    body: type[B]
    answer: type | None
    limit_bytes: int = BODY_BYTES_MAX
    is_open: bool = False
    waits: bool = False

    @property
    def name(self) -> str:
        """What it is called in the OpenAPI document: `post-locks-renew`."""
        return self.method.lower() + self.path.replace("/", "-").replace(".", "-")

    @property
    def summary(self) -> str:
        """What it does, for people who read the OpenAPI document: one line, without a full stop."""
        return (self.do.__doc__ or "").partition("\n")[0].removesuffix(".")


AnyEndpoint = Endpoint[Any, Any]


def reads(
    path: str,
    do: Callable[[Call[Q, NoBody]], Awaitable[object]],
    *,
    right: Right | None,
    query: type[Q],
    answer: type,
    is_open: bool = False,
    waits: bool = False,
) -> AnyEndpoint:
    """Return the row of something that is only read; see `Endpoint`."""
    return Endpoint(
        method="GET",
        path=path,
        right=right,
        do=do,
        query=query,
        body=NoBody,
        answer=answer,
        is_open=is_open,
        waits=waits,
    )


def acts(  # noqa: PLR0913 - a row
    path: str,
    do: Callable[[Call[Q, B]], Awaitable[object]],
    *,
    right: Right | None,
    query: type[Q],
    body: type[B],
    answer: type | None,
    method: str = "POST",
    limit_bytes: int = BODY_BYTES_MAX,
    is_open: bool = False,
) -> AnyEndpoint:
    """Return the row of something that is done; see `Endpoint`."""
    return Endpoint(
        method=method,
        path=path,
        right=right,
        do=do,
        query=query,
        body=body,
        answer=answer,
        limit_bytes=limit_bytes,
        is_open=is_open,
    )

"""A row of the table of endpoints. Pure.

What a row does is told once: the first line of its function's docstring is what people read in the OpenAPI document.

States are named in the query, `?state=prod/routing`: their names have slashes, and not every proxy passes on a quoted
slash in a path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Final, Generic, TypeVar, get_args

from msgspec import Meta, Struct

from interlock.coordinator.names import StateName
from interlock.rights import Right
from interlock.rights.callers import Caller

BASE: Final = "/api/v1"
BODY_BYTES_MAX: Final = 1024 * 1024
"""Of a body in JSON."""

OCTETS: Final = "application/octet-stream"
FORM: Final = "application/x-www-form-urlencoded"

Q = TypeVar("Q")
B = TypeVar("B")


def from_to(low: int, high: int) -> Meta:
    """Return what documents say of a number that the endpoint itself refuses beyond these."""
    return Meta(extra_json_schema={"minimum": low, "maximum": high})


class NoQuery(Struct, frozen=True, kw_only=True):
    """Nothing is asked in the query."""


class OfState(Struct, frozen=True, kw_only=True):
    """Asks about one state.

    Attributes:
        state: Its name.
    """

    state: StateName


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
    media_type: str = OCTETS
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
        headers: Those of the request, by names in lower case; for an endpoint that finds out itself who asks.
    """

    caller: Caller
    query: Q
    body: B
    address: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


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
        body: What is sent, in JSON; `bytes` for a body that is not JSON, `Framed` for a state behind a line of JSON.
        answer: What is answered, in JSON; None for nothing, `bytes` for what is not JSON, `Version | None` for what may
            be absent.
        media_type: Of an answer that is `bytes`; JSON lines, for example.
        form: The fields of a body that is `bytes` and a form.
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
    answer: type | UnionType | None
    media_type: str = OCTETS
    form: type | None = None
    limit_bytes: int = BODY_BYTES_MAX
    is_open: bool = False
    waits: bool = False

    @property
    def answered(self) -> type | None:
        """What is answered when there is something; None when there never is."""
        return next((kind for kind in self._answers if kind is not NoneType), None)

    @property
    def may_be_absent(self) -> bool:
        """Whether the answer may be nothing: 204."""
        return NoneType in self._answers

    @property
    def _answers(self) -> tuple[type, ...]:
        if isinstance(self.answer, UnionType):
            return get_args(self.answer)
        return (NoneType if self.answer is None else self.answer,)

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
    answer: type | UnionType,
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
    answer: type | UnionType | None,
    method: str = "POST",
    media_type: str = OCTETS,
    form: type | None = None,
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
        media_type=media_type,
        form=form,
        limit_bytes=limit_bytes,
        is_open=is_open,
    )

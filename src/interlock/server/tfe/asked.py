"""One request to the TFE API, as its answers see it, and what they return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct
from starlette.requests import Request

from interlock.rights.callers import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that may be answered: who asks has the row's right.

    Attributes:
        caller: Who asks; for an open address somebody who may do nothing.
        credentials: Those that came with it.
        state: The state that the address names; empty when it names none.
        session: Of the workspace's id.
        named: The parts of the address, by their names in the row.
        query: Its parameters.
        base: How the client reaches this server: scheme and host.
        request: The request itself.
        body: Reads the body, within the row's limit.
        drain: Reads it and keeps nothing.
    """

    caller: Caller
    credentials: tuple[str, str] = field(repr=False)
    state: str
    session: str
    named: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str]
    base: str
    request: Request
    body: Callable[[], Awaitable[bytes]]
    drain: Callable[[], Awaitable[None]]


class Told(Struct, frozen=True, kw_only=True):
    """An answer.

    Attributes:
        document: A JSON:API document; None for none.
        raw: Bytes in the place of it.
        status: The HTTP status.
    """

    document: dict[str, Any] | None = None
    raw: bytes | None = None
    status: int = 200

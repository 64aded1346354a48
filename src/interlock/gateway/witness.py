"""Who is told what a run's calls do, so that it can be written down before the run's provider hears of it."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from msgspec import Struct


class Effect(Enum):
    """What is known of a call that has ended."""

    NONE = "none"
    """The API has not worked on it."""
    ANSWERED = "answered"
    """The API has answered."""
    UNKNOWN = "unknown"
    """It was sent, and nobody knows what became of it."""


class Sent(Struct, frozen=True, kw_only=True):
    """A call.

    Attributes:
        method: Upper case.
        path: From `/api/v2` on, without a query.
        body: As sent.
    """

    method: str
    path: str
    body: bytes


class Heard(Struct, frozen=True, kw_only=True):
    """How a call ended.

    Attributes:
        effect: What is known of it.
        status: Of the API's answer; 0 without one.
        body: Of the answer; None when it is too long or cannot be read.
    """

    effect: Effect
    status: int = 0
    body: bytes | None = None


class Witness(Protocol):
    """Told of the calls of runs. Its methods never raise: what it cannot write down must not stop a call."""

    def wants(self, method: str, path: str) -> bool:
        """Say whether such calls are to be told."""
        ...

    async def begins(self, sent: Sent) -> str:
        """A call is about to be sent; return what names it in `ended`."""
        ...

    async def ended(self, name: str, sent: Sent, heard: Heard) -> None:
        """It has ended; its client has not been answered yet."""
        ...

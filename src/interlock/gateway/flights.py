"""Calls under way, and who may share one.

- Identical GETs of one client share a call, as long as no write was answered since it was sent: whoever has seen a
  write's answer must not be given an older read.
- A write whose client went away goes on, and its answer is kept for a minute. The SDK gives up after 16 s and sends the
  same write again; it then gets the answer of the first instead of doing it twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from interlock.gateway.answers import Answer
from interlock.gateway.headers import Pair
from interlock.gateway.upstream import Reply

ORPHANS_MAX = 64
"""Most answers kept for writes whose clients went away."""
ORPHAN_S = 60.0
"""How long such an answer is kept."""
_ORPHAN_BYTES_MAX = 256 * 1024
_TELLING = frozenset({b"accept", b"accept-encoding", b"accept-language", b"content-type", b"range", b"if-none-match"})
_READS = frozenset({"GET", "HEAD"})

Ending = Reply | Answer
"""What a flight ends with: the API's reply or the gateway's own answer."""


@dataclass(slots=True, eq=False)
class Flight:
    """One call under way.

    Attributes:
        key: Digest of everything that makes two calls the same.
        method: Of the call.
        task: Ends with the answer.
        clients: How many wait for it now.
        sent_at_write: How many writes had been answered when it was sent; None while it has not been sent.
        streamed: Whether a client took its answer; the rest of a long one can be taken only once.
        kept_since_s: When its last client went away; None while there is one.
    """

    key: bytes
    method: str
    task: asyncio.Task[Ending]
    clients: int = 0
    sent_at_write: int | None = None
    streamed: bool = False
    kept_since_s: float | None = None


def flight_key(flow: str, method: str, target: str, headers: Iterable[Pair], body: bytes) -> bytes:
    """Return what two calls have in common when either's answer would do for both."""
    digest = hashlib.sha256()
    parts = [flow.encode(), method.encode(), target.encode(), body]
    parts += [name + b":" + value for name, value in headers if name in _TELLING]
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.digest()


@dataclass(slots=True)
class Flights:
    """All calls under way, and the answers kept."""

    shared: int = 0
    adopted: int = 0
    _by_key: dict[bytes, Flight] = field(default_factory=dict)
    _kept: OrderedDict[bytes, Flight] = field(default_factory=OrderedDict)
    _writes_answered: int = 0

    def find(self, key: bytes, now_s: float) -> Flight | None:
        """Return a flight that a new identical call may share."""
        self._sweep(now_s)
        flight = self._by_key.get(key)
        if flight is None:
            return None
        if flight.method in _READS:
            fresh = flight.sent_at_write is None or flight.sent_at_write == self._writes_answered
            if not fresh or flight.task.done():
                return None
            self.shared += 1
            return flight
        if flight.clients:
            return None  # two identical writes at once are two writes
        self.adopted += 1
        return flight

    def add(self, flight: Flight) -> None:
        """A call begins."""
        self._by_key[flight.key] = flight

    def sent(self, flight: Flight) -> None:
        """It goes out now."""
        flight.sent_at_write = self._writes_answered

    def ended(self, flight: Flight) -> None:
        """Its answer is there."""
        if flight.method not in _READS:
            self._writes_answered += 1

    def served(self, flight: Flight) -> None:
        """A client has its answer, so nobody needs it any more."""
        for flights in (self._by_key, self._kept):
            if flights.get(flight.key) is flight:
                del flights[flight.key]

    def orphaned(self, flight: Flight, now_s: float) -> None:
        """Its last client went away; a write is kept, a read or an unsent call is given up."""
        if flight.method in _READS or flight.sent_at_write is None:
            self.served(flight)
            flight.task.cancel()
            return
        flight.kept_since_s = now_s
        self._by_key[flight.key] = self._kept[flight.key] = flight
        self._kept.move_to_end(flight.key)

    def _sweep(self, now_s: float) -> None:
        surplus = len(self._kept) - ORPHANS_MAX
        for number, each in enumerate(list(self._kept.values())):
            age_s = now_s - (each.kept_since_s or 0.0)
            over = number < surplus or age_s > ORPHAN_S
            if not each.clients and each.task.done() and (over or _is_bulky(each)):
                self.served(each)


def _is_bulky(flight: Flight) -> bool:
    if flight.task.cancelled() or flight.task.exception() is not None:
        return True
    ending = flight.task.result()
    return len(ending.body) > _ORPHAN_BYTES_MAX or (isinstance(ending, Reply) and ending.rest is not None)

"""Calls under way, and who may share one.

- Identical GETs of one client share a call, as long as no write was answered since it was sent: whoever has seen a
  write's answer must not be given an older read.
- A write whose client went away goes on, and its answer is kept for a while. The SDK gives up after 16 s and sends the
  same write again; it then gets the answer of the first instead of doing it twice.

The second is a memory of answers, so it needs a rule for when a memory is no longer true. An abandoned write is
*overtaken* when another write that can touch the same thing was begun since, or was still under way when it began, by
anybody: to its path, to a path above it or to one below it. Then the repetition is sent: who turned a thing on, off and
on again must find it on. Two objects created in one collection do not touch each other, so a POST that made an object
(its answer has an id) is overtaken only by a write to that object, or to the collection itself by another method.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from interlock.bounded import read_json
from interlock.gateway.answers import Answer
from interlock.gateway.encodings import plain_body
from interlock.gateway.headers import Pair
from interlock.gateway.upstream import Reply

ABANDONED_MAX = 64
"""Most answers kept for writes whose clients went away."""
ABANDONED_S = 35.0
"""How long such an answer is kept: the SDK repeats after at most 30 s, so what comes later is a new write."""
KEPT_BYTES_MAX = 16 * 1024 * 1024
"""Most bytes of all answers that are kept; the oldest go first."""
_RESTS_MAX = 8  # answers that are still coming from the API while they are kept, each on a connection of its own
_SEVERAL = frozenset({"bulk", "batch"})  # a write to such a path can touch everything beside it
_BELOW_MAX = 4096  # objects written below one collection while one POST is under way; past it the POST is overtaken
_TELLING = frozenset({b"accept", b"accept-encoding", b"accept-language", b"content-type", b"range", b"if-none-match"})
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_FAILED = 300  # from here on a POST made nothing

Ending = Reply | Answer
"""What a flight ends with: the API's reply or the gateway's own answer."""


@dataclass(slots=True, eq=False)
class Flight:
    """One call under way.

    Attributes:
        key: Digest of everything that makes two calls the same.
        method: Of the call.
        path: Of the call, without its query.
        task: Ends with the answer.
        clients: How many wait for it now.
        sent_at_write: How many writes had been answered when it was sent; None while nothing of it can have been done.
        streamed: Whether a client took its answer; the rest of a long one can be taken only once.
        abandoned_at_s: When its last client went away; None while there is one.
        overtaken: A write that can touch the same thing was begun after this one, or was under way when it began.
        crossed: Of a POST: so was another POST to the same path, which touches it unless both made objects.
        below: Of a POST: first path segments below its path to which something was so written.
        repeats: Of a DELETE: an earlier one of this client whose answer nobody got, and is not true any more.
    """

    key: bytes
    method: str
    task: asyncio.Task[Ending]
    path: str = ""
    clients: int = 0
    sent_at_write: int | None = None
    streamed: bool = False
    abandoned_at_s: float | None = None
    overtaken: bool = False
    crossed: bool = False
    below: set[str] = field(default_factory=set)
    repeats: Flight | None = None

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.abandoned_at_s is not None and not self.clients


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
    _reads: dict[bytes, Flight] = field(default_factory=dict)
    _writes: dict[int, Flight] = field(default_factory=dict)
    _abandoned: OrderedDict[int, Flight] = field(default_factory=OrderedDict)
    _writes_answered: int = 0

    def find(self, key: bytes, now_s: float) -> Flight | None:
        """Return a flight that a new identical call may share; of a write, see `still_holds` when it has ended."""
        self._sweep(now_s)
        read = self._reads.get(key)
        if read is not None and self._is_fresh(read):
            self.shared += 1
            return read
        # Two identical writes at once are two writes: only an abandoned one is looked for.
        for flight in self._abandoned.values():
            if flight.key == key and flight.is_abandoned and self.still_holds(flight):
                self.adopted += 1
                return flight
        return None

    def take_overtaken(self, key: bytes) -> Flight | None:
        """Return a DELETE that was abandoned, and overtaken since; what it did, its one repetition must not deny."""
        for flight in self._abandoned.values():
            if flight.key == key and flight.method == "DELETE" and flight.is_abandoned and flight.overtaken:
                self.served(flight)
                return flight
        return None

    def still_holds(self, flight: Flight) -> bool:
        """Say whether an abandoned write's answer is true for its client's repetition; ask again when it has ended."""
        if flight.overtaken:
            return False
        if flight.method != "POST" or not (flight.crossed or flight.below) or not flight.task.done():
            return True
        made = _made(flight)
        return made not in flight.below if made else not flight.crossed and not flight.below

    def add(self, flight: Flight) -> None:
        """A call begins."""
        if flight.method in _READS:
            self._reads[flight.key] = flight
            return
        for other in self._writes.values():
            _overtake(other, flight)
            if not other.task.done():  # it may reach the API after this one: two under way overtake each other
                _overtake(flight, other)
        self._writes[id(flight)] = flight

    def sent(self, flight: Flight) -> None:
        """It goes out now."""
        flight.sent_at_write = self._writes_answered

    def refused(self, flight: Flight) -> None:
        """The API refused it before working on it: it is as if it had never been sent."""
        flight.sent_at_write = None

    def ended(self, flight: Flight) -> None:
        """Its answer is there."""
        if flight.method not in _READS:
            self._writes_answered += 1

    def served(self, flight: Flight) -> None:
        """A client has its answer, so nobody needs it any more."""
        self._writes.pop(id(flight), None)
        self._abandoned.pop(id(flight), None)
        if self._reads.get(flight.key) is flight:
            del self._reads[flight.key]

    def abandoned(self, flight: Flight, now_s: float) -> None:
        """Its last client went away; a write is kept, a read or an unsent call is given up."""
        if flight.method in _READS or flight.sent_at_write is None:
            self.served(flight)
            flight.task.cancel()
            return
        flight.abandoned_at_s = now_s
        self._abandoned[id(flight)] = flight
        self._abandoned.move_to_end(id(flight))

    @property
    def waiting(self) -> int:
        """How many writes go on, or keep an answer, without a client."""
        return sum(1 for each in self._abandoned.values() if each.is_abandoned)

    def _is_fresh(self, read: Flight) -> bool:
        seen = read.sent_at_write is None or read.sent_at_write == self._writes_answered
        return seen and not read.task.done()

    def _sweep(self, now_s: float) -> None:
        """Forget what is too old, too much or not true any more; that a DELETE was done matters though overtaken."""
        surplus = len(self._abandoned) - ABANDONED_MAX
        kept = _Kept()
        for number, each in reversed(list(enumerate(self._abandoned.values()))):
            age_s = now_s - (each.abandoned_at_s or 0.0)
            over = number < surplus or age_s > ABANDONED_S or (each.overtaken and each.method != "DELETE")
            if each.is_abandoned and each.task.done() and (over or not kept.has_room_for(each)):
                self.served(each)
                _give_up_rest(each)


@dataclass(slots=True)
class _Kept:
    """How much is kept of answers, counted from the newest."""

    held_bytes: int = 0
    rests: int = 0

    def has_room_for(self, flight: Flight) -> bool:
        if flight.task.cancelled() or flight.task.exception() is not None:
            return False
        ending = flight.task.result()
        self.held_bytes += len(ending.body)
        self.rests += isinstance(ending, Reply) and ending.rest is not None
        return self.held_bytes <= KEPT_BYTES_MAX and self.rests <= _RESTS_MAX


def was_done(flight: Flight | None) -> bool:
    """Say whether an abandoned write did something, or may have: it was answered well, or not yet."""
    if flight is None:
        return False
    if not flight.task.done():
        return True
    if flight.task.cancelled() or flight.task.exception() is not None:
        return False
    return flight.task.result().status < _FAILED


def _overtake(earlier: Flight, later: Flight) -> None:
    """Note in a write that another one begins."""
    here, there, method = _reach(earlier.path), _reach(later.path), later.method
    if there != _spelled(later.path):
        method = ""  # whatever it is called, it may change or remove several objects
    if not (_is_below(here, there) or _is_below(there, here)):
        return
    if earlier.method != "POST" or len(there) < len(here):
        earlier.overtaken = True
    elif there == here:
        earlier.crossed = earlier.crossed or method == "POST"
        earlier.overtaken = earlier.overtaken or method != "POST"
    else:
        earlier.below.add(there[len(here) :].strip("/").split("/", 1)[0])
        earlier.overtaken = earlier.overtaken or len(earlier.below) > _BELOW_MAX


def _reach(path: str) -> str:
    """Return the path at and below which a write can change something: `/x` for `/x/bulk/remove`."""
    parts = _spelled(path).split("/")
    at = next((number for number, part in enumerate(parts) if part in _SEVERAL), None)
    return "/".join(parts[:at])


def _spelled(path: str) -> str:
    """Return a path in one spelling: the API does not mind its case or a slash at its end."""
    return path.rstrip("/").lower()


def _is_below(path: str, above: str) -> bool:
    """Say whether a path is the other one or lies below it; both in one spelling."""
    return f"{path}/".startswith(f"{above}/")


def _made(flight: Flight) -> str:
    """Return the id of the object that a POST made; empty when it made none that we can name."""
    if flight.task.cancelled() or flight.task.exception() is not None:
        return ""
    ending = flight.task.result()
    if ending.status >= _FAILED:
        return ""
    try:
        document = read_json(plain_body(ending.body, ending.headers) or b"")
    except ValueError:
        return ""
    found = document.get("id") if isinstance(document, dict) else None
    return found.lower() if isinstance(found, str) else ""


def _give_up_rest(flight: Flight) -> None:
    """Close the rest of a long answer that nobody takes any more: it holds a connection."""
    if flight.task.cancelled() or flight.task.exception() is not None:
        return
    ending = flight.task.result()
    if isinstance(ending, Reply) and ending.rest is not None and not flight.streamed:
        ending.rest.close()

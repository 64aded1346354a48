"""An API that limits its clients, in virtual time, and a gateway's admission before it: how much of the rate it gets.

The gateway's side is the real code (`interlock.gateway.admission` with its budgets and what they learn). Modelled is
the API: limits of several kinds, what they say in Retry-After, somebody else's load, answers that take their time; and
clients that always want more, wait out what they are told, and come back. Everything follows from one seed.
`python -m benchmarks limits` prints the table.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Protocol

from interlock.gateway.admission import Admission, Ask, Finished, Full, Grant
from interlock.gateway.concurrency import Concurrency
from interlock.gateway.rules import Rules
from interlock.genesys import rate_limits
from interlock.lock import Priority

HOLD_S = 8.0
LATENCY_S = 0.2
"""Mean time of one answer."""


class Says(Enum):
    """What a refusal says in Retry-After."""

    TRUE = "true"  # the seconds until there is room, rounded up
    DATE = "a date"  # the same; `headers.read_retry_after` makes seconds of it
    ABSENT = "absent"
    ZERO = "zero"
    HUGE = "huge"  # a day
    SHORT = "lying, too short"  # one second, whatever is true
    LONG = "lying, too long"  # thrice the truth


class Limit(Protocol):
    """One rule by which the API refuses."""

    def refuse(self, now_s: float) -> float | None:
        """Count a request that arrives; or return the seconds until there is room."""

    def end(self) -> None:
        """A request that was counted is answered."""


@dataclass
class Window:
    """So many requests in a window: fixed from its first request, aligned to a clock, or sliding."""

    kind: str
    allowed: Callable[[float], int]
    window_s: float = 60.0
    offset_s: float = 0.0
    _start_s: float = -math.inf
    _count: int = 0
    _log: deque[float] = field(default_factory=deque)

    def refuse(self, now_s: float) -> float | None:
        allowed = self.allowed(now_s)
        if self.kind == "sliding":
            while self._log and self._log[0] <= now_s - self.window_s:
                self._log.popleft()
            if len(self._log) >= allowed:
                return self._log[len(self._log) - allowed] + self.window_s - now_s
            self._log.append(now_s)
            return None
        if self.kind == "clock":
            start_s = math.floor((now_s - self.offset_s) / self.window_s) * self.window_s + self.offset_s
        else:
            start_s = self._start_s if now_s < self._start_s + self.window_s else now_s
        if start_s != self._start_s:
            self._start_s, self._count = start_s, 0
        if self._count >= allowed:
            return self._start_s + self.window_s - now_s
        self._count += 1
        return None

    def end(self) -> None:
        pass


@dataclass
class AtOnce:
    """So many requests at the same time."""

    allowed: Callable[[float], int]
    now: int = 0

    def refuse(self, now_s: float) -> float | None:
        if self.now >= self.allowed(now_s):
            return LATENCY_S
        self.now += 1
        return None

    def end(self) -> None:
        self.now -= 1


@dataclass
class Once:
    """Nothing but single refusals at given times, for no reason that the count explains."""

    at_s: tuple[float, ...]
    pause_s: float
    _next: int = 0

    def refuse(self, now_s: float) -> float | None:
        if self._next < len(self.at_s) and now_s >= self.at_s[self._next]:
            self._next += 1
            return self.pause_s
        return None

    def end(self) -> None:
        pass


@dataclass(frozen=True)
class Case:
    """One API.

    Attributes:
        name: For people.
        limit: Makes the rule of one organisation or endpoint.
        possible: Requests of ours that it would allow between two instants, at most.
        says: What refusals say.
        of_endpoint: The limit is one endpoint's, not the organisation's; the others have none.
        others_per_s: Requests of somebody else, which count in the same limit.
        tokens: Tokens of the gateway, each with its documented 300 a minute.
        seconds: How long it is watched; the first part is left out of the share.
        skip_s: That part.
    """

    name: str
    limit: Callable[[], Limit]
    possible: Callable[[float, float], float]
    says: Says = Says.TRUE
    of_endpoint: bool = False
    others_per_s: float = 0.0
    tokens: int = 10
    seconds: float = 480.0
    skip_s: float = 60.0
    in_flight: int = 32


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        name: Of the case.
        share: Part of what the limit allowed that was reached, after the beginning.
        sent: Requests that reached the API.
        refused: Of them, refused with 429; no client sees those.
        seen: 429s that clients saw: the gateway could not let them go within its hold.
        recovery_s: After the first refusal, seconds until the rate is that of before; None when it never was.
        done_at_s: When each answered request had arrived.
    """

    name: str
    share: float = 0.0
    sent: int = 0
    refused: int = 0
    seen: int = 0
    recovery_s: float | None = None
    done_at_s: list[float] = field(default_factory=list)

    @property
    def refused_share(self) -> float:
        return self.refused / max(self.sent, 1)


ENDPOINTS = ("routing/queues", "users", "routing/skills", "groups", "flows")


class World:
    """One gateway, one API, and clients that always want more.

    Args:
        case: The API.
        seed: Of all chance.
        workers: Clients that call one after the other.
    """

    def __init__(self, case: Case, seed: int, *, workers: int = 30) -> None:
        self.case = case
        self.now_s = 0.0
        self.outcome = Outcome(case.name)
        self._random = Random(seed)
        self.admission = Admission(
            Rules(rate_limits()), hold_s=HOLD_S, concurrency=Concurrency(limit=float(case.in_flight))
        )
        for slot in range(case.tokens):
            self.admission.open_slot(slot, 0.0)
        self._limits: dict[str, Limit] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._entries: dict[object, Callable[[Grant | int], None]] = {}
        self._first_refusal_s: float | None = None
        self._wakes: list[float] = []
        for worker in range(workers):
            self._at(self._random.random(), lambda worker=worker: self._ask(worker, None))  # type: ignore[misc]
        if case.others_per_s:
            self._at(0.0, self._other)

    def run(self) -> Outcome:
        while self._events and self._events[0][0] <= self.case.seconds:
            self.now_s, _, event = heapq.heappop(self._events)
            event()
            self._pump()
        return self._judged()

    def _at(self, at_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at_s, next(self._numbers), event))

    def _pump(self) -> None:
        for grant in self.admission.grants(self.now_s):
            self._entries.pop(grant.entry)(grant)
        for entry, wait_s in self.admission.expire(self.now_s):
            self._entries.pop(entry)(wait_s)
        again_s = self.admission.next_event_s(self.now_s)
        if again_s is not None and again_s > self.now_s and (not self._wakes or again_s < self._wakes[0]):
            heapq.heappush(self._wakes, again_s)
            self._at(again_s, self._woken)

    def _woken(self) -> None:
        heapq.heappop(self._wakes)

    def _ask(self, worker: int, deadline_s: float | None) -> None:
        """A worker's next call enters the gateway; after a refusal it enters again with the deadline that it had."""
        deadline_s = self.now_s + HOLD_S if deadline_s is None else deadline_s
        endpoint = ENDPOINTS[worker % len(ENDPOINTS)]
        ask = Ask(
            flow=f"r/{worker % 4}",
            priority=Priority.APPLY,
            needs=self.admission.rules.needs("GET", f"/api/v2/{endpoint}", ""),
            arrived_s=self.now_s,
            deadline_s=deadline_s,
            memory=b"%d" % worker,
        )
        entry = self.admission.offer(ask)
        assert not isinstance(entry, Full)

        def told(answer: Grant | int) -> None:
            if isinstance(answer, int):
                self.outcome.seen += 1
                self._at(self.now_s + answer, lambda: self._ask(worker, None))
            else:
                self._send(worker, endpoint, answer, deadline_s)

        self._entries[entry] = told

    def _send(self, worker: int, endpoint: str, grant: Grant, deadline_s: float) -> None:
        way_s = LATENCY_S * (0.1 + 0.2 * self._random.random())
        self._at(self.now_s + way_s, lambda: self._arrive(worker, endpoint, grant, deadline_s))

    def _limit_of(self, endpoint: str) -> Limit | None:
        if not self.case.of_endpoint:
            return self._limits.setdefault("", self.case.limit())
        return self._limits.setdefault("", self.case.limit()) if endpoint == ENDPOINTS[0] else None

    def _arrive(self, worker: int, endpoint: str, grant: Grant, deadline_s: float) -> None:
        self.outcome.sent += 1
        limit = self._limit_of(endpoint)
        wait_s = None if limit is None else limit.refuse(self.now_s)
        if wait_s is not None:
            if self._first_refusal_s is None:
                self._first_refusal_s = self.now_s
            self.outcome.refused += 1
            header = self._header(wait_s)
            self._at(self.now_s + LATENCY_S * 0.2, lambda: self._refused(worker, grant, header, deadline_s))
            return
        arrived_s = self.now_s
        work_s = LATENCY_S * (0.4 + 0.8 * self._random.random())
        self._at(self.now_s + work_s, lambda: self._answered(worker, grant, arrived_s, limit))

    def _header(self, wait_s: float) -> float | None:
        """Return what the gateway makes of the refusal's Retry-After."""
        match self.case.says:
            case Says.TRUE | Says.DATE:
                return float(min(math.ceil(wait_s), 180))
            case Says.ABSENT:
                return None
            case Says.ZERO:
                return 0.0
            case Says.HUGE:
                return 86400.0
            case Says.SHORT:
                return 1.0
            case Says.LONG:
                return float(min(math.ceil(3 * wait_s), 180))

    def _refused(self, worker: int, grant: Grant, header: float | None, deadline_s: float) -> None:
        self.admission.finish(grant, Finished(status=429, retry_after_s=header), self.now_s)
        self._ask(worker, deadline_s)

    def _answered(self, worker: int, grant: Grant, arrived_s: float, limit: Limit | None) -> None:
        if limit is not None:
            limit.end()
            self.outcome.done_at_s.append(arrived_s)
        elif not self.case.of_endpoint:
            self.outcome.done_at_s.append(arrived_s)
        self.admission.finish(grant, Finished(status=200), self.now_s)
        self._ask(worker, None)

    def _other(self) -> None:
        """Somebody else calls."""
        limit = self._limit_of(ENDPOINTS[0])
        assert limit is not None
        if limit.refuse(self.now_s) is None:
            self._at(self.now_s + LATENCY_S * 0.8, limit.end)
        self._at(self.now_s + self._random.expovariate(self.case.others_per_s), self._other)

    def _judged(self) -> Outcome:
        begin_s, end_s = self.case.skip_s, self.case.seconds
        inside = sum(1 for at_s in self.outcome.done_at_s if begin_s <= at_s < end_s)
        self.outcome.share = inside / self.case.possible(begin_s, end_s)
        self.outcome.recovery_s = self._recovery_s()
        return self.outcome

    def _recovery_s(self) -> float | None:
        """Return when the last five seconds before the first refusal were reached again, for two seconds in a row."""
        if self._first_refusal_s is None:
            return None
        at_s, done = self._first_refusal_s, self.outcome.done_at_s
        before = sum(1 for each in done if at_s - 5.0 <= each < at_s) / 5.0
        for step in range(1, int((self.case.seconds - at_s) * 2)):
            begin_s = at_s + step / 2
            rate = sum(1 for each in done if begin_s <= each < begin_s + 2.0) / 2.0
            if rate >= 0.9 * before:
                return begin_s + 1.0 - at_s
        return None


def steady(allowed: int) -> Callable[[float], int]:
    return lambda _: allowed


def changing(before: int, after: int, at_s: float) -> Callable[[float], int]:
    return lambda now_s: before if now_s < at_s else after


def _per_window(
    allowed: Callable[[float], int], window_s: float, others_per_s: float = 0.0
) -> Callable[[float, float], float]:
    def possible(begin_s: float, end_s: float) -> float:
        steps = int(end_s - begin_s)
        return sum(allowed(begin_s + step) / window_s - others_per_s for step in range(steps))

    return possible


def _at_once(allowed: Callable[[float], int]) -> Callable[[float, float], float]:
    return lambda begin_s, end_s: sum(allowed(begin_s + step) / LATENCY_S for step in range(int(end_s - begin_s)))


def _window(name: str, kind: str, allowed: Callable[[float], int], window_s: float = 60.0, **more: object) -> Case:
    others = float(more.get("others_per_s", 0.0))  # type: ignore[arg-type]
    return Case(
        name=name,
        limit=lambda: Window(kind, allowed, window_s, offset_s=17.0 if kind == "clock" else 0.0),
        possible=_per_window(allowed, window_s, others),
        **more,  # type: ignore[arg-type]
    )


def cases() -> list[Case]:
    """Return every API that is tried."""
    once = Case(
        "one 429, Retry-After 5",
        lambda: Once((40.0,), 5.0),
        lambda a, b: (b - a) * 5.0,
        tokens=1,
        seconds=240.0,
        skip_s=30.0,
    )
    return [
        once,
        Case(
            "one 429 without Retry-After",
            once.limit,
            once.possible,
            says=Says.ABSENT,
            tokens=1,
            seconds=240.0,
            skip_s=30.0,
        ),
        Case("one 429, Retry-After 0", once.limit, once.possible, says=Says.ZERO, tokens=1, seconds=240.0, skip_s=30.0),
        Case(
            "a 429 every 97 s, Retry-After 3",
            lambda: Once(tuple(97.0 * n for n in range(1, 7)), 3.0),
            lambda a, b: (b - a) * 10.0,
            tokens=2,
        ),
        _window("10 a second", "clock", steady(10), 1.0),
        _window("10 a second, no Retry-After", "clock", steady(10), 1.0, says=Says.ABSENT),
        _window("10 a second, Retry-After 0", "clock", steady(10), 1.0, says=Says.ZERO),
        _window("10 in any second (sliding)", "sliding", steady(10), 1.0),
        Case("8 at once", lambda: AtOnce(steady(8)), _at_once(steady(8))),
        Case("8 at once, no Retry-After", lambda: AtOnce(steady(8)), _at_once(steady(8)), says=Says.ABSENT),
        Case("8, then 4, at once", lambda: AtOnce(changing(8, 4, 240.0)), _at_once(changing(8, 4, 240.0))),
        _window("10, then 5 a second", "clock", changing(10, 5, 240.0), 1.0),
        _window("10, then 30 a second", "clock", changing(10, 30, 240.0), 1.0),
        *(_window(f"600 a minute, {kind}", kind, steady(600)) for kind in ("fixed", "clock", "sliding")),
        *(
            _window(f"600 a minute, clock, Retry-After {says.value}", "clock", steady(600), says=says)
            for says in Says
            if says is not Says.TRUE
        ),
        _window("600, then 300 a minute", "clock", changing(600, 300, 240.0)),
        _window("600, then 1800 a minute", "clock", changing(600, 1800, 240.0), seconds=900.0),
        _window("600 a minute, others take 4 a second", "clock", steady(600), others_per_s=4.0),
        _window("20 a second, others take 8 a second", "clock", steady(20), 1.0, others_per_s=8.0),
        _window("120 a minute of one endpoint", "fixed", steady(120), of_endpoint=True),
        _window("2 a second of one endpoint", "clock", steady(2), 1.0, of_endpoint=True),
    ]


def run(case: Case, seed: int = 1) -> Outcome:
    world = World(case, seed)
    return world.run()

"""Seeded faults: what goes wrong, how often, and for which requests. Pure.

A rule names a kind of fault and the requests it hits. The same seed and the same order of requests give the same
faults. Rules can be replaced while the organisation runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from .chance import Chance

MAX_RULES = 100
MAX_WAIT_S = 600.0


class FaultKind(Enum):
    """What goes wrong."""

    TOO_MANY = "too-many"  # 429 with a Retry-After of `seconds`, or without one when `seconds` is None
    SERVER_ERROR = "server-error"  # `status` without doing anything
    DONE_ERROR = "done-error"  # done, then answered with `status`
    HANG = "hang"  # silent for `seconds`, then answered
    RESET = "reset"  # connection reset before anything is done
    LOST_REPLY = "lost-reply"  # done, then the connection is reset
    DRIP = "drip"  # the answer takes `seconds`, a little at a time
    NOT_JSON = "not-json"  # `status` with a page of HTML
    LOGIN_LIMIT = "login-limit"  # the login service's 400


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """One kind of fault and whom it hits.

    Attributes:
        rate: The share of matching requests, 0.0 to 1.0; ignored when `every` is set.
        every: Hit each n-th matching request (2: the second, fourth, …); 0 to use `rate`.
        times: Stop after so many hits; None for never.
        method: Only this method; empty for all.
        path: Regular expression searched in the whole path; empty for all but `/oauth/token`.
        seconds: See the kind; None where the kind needs none.
        status: See the kind.
    """

    kind: FaultKind
    rate: float = 1.0
    every: int = 0
    times: int | None = None
    method: str = ""
    path: str = ""
    seconds: float | None = None
    status: int = 503

    def matches(self, method: str, path: str) -> bool:
        """Return whether the rule is about such a request."""
        if self.method and method != self.method:
            return False
        if self.kind is FaultKind.LOGIN_LIMIT or not self.path:
            return (path == "/oauth/token") == (self.kind is FaultKind.LOGIN_LIMIT)
        return re.search(self.path, path) is not None


class FaultPlan:
    """Decides for each request whether something goes wrong.

    Args:
        rules: In order; the first that hits wins.
        chance: Where the lots come from.
    """

    def __init__(self, rules: Iterable[FaultRule] = (), *, chance: Chance) -> None:
        self._chance = chance
        self._rules: list[_Running] = []
        self.replace(rules)

    @property
    def hits(self) -> dict[str, int]:
        """How often each kind has hit since the rules were set."""
        counts: dict[str, int] = {}
        for running in self._rules:
            counts[running.rule.kind.value] = counts.get(running.rule.kind.value, 0) + running.hits
        return counts

    def replace(self, rules: Iterable[FaultRule]) -> None:
        """Put other rules in force, each from its beginning."""
        self._rules = [_Running(rule) for rule in rules]

    def choose(self, method: str, path: str) -> FaultRule | None:
        """Return the rule that hits this request, None for no fault."""
        for running in self._rules:
            if running.hits_request(method, path, self._chance):
                return running.rule
        return None


class _Running:
    """A rule with its counters."""

    __slots__ = ("hits", "matched", "rule")

    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self.matched = 0
        self.hits = 0

    def hits_request(self, method: str, path: str, chance: Chance) -> bool:
        rule = self.rule
        if (rule.times is not None and self.hits >= rule.times) or not rule.matches(method, path):
            return False
        self.matched += 1
        hit = self.matched % rule.every == 0 if rule.every else chance.fraction() < rule.rate
        self.hits += hit
        return hit

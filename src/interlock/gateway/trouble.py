"""What an endpoint that fails does to calls: its own are limited and, for a while, held; those of others go on.

Each endpoint has a limit of requests at once, which shrinks on timeouts and 502, 503, 504 and grows on success. When
several different calls in a row failed and none succeeded, its circuit opens: calls wait, then one tries. Only when
several endpoints fail at the same time is the API as a whole in trouble. One bad endpoint must not make all calls
serial, and one object that always fails must not close its endpoint: other calls to it succeed in between.

Values change in place; one admission owns them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from interlock.gateway.concurrency import Concurrency, Sample, after, may_send

OPENS_AT = 3
"""So many different calls of one endpoint that failed without a success between open its circuit."""
EVERYWHERE = 3
"""Failures of so many endpoints within `TOGETHER_S` are the API's."""
TOGETHER_S = 10.0
_PAUSE_MIN_S, _PAUSE_MAX_S = 1.0, 15.0
_LOOK_S = 1.0  # as many as may be are under way: an answer will say so before
_ENDPOINTS_MAX = 1024


@dataclass(slots=True)
class Endpoint:
    """How one endpoint does.

    Attributes:
        concurrency: How many may be under way.
        under_way: How many are.
        status: Of its last failure; 0 for no answer.
        failures: Failures since its last success.
    """

    concurrency: Concurrency
    under_way: int = 0
    status: int = 0
    failures: int = 0
    _failed: set[bytes] = field(default_factory=set)
    _open_until_s: float = -math.inf
    _pause_s: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether its circuit is open: it failed and has not succeeded since."""
        return self._pause_s > 0.0

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until one more call may go; 0.0 when it may at once."""
        if self.is_open:
            return max(self._open_until_s - now_s, _LOOK_S if self.under_way else 0.0)
        return 0.0 if may_send(self.concurrency, self.under_way) else _LOOK_S

    def ended(self, sample: Sample, call: bytes, status: int, *, sent_s: float, now_s: float) -> None:
        """A call ended."""
        self.concurrency = after(self.concurrency, sample, in_flight=self.under_way, sent_s=sent_s, now_s=now_s)
        self.under_way -= 1
        if sample is Sample.DROPPED:
            self._fail(call, status, sent_s, now_s)
        elif sample is Sample.SUCCESS:
            self._failed.clear()
            self.failures, self._pause_s = 0, 0.0

    def _fail(self, call: bytes, status: int, sent_s: float, now_s: float) -> None:
        self.failures += 1
        self.status = status
        self._failed.add(call)
        if (
            len(self._failed) >= OPENS_AT and sent_s >= self._open_until_s
        ):  # one sent before it opened tells nothing new
            self._pause_s = min(max(2.0 * self._pause_s, _PAUSE_MIN_S), _PAUSE_MAX_S)
            self._open_until_s = now_s + self._pause_s


@dataclass(slots=True)
class Trouble:
    """All endpoints.

    Attributes:
        limit: The limit of calls at once that an endpoint begins with.
        ceiling: The most it may grow to.
    """

    limit: float
    ceiling: float
    _endpoints: dict[str, Endpoint] = field(default_factory=dict)
    _failing: dict[str, float] = field(default_factory=dict)

    def of(self, name: str) -> Endpoint:
        """Return how an endpoint does."""
        found = self._endpoints.get(name)
        if found is None:
            if len(self._endpoints) >= _ENDPOINTS_MAX:
                self._endpoints = {key: each for key, each in self._endpoints.items() if each.under_way or each.is_open}
            found = self._endpoints[name] = Endpoint(Concurrency(limit=self.limit, ceiling=self.ceiling))
        return found

    def is_everywhere(self, name: str, now_s: float) -> bool:
        """Note that an endpoint failed; say whether so many do that it is the API itself."""
        self._failing = {key: at_s for key, at_s in self._failing.items() if now_s - at_s < TOGETHER_S}
        self._failing[name] = now_s
        return len(self._failing) >= EVERYWHERE

    def text(self, name: str) -> str:
        """Say for people why calls to an endpoint wait; empty when its circuit is closed."""
        found = self._endpoints.get(name)
        if found is None or not found.is_open:
            return ""
        what = f"answers {found.status}" if found.status else "does not answer"
        return f"{name} {what} ({found.failures} calls in a row); other calls go on, and this one is tried again"

"""One allowance: so many requests in any window of so many seconds, fixed or sliding, nobody knows which.

The log makes it exact. A request occupies its place from the moment it is sent until one window after its answer came.
It arrived at the API somewhere in between, so whatever the network does, any window as the API sees it, wherever it
begins, holds at most `allowed` of our requests. (Two requests that arrive within one window of each other: the first
was answered less than a window before the second was sent, so its place was still occupied then.)

The bucket sets the pace, so that a drift scan cannot burn a minute's allowance in two seconds and leave an apply
nothing. Its burst is small; the gap that it leaves at the window's end is as short (docs/explanation/gateway.md).

Values here change in place: this is the hot path, and one budget is owned by one admission.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from interlock.gateway.bucket import Bucket, emptied, full, level_at, take, wait_for
from interlock.gateway.headers import Heard
from interlock.gateway.restraint import Restraint

BURST_SHARE = 1 / 15
"""Share of an allowance that may go at once: 4 s of a minute, so the gap it leaves is well below every hold time."""

CLOCK_DRIFT = 1e-4
"""How much slower the API's clock may run than ours; also more than any rounding of a float."""

_GROWTH = 1.25  # of a limit that was learned from refusals, when it passed quietly for long enough
_USED = 0.8  # of such a limit: a time in which less was used proves nothing
_FORGET = 4.0  # one that grew to so many times what was refused, and is not documented, is no limit any more
RESET_MAX_S = 180.0
"""Longest time that a header or a Retry-After may keep a budget closed; beyond it one request asks again."""


@dataclass(frozen=True, slots=True)
class Place:
    """What one request occupies in a budget: given by `take`, handed back to `settle`.

    Attributes:
        cost: Requests, or what the budget counts instead.
        upto: How many of ours the API can have counted in its window when this request was sent, itself included.
        serial: Everything this budget had granted by then.
        at_once: How many requests were under way then, itself included.
        sent_s: When it was taken.
    """

    cost: int
    upto: int
    serial: int
    at_once: int = 1
    sent_s: float = 0.0


class Budget:
    """One allowance of one token, endpoint, user or organisation.

    Args:
        name: For people and metrics.
        allowed: Requests in a window; None when no limit is known (it only counts, and may learn).
        window_s: Length of the window.
        now_s: Monotonic seconds.
        ceiling: The user's own limit, which learning never exceeds; None for none.
    """

    __slots__ = (
        "_base",
        "_bucket",
        "_ceiling",
        "_flying",
        "_foreign",
        "_foreign_until_s",
        "_is_guess",
        "_lessons",
        "_log",
        "_logged",
        "_quiet_since_s",
        "_serial",
        "_was_used",
        "allowed",
        "name",
        "refusals",
        "restraint",
        "window_s",
    )

    def __init__(
        self, name: str, *, allowed: int | None, window_s: float, now_s: float, ceiling: int | None = None
    ) -> None:
        self.name = name
        self.window_s = window_s
        self.allowed: int | None = None
        self.refusals = 0
        self._base = allowed
        self._ceiling = ceiling
        self._bucket: Bucket | None = None
        self._log: deque[tuple[float, int]] = deque()
        self._logged = 0
        self._flying = 0
        self._foreign = 0
        self._foreign_until_s = -math.inf
        self.restraint = Restraint(window_s)
        self._serial = 0
        self._is_guess = False
        self._lessons = 0
        self._quiet_since_s = -math.inf
        self._was_used = False
        self._set_allowed(allowed, now_s)

    # Asking

    def occupied(self, now_s: float) -> int:
        """Return how much of the window is taken: in flight, answered lately, and what others took."""
        log = self._log
        while log and log[0][0] <= now_s:
            self._logged -= log.popleft()[1]
        return self._logged + self._flying + self._others(now_s)

    def room(self, now_s: float) -> float:
        """Return how much may go now; infinite when no limit is known and the budget is open."""
        if self.restraint.wait_s(now_s) > 0.0:
            return 0.0
        self._grow(now_s)
        if self.allowed is None or self._bucket is None:
            return math.inf
        left = self.allowed - self.occupied(now_s)
        return max(min(left, level_at(self._bucket, now_s)), 0.0)

    def fits(self, cost: int, now_s: float) -> bool:
        """Say whether `cost` may go now. A cost beyond the burst may go when the bucket is full."""
        return self.wait_s(cost, now_s) <= 0.0

    def wait_s(self, cost: int, now_s: float) -> float:
        """Return the seconds until `cost` may go, as far as is known now; 0.0 when it may at once."""
        closed_s = self.restraint.wait_s(now_s)
        self._grow(now_s)
        if self.allowed is None or self._bucket is None:
            return closed_s
        self.restraint.outgrows(self.allowed / self.window_s, now_s)
        paced_s = wait_for(self._bucket, min(cost, self._bucket.capacity), now_s=now_s)
        return max(closed_s, paced_s, self._log_wait_s(self._clamped(cost), now_s))

    def rate_per_s(self) -> float:
        """Return what it gives in the long run; infinite when no limit is known."""
        return math.inf if self.allowed is None else self.allowed / self.window_s

    def blocked_s(self, now_s: float) -> float:
        """Return for how long it is closed by a refusal; 0.0 when it is open."""
        return self.restraint.closed_s(now_s)

    # Using

    def take(self, cost: int, now_s: float) -> Place:
        """Occupy `cost`; the caller has asked `fits` at the same instant."""
        cost = self._clamped(cost)
        if self._bucket is not None:
            bucket, wait_s = take(self._bucket, min(cost, self._bucket.capacity), now_s=now_s)
            assert wait_s == 0.0, "taken without asking"
            self._bucket = bucket
        upto = self.occupied(now_s) - self._others(now_s) + cost
        self._flying += cost
        self._serial += cost
        if self.allowed is not None and upto >= _USED * self.allowed:
            self._was_used = True
        return Place(cost, upto, self._serial, self.restraint.send(now_s), now_s)

    def accepted(self, place: Place, now_s: float) -> None:
        """The API took the request in, whatever it said of it: as `settle`, and it shows what passes."""
        self.settle(place, now_s)
        self.restraint.accepted(place.sent_s, place.at_once, now_s)
        if self.restraint.lessons != self._lessons:
            self._believe(self.restraint, now_s)

    def ended(self, place: Place, now_s: float) -> None:
        """No answer came, or one that says nothing about limits: as `settle`."""
        self.settle(place, now_s)
        self.restraint.ended(place.sent_s)

    def unsent(self, place: Place) -> None:
        """The request never left, or was refused by another limit: the API has not counted it here."""
        self.free(place)
        self.restraint.ended(place.sent_s)

    def settle(self, place: Place, now_s: float) -> None:
        """The place is free again one window from now."""
        self._flying -= place.cost
        self._logged += place.cost
        self._log.append((now_s + self.window_s * (1.0 + CLOCK_DRIFT), place.cost))

    def free(self, place: Place) -> None:
        """The place is free again at once."""
        self._flying -= place.cost

    # Learning

    def mine_at_most(self, place: Place) -> int:
        """Return the most of our requests that the API can have counted when it answered this one."""
        return place.upto + self._serial - place.serial

    def learn(self, heard: Heard, place: Place, now_s: float) -> None:
        """Believe the API's own count and limit. What it counted beyond ours was somebody else's."""
        if heard.allowed != self.allowed:
            self._set_allowed(heard.allowed, now_s)
        self._base, self._is_guess = self.allowed, False
        self._foreign = max(heard.count - self.mine_at_most(place), 0)
        self._foreign_until_s = now_s + min(heard.reset_s, RESET_MAX_S)

    def refuse(self, place: Place, pause_s: float | None, now_s: float) -> None:
        """A 429 spoke about this budget: close it for everybody. What was refused is not counted.

        Args:
            place: Of the refused request.
            pause_s: Of its Retry-After; None without one.
            now_s: Monotonic seconds.
        """
        self.refusals += 1
        self.free(place)
        self.restraint.refused(place.sent_s, pause_s, now_s)
        if self._bucket is not None:
            self._bucket = emptied(self._bucket, now_s=now_s)

    def pardon(self) -> None:
        """The last refusal was about another budget."""
        self.restraint.pardon()

    def _believe(self, restraint: Restraint, now_s: float) -> None:
        """Take over what refusals taught, never more than what is documented."""
        learned, self._lessons = restraint.learned, restraint.lessons
        assert learned is not None, "a lesson teaches a limit"
        self._quiet_since_s, self._was_used, self._is_guess = now_s, False, True
        self._set_allowed(learned if self._base is None else min(learned, self._base), now_s)

    def announce(self, allowed: int, now_s: float) -> None:
        """The organisation's own limits name this one."""
        self._base, self._is_guess = allowed, False
        self._set_allowed(allowed, now_s)

    def close_for(self, wait_s: float, now_s: float) -> None:
        """Another process was refused: stay closed as long as it does."""
        self.restraint.close(wait_s, now_s)

    def override(self, allowed: int, window_s: float, now_s: float) -> None:
        """Take the user's own limit, which learning never exceeds."""
        self.window_s = self.restraint.window_s = window_s
        self._base = self._ceiling = allowed
        self._set_allowed(allowed, now_s)

    def follow(self, allowed: int | None, window_s: float, now_s: float) -> None:
        """Be so large from now on: a part of another budget, which learns for both."""
        self.window_s = self.restraint.window_s = window_s
        self._base, self._is_guess = allowed, False
        self._set_allowed(allowed, now_s)

    # Inside

    def _clamped(self, cost: int) -> int:
        return cost if self.allowed is None else min(cost, self.allowed)

    def _others(self, now_s: float) -> int:
        return self._foreign if now_s < self._foreign_until_s else 0

    def _log_wait_s(self, cost: int, now_s: float) -> float:
        """Return when enough places are free, were all in flight answered now."""
        missing = self.occupied(now_s) + cost - (self.allowed or 0)
        if missing <= 0:
            return 0.0
        for free_at_s, amount in self._log:
            missing -= amount
            if missing <= 0:
                return free_at_s - now_s
        return self.window_s  # the rest is in flight: a window after its answer, which is about to come

    def _grow(self, now_s: float) -> None:
        """Let a learned limit rise when it was used and nothing was refused: towards the documented one, or away."""
        quiet_s = self.restraint.quiet_windows * self.window_s
        if not self._is_guess or self.allowed is None or now_s - self._quiet_since_s < quiet_s:
            return
        self._quiet_since_s = now_s
        if not self._was_used:
            return
        self._was_used = False
        if self.allowed > (self.restraint.learned or 0):
            self.restraint.quiet_windows = 1  # more than the old limit passed: it has moved, so go on faster
        grown = math.ceil(self.allowed * _GROWTH)
        if self._base is not None and grown >= self._base:
            self._is_guess = False
            self._set_allowed(self._base, now_s)
        elif self._base is None and grown >= _FORGET * (self.restraint.learned or 1):
            self._is_guess = False
            self._set_allowed(None, now_s)
        else:
            self._set_allowed(grown, now_s)

    def _set_allowed(self, allowed: int | None, now_s: float) -> None:
        if allowed is not None:
            allowed = max(allowed if self._ceiling is None else min(allowed, self._ceiling), 1)
        self.allowed = allowed
        if allowed is None:
            self._bucket = None
            return
        bucket = full(capacity=max(allowed * BURST_SHARE, 1.0), rate_per_s=allowed / self.window_s, now_s=now_s)
        if self._bucket is not None:  # a changed limit is not a new burst
            level = min(level_at(self._bucket, now_s), bucket.capacity)
            bucket = Bucket(capacity=bucket.capacity, rate_per_s=bucket.rate_per_s, level=level, at_s=now_s)
        self._bucket = bucket


BudgetMaker = Callable[[str, int | None, float, int | None, float], Budget]
"""Makes the budget of a name: allowed, window, ceiling, now. Sharing between processes enters here."""


def plain_budget(name: str, allowed: int | None, window_s: float, ceiling: int | None, now_s: float) -> Budget:
    """Return a budget of this process alone."""
    return Budget(name, allowed=allowed, window_s=window_s, now_s=now_s, ceiling=ceiling)

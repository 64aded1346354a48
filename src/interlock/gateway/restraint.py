"""What refusals make a budget do, and what they teach about a limit that nobody documented.

A refusal (429) is an observation, not a law. It closes the budget for its pause; then one request, the probe, asks
whether it is over, and only its answer opens the budget again. How long that took tells more than any Retry-After:

- *Short* (less than `SHORT_S`): a limit of some seconds or of requests at once, or nothing at all. The budget goes on
  at 0.7 of the rate that had just succeeded, is back at it after some seconds, stays near it for a while and then tries
  more: the curve of TCP CUBIC, for the same reason. Requests at once are capped by what had been accepted at
  once, when more than ever lately were under way.
- *Long*: perhaps a window. The number that was accepted in it is a limit only if the same number is met again within
  two windows, or the first time if the window began with our first request and more never passed. Once learned it holds
  until a used window passes quietly; then it grows by a quarter, and the quiet time doubles each time that the old
  number is met.

Our own repetitions are never load: only what was accepted is counted. Everything here is forgotten in time.

Values change in place; one budget owns them. Knows no clock: every method is told the time.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

SHORT_S = 2.0
"""A pause shorter than this cannot be a window of a minute that is used up."""
PAUSE_DEFAULT_S = 0.5
"""The first pause after a refusal that says nothing, or zero."""
PAUSE_MAX_S = 180.0
"""Longest Retry-After that is waited for."""
PAUSE_UNBELIEVED_S = 60.0
"""After so long, or after a window where that is longer, one request asks, whatever a Retry-After says."""
FEW = 10
"""Fewer accepted requests than this say nothing about a limit."""
_BACKOFF_MAX_S = 4.0  # between probes that are refused
_LOOK_S = 1.0  # a probe is out, or as many as may be at once: its answer will say so before
_FALL = 0.3  # of the rate, after a refusal
_FALL_AGAIN = 0.15  # after one at a rate that was refused before: it is known well
_BELOW = 0.96  # of such a rate is where the pace stays for a while
_CURVE_EITHER_S = 3.0  # until the old rate is reached again, when requests at once may be what is limited
_CURVE_MIN_S, _CURVE_MAX_S = 6.0, 24.0  # else; longer when it was refused there before
_CAP_MIN_S, _CAP_MAX_S = 6.0, 48.0  # for which a cap holds before it grows
_FORGET = 4.0  # a pace or a cap that grew to so many times what was refused is no restraint any more
_SAME = 0.05  # two counts this near are the same count
_BESIDE = 0.15  # and two rates
_NEAR = 0.8  # of the most that passed: a refusal there may be for having tried more
_AT_ONCE_MIN = 3  # fewer requests at once are no load
_SEE_S = 0.5  # how often what succeeded is noted
_RATE_S = 2.0  # over which a rate is measured
_LATELY_S = 60.0
_BEST_S = 600.0  # for how long what succeeded in a window protects from learning less
_KEPT_S = 10.0  # before a window, to see whether it began with our first request
_QUIET_MAX = 8  # windows, before a limit that was met again and again is tried
_REOPENED = 1.2  # windows for which what was accepted since the last refusal may be one window's
_EARLY_S = 1.5  # a Retry-After is rounded up, so a window may have begun so much before


@dataclass(slots=True)
class Best:
    """The greatest value seen lately, in coarse steps of time."""

    keep_s: float
    step_s: float
    values: deque[tuple[float, float]] = field(default_factory=deque)

    def see(self, value: float, now_s: float) -> None:
        """Note a value."""
        values = self.values
        if values and now_s - values[-1][0] < self.step_s:
            if value > values[-1][1]:
                values[-1] = (values[-1][0], value)
        else:
            values.append((now_s, value))
        while values[0][0] < now_s - self.keep_s:
            values.popleft()

    def of(self, now_s: float) -> float:
        """Return it; 0.0 when nothing was seen."""
        return max((value for at_s, value in self.values if at_s >= now_s - self.keep_s), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What had been accepted when a refusal came, counted in the ways in which a window can begin.

    Attributes:
        at_s: When.
        sliding: In the window before it.
        since_open: Since the refusal before it was over; 0 when that is too long ago.
        window: Since the window that ended with the pause began.
        is_first: Whether that window began with our own first request.
    """

    at_s: float
    sliding: int
    since_open: int
    window: int
    is_first: bool

    def same_as(self, other: Counts) -> int | None:
        """Return the count that both refusals met; None when they met none."""
        pairs = ((self.since_open, other.since_open), (self.window, other.window), (self.sliding, other.sliding))
        found = [(abs(one - two), min(one, two)) for one, two in pairs if _is_same(one, two)]
        return min(found)[1] if found else None

    def near(self, limit: int) -> int | None:
        """Return the count that is that limit; None for none."""
        ways = (self.since_open, self.window, self.sliding)
        found = [(abs(each - limit), each) for each in ways if _is_same(each, limit)]
        return min(found)[1] if found else None


def _is_same(one: int, two: int) -> bool:
    return min(one, two) >= FEW and abs(one - two) <= max(_SAME * max(one, two), 1.0)


class Restraint:
    """How a budget holds itself back.

    Args:
        window_s: Of the budget.

    Attributes:
        window_s: Of the budget.
        is_active: Whether it holds back now.
        learned: Requests in a window that refusals showed to be the limit; None when nothing was learned.
        lessons: How often they showed it.
        quiet_windows: How many windows must pass quietly before more is tried.
    """

    __slots__ = (
        "_accepted",
        "_accepted_before",
        "_began_s",
        "_best",
        "_best_at_once",
        "_best_rate",
        "_cap",
        "_cap_at_s",
        "_cap_s",
        "_closed_until_s",
        "_counts",
        "_curve_s",
        "_doubts_at_s",
        "_failures",
        "_fall",
        "_flying",
        "_is_open",
        "_level",
        "_level_at_s",
        "_opened_s",
        "_pace",
        "_pace_at_s",
        "_probe",
        "_refused_at_s",
        "_refused_in_storm",
        "_seen_s",
        "_since_open",
        "_sliding",
        "_storm_s",
        "_under_way",
        "_was_lower",
        "is_active",
        "learned",
        "lessons",
        "quiet_windows",
        "window_s",
    )

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self.is_active = False
        self.learned: int | None = None
        self.lessons = 0
        self.quiet_windows = 1
        self._accepted: deque[float] = deque()  # within a window
        self._accepted_before: deque[float] = deque()  # shortly before it
        self._seen_s = -math.inf
        self._best = Best(_BEST_S, 10.0)
        self._best_at_once = Best(_LATELY_S, 5.0)
        self._best_rate = Best(_LATELY_S, 5.0)
        self._flying = 0
        self._counts: Counts | None = None
        self._doubts_at_s = -math.inf
        self._was_lower = False
        self._opened_s = -math.inf
        self._began_s = math.inf  # when the first was accepted
        self.pardon()

    def pardon(self) -> None:
        """It was somebody else's limit: hold back no more. What was learned about windows stays."""
        self.is_active = False
        self._is_open = True
        self._closed_until_s = self._refused_at_s = self._storm_s = -math.inf
        self._failures = 0
        self._probe: float | None = None
        self._pace: float | None = None
        self._cap: float | None = None
        self._pace_at_s = self._cap_at_s = 0.0
        self._curve_s, self._cap_s = _CURVE_MIN_S, _CAP_MIN_S
        self._level, self._fall = 1.0, _FALL
        self._level_at_s = 0.0
        self._under_way = self._refused_in_storm = self._sliding = self._since_open = 0

    # Asking

    def closed_s(self, now_s: float) -> float:
        """Return for how long it is closed yet; 0.0 when a request may at least probe."""
        return max(self._closed_until_s - now_s, 0.0)

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until one more may go; 0.0 when it may at once."""
        if not self.is_active:
            return 0.0
        if now_s < self._closed_until_s:
            return self._closed_until_s - now_s
        if not self._is_open:
            return 0.0 if self._probe is None else _LOOK_S
        if self._cap is not None and self._flying >= int(self._cap_now(now_s)):
            return _LOOK_S
        if self._pace is None:
            return 0.0
        rate = self._pace_now(now_s)
        return max(1.0 - self._level_now(now_s, rate), 0.0) / rate

    # Using

    def send(self, now_s: float) -> int:
        """One goes; return how many are under way then, which its end must tell."""
        self._flying += 1
        if self.is_active:
            if not self._is_open and self._probe is None:
                self._probe = now_s
            elif self._pace is not None:
                self._level = self._level_now(now_s, self._pace_now(now_s)) - 1.0
                self._level_at_s = now_s
        return self._flying

    def ended(self, sent_s: float) -> None:
        """One ended that says nothing about a limit."""
        self._flying -= 1
        if self._probe is not None and sent_s >= self._probe:
            self._probe = None

    def accepted(self, sent_s: float, at_once: int, now_s: float) -> None:
        """One was answered, and was no refusal."""
        self._flying -= 1
        self._accepted.append(now_s)
        self._began_s = min(self._began_s, now_s)
        if self._is_open and sent_s > self._storm_s:  # one of a storm may have overtaken many that were refused
            self._best_at_once.see(at_once, now_s)
        if now_s - self._seen_s >= _SEE_S:
            self._seen_s = now_s
            self._trim(now_s)
            self._best.see(len(self._accepted), now_s)
            self._best_rate.see(self._rate(now_s), now_s)
        if not self._is_open and self._probe is not None and sent_s >= self._probe:
            self._open(now_s)
        elif self.is_active and self._is_open:
            self._forget_restraints(now_s)

    def refused(self, sent_s: float, pause_s: float | None, now_s: float) -> None:
        """One was refused.

        Args:
            sent_s: When it was sent.
            pause_s: Of its Retry-After; None or 0.0 when that says nothing.
            now_s: Now.
        """
        self._flying -= 1
        self.is_active = True
        pause_s = _believed(pause_s, self.window_s)
        if sent_s <= self._storm_s:  # sent before the refusal that is known already: the same storm
            self._refused_in_storm += 1
            if not self._failures:
                self._closed_until_s = max(self._closed_until_s, now_s + pause_s)
            return
        self._storm_s = now_s
        if self._is_open:
            self._is_open = False
            self._refused_at_s = now_s
            self._under_way, self._refused_in_storm = self._flying + 1, 1
            self._sliding = self._count(now_s - self.window_s, now_s)
            is_lately = now_s - self._opened_s < _REOPENED * self.window_s
            self._since_open = self._count(self._opened_s - _SEE_S, now_s) if is_lately else 0
            self._failures = 0
        else:
            self._failures += 1
            pause_s = max(pause_s, min(PAUSE_DEFAULT_S * 2.0**self._failures, _BACKOFF_MAX_S))
        self._probe = None
        self._closed_until_s = now_s + pause_s

    def close(self, wait_s: float, now_s: float) -> None:
        """Another process was refused: stay closed as long as it does, then probe."""
        self.is_active = True
        self._is_open = False
        self._refused_at_s = max(self._refused_at_s, now_s)
        self._closed_until_s = max(self._closed_until_s, now_s + min(wait_s, PAUSE_MAX_S))

    # Learning

    def _open(self, now_s: float) -> None:
        """The probe was accepted."""
        self._is_open, self._probe = True, None
        if self._closed_until_s - self._refused_at_s < SHORT_S:
            self._after_short(now_s)
        else:
            rate = self._measured_rate(now_s)
            self._trim(now_s)
            self._after_long(self._closed_until_s)
            self._set_pace(rate, _CURVE_MIN_S, now_s)
        self._opened_s = now_s

    def _after_short(self, now_s: float) -> None:
        """Hold back what was too much: requests at once, requests a second, or both while nobody can tell."""
        rate, at_once = self._measured_rate(now_s), self._under_way - self._refused_in_storm + 1
        if self.learned is not None and _is_same(self._sliding, self.learned):  # a sliding window says "a second"
            self.quiet_windows = min(2 * self.quiet_windows, _QUIET_MAX)
            self.lessons += 1
        too_many = at_once >= max(_NEAR * self._best_at_once.of(now_s), _AT_ONCE_MIN)
        too_fast = rate >= _NEAR * self._best_rate.of(now_s)
        if not too_many and not too_fast:  # less than what passed before: doubt once, believe twice
            if now_s - self._doubts_at_s < _LATELY_S:
                self._best_at_once.values.clear()
                self._best_rate.values.clear()
            self._doubts_at_s = now_s
        is_old_cap = self._cap is not None and abs(at_once - 1 - self._cap) <= max(1.0, 0.2 * self._cap)
        is_old_pace = self._pace is not None and abs(rate - self._pace) <= _BESIDE * self._pace
        if too_many and (is_old_cap or not is_old_pace):
            self._cap_s = min(2.0 * self._cap_s, _CAP_MAX_S) if is_old_cap else _CAP_MIN_S
            self._cap, self._cap_at_s = float(at_once - 1), now_s
        elif self._cap is not None and at_once < _NEAR * self._cap:
            self._cap = None  # refused with fewer under way than it allows: they are not what is limited
        if not too_many or (too_fast and (is_old_pace or not is_old_cap)):
            if is_old_pace:
                self._set_pace(_BELOW * rate, min(2.0 * self._curve_s, _CURVE_MAX_S), now_s, fall=_FALL_AGAIN)
            else:
                self._set_pace(rate, _CURVE_EITHER_S if too_many else _CURVE_MIN_S, now_s)

    def _measured_rate(self, now_s: float) -> float:
        """Return what was accepted per second when it was refused, those included that were under way."""
        since_s = self._refused_at_s - max(self._opened_s, self._began_s)
        span_s = min(max(since_s, 1.0), _RATE_S)
        if since_s >= 1.0:
            return self._count(self._refused_at_s - span_s, self._refused_at_s) / span_s
        return max(self._count(self._refused_at_s - span_s, now_s) / span_s, (1.0 - _FALL) * (self._pace or 0.0))

    def _after_long(self, opened_s: float) -> None:
        """Count what had been accepted, and take it for a limit when it is one."""
        at_s, window_s = self._refused_at_s, self.window_s
        began_s = opened_s - window_s
        earlier = self._count(-math.inf, began_s - _EARLY_S)
        at_begin = self._count(began_s - _EARLY_S, began_s + _EARLY_S)
        counts = Counts(
            at_s=at_s,
            sliding=self._sliding,
            since_open=self._since_open,
            window=self._count(began_s, at_s),
            is_first=not earlier and at_begin > 0,
        )
        last, self._counts = self._counts, counts
        learned = counts.near(self.learned) if self.learned is not None else None
        if learned is not None:
            self.quiet_windows = min(2 * self.quiet_windows, _QUIET_MAX)
            is_lower = learned < (self.learned or 0)
            if is_lower and not self._was_lower:  # the same number, counted less well: so much passed before
                learned = self.learned
            self._was_lower = is_lower
        elif last is not None and at_s - last.at_s <= 2.0 * window_s + PAUSE_DEFAULT_S:
            learned, self.quiet_windows = counts.same_as(last), 1
        elif counts.is_first and counts.window >= FEW and counts.sliding >= (1.0 - _SAME) * self._best.of(at_s):
            learned, self.quiet_windows = max(counts.window, counts.sliding), 1
        if learned is not None:
            self.learned = learned
            self.lessons += 1

    def _set_pace(self, rate: float, curve_s: float, now_s: float, *, fall: float = _FALL) -> None:
        self._pace = max(rate, 1.0 / self.window_s, 0.2)
        self._curve_s, self._pace_at_s, self._fall = curve_s, now_s, fall
        self._level, self._level_at_s = 0.0, now_s

    def _forget_restraints(self, now_s: float) -> None:
        if self._pace is not None and self._pace_now(now_s) >= _FORGET * self._pace:
            self._pace = None
        if self._cap is not None and self._cap_now(now_s) >= _FORGET * self._cap + 1.0:
            self._cap = None
        self.is_active = self._pace is not None or self._cap is not None

    def outgrows(self, rate_per_s: float, now_s: float) -> None:
        """Forget a pace that is well above what the budget allows in the long run anyway."""
        if self._pace is not None and self._pace_now(now_s) >= 1.1 * rate_per_s:
            self._pace = None

    # Curves

    def _pace_now(self, now_s: float) -> float:
        assert self._pace is not None, "asked for a pace that there is not"
        bend = (now_s - self._pace_at_s - self._curve_s) / self._curve_s
        return self._pace * (1.0 + self._fall * bend**3)

    def _level_now(self, now_s: float, rate: float) -> float:
        return min(self._level + (now_s - self._level_at_s) * rate, max(1.0, rate / 10.0))

    def _cap_now(self, now_s: float) -> float:
        assert self._cap is not None, "asked for a cap that there is not"
        grown = max(now_s - self._cap_at_s - self._cap_s, 0.0) / self._cap_s
        return self._cap + grown * max(0.25 * self._cap, 1.0) * (1.0 + grown)

    # Counting

    def _trim(self, now_s: float) -> None:
        while self._accepted and self._accepted[0] <= now_s - self.window_s:
            self._accepted_before.append(self._accepted.popleft())
        while self._accepted_before and self._accepted_before[0] <= now_s - self.window_s - _KEPT_S:
            self._accepted_before.popleft()

    def _count(self, begin_s: float, end_s: float) -> int:
        return sum(1 for log in (self._accepted_before, self._accepted) for at_s in log if begin_s < at_s <= end_s)

    def _rate(self, now_s: float) -> float:
        """Return what was accepted per second just now, over the time since it opened when that is shorter."""
        span_s = min(max(now_s - self._opened_s, 0.5), _RATE_S)
        count = 0
        for at_s in reversed(self._accepted):
            if at_s <= now_s - span_s:
                break
            count += 1
        return count / span_s


def _believed(pause_s: float | None, window_s: float) -> float:
    """Return the pause that is waited for: no window is over later than its own length from now, whatever is said."""
    if not pause_s or pause_s < 0:
        return PAUSE_DEFAULT_S
    return min(pause_s, max(window_s, PAUSE_UNBELIEVED_S))

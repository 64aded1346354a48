"""When changes may begin: weekly windows and freezes, in a time zone. Pure.

They hold a run in the queue. A run whose turn came inside a window goes on to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import force_setattr

from interlock.instants import spelled

if TYPE_CHECKING:
    from interlock.policy.policy import Policy

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LOOK_DAYS: Final = 9
"""Days that are looked at for the next change: each week is like the other, but for the hour that summer time moves."""
_STEPS_MAX = 200  # windows and freezes that are waited for one after the other
_DAY = timedelta(days=1)

Zones = Callable[[str], tzinfo]
"""Returns the time zone of a name, such as `Europe/Berlin`."""


class Window(Struct, frozen=True, kw_only=True):
    """A time of the week in which changes may begin.

    Attributes:
        days: On which it begins, as in `DAYS`.
        begin: `HH:MM` on the clocks of the zone.
        end: `HH:MM`, `24:00` for the end of the day; one that is not after `begin` is on the next day.
        zone: Of the tz database.
    """

    days: tuple[str, ...] = DAYS
    begin: str = "00:00"
    end: str = "24:00"
    zone: str = "UTC"


class Freeze(Struct, frozen=True, kw_only=True):
    """A time in which no change begins.

    Attributes:
        reason: For people.
        begin: From when on; None for always.
        end: Until when; None until the policy is taken away.
    """

    reason: str
    begin: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        """Read an instant without a zone as UTC: servers kept such ones, and none can be compared with others."""
        for name in ("begin", "end"):
            at: datetime | None = getattr(self, name)
            if at is not None and at.tzinfo is None:
                force_setattr(self, name, at.replace(tzinfo=UTC))


class Held(Struct, frozen=True, kw_only=True):
    """A run that must wait, though it may be its turn.

    Attributes:
        policy: The policy that says so.
        reason: For people.
        until: When it may go on, as far as that is known; None when it is not.
    """

    policy: str
    reason: str
    until: datetime | None = None

    @property
    def text(self) -> str:
        """One line for people."""
        ends = f", until {spelled(self.until)}" if self.until is not None else ""
        return f"policy {self.policy}: {self.reason}{ends}"


HOLD_LOOK_S: Final = 30.0
"""How often whoever is held back, or may be, looks again: policies change, and clocks are set."""


def next_look_s(held: Held | None, now: datetime) -> float:
    """Return in how many seconds to look again: at the end of what holds, and often enough to follow what changes."""
    if held is None or held.until is None:
        return HOLD_LOOK_S
    return min(max((held.until - now).total_seconds(), 0.05), HOLD_LOOK_S)


def minutes_of(text: str) -> int:
    """Return the minutes since midnight of `HH:MM`, 0 to 1440.

    Raises:
        ValueError: It is no such time.
    """
    hours, _, minutes = text.partition(":")
    if len(text) != len("00:00") or not (hours + minutes).isdecimal() or not text.isascii():
        raise ValueError(text)
    total = int(hours) * 60 + int(minutes)
    if int(minutes) >= 60 or total > 24 * 60:  # noqa: PLR2004 - the hour's minutes, and 24:00
        raise ValueError(text)
    return total


def is_open(window: Window, at: datetime, zones: Zones) -> bool:
    """Say whether changes may begin at an instant, as far as this window goes."""
    local = at.astimezone(zones(window.zone))
    minute = local.hour * 60 + local.minute
    begin, end = minutes_of(window.begin), minutes_of(window.end)
    today = DAYS[local.weekday()] in window.days
    if begin < end:
        return today and begin <= minute < end
    yesterday = DAYS[local.weekday() - 1] in window.days
    return (today and minute >= begin) or (yesterday and minute < end)


def find_hold(policies: Sequence[Policy], now: datetime, zones: Zones) -> Held | None:
    """Return what holds changes back now, with the instant at which nothing will; None when nothing does.

    Args:
        policies: Those of one state. Each of them must let changes begin.
        now: Aware instant.
        zones: See `Zones`.
    """
    found = _first_hold(policies, now, zones)
    if found is None:
        return None
    until = found.until
    for _ in range(_STEPS_MAX):  # when one ends, another may have begun
        following = _following(policies, until, zones)
        if following is None:
            return Held(policy=found.policy, reason=found.reason, until=until)
        until = following.until
    return Held(policy=found.policy, reason=found.reason)


def _following(policies: Iterable[Policy], until: datetime | None, zones: Zones) -> Held | None:
    try:
        return _first_hold(policies, until, zones) if until is not None else None
    except OverflowError:  # the end of the calendar, in a freeze that was kept before its years were checked
        return None


def _first_hold(policies: Iterable[Policy], at: datetime, zones: Zones) -> Held | None:
    return next((held for one in policies for held in _holds(one, at, zones)), None)


def _holds(policy: Policy, at: datetime, zones: Zones) -> Iterator[Held]:
    for freeze in policy.freezes:
        if (freeze.begin is None or freeze.begin <= at) and (freeze.end is None or at < freeze.end):
            yield Held(policy=policy.name, reason=f"frozen: {freeze.reason}", until=freeze.end)
    if policy.windows and not any(is_open(window, at, zones) for window in policy.windows):
        reason = "outside of its maintenance windows"
        yield Held(policy=policy.name, reason=reason, until=_next_opening(policy.windows, at, zones))


def _next_opening(windows: Sequence[Window], after: datetime, zones: Zones) -> datetime | None:
    """Return the first instant at which one of the windows is open; None when none ever opens."""
    openings = (at for window in windows for at in _openings(window, after, zones))
    return min(openings, default=None)


def _openings(window: Window, after: datetime, zones: Zones) -> Iterator[datetime]:
    zone = zones(window.zone)
    first = after.astimezone(zone).date()
    for day in (first + n * _DAY for n in range(-1, LOOK_DAYS)):
        found = next((at for at in _candidates(window, day, zone) if at > after and is_open(window, at, zones)), None)
        if found is not None:
            yield found
            return


def _candidates(window: Window, day: date, zone: tzinfo) -> Iterator[datetime]:
    """Yield, in order, the instants of a day at which a window may open: of a day with a clock change, each minute."""
    begins = _instant(day, time(), zone)
    ends = _instant(day + _DAY, time(), zone)
    if ends - begins == _DAY:
        begin = minutes_of(window.begin)
        yield begins
        yield begins + timedelta(minutes=begin)
        return
    for minute in range(int((ends - begins) / timedelta(minutes=1))):
        yield begins + timedelta(minutes=minute)


def _instant(day: date, at: time, zone: tzinfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)

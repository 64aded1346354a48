from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from interlock.policy import Freeze, Policy, Window
from interlock.policy.windows import find_hold, is_open, minutes_of

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def policy(*windows: Window, freezes: tuple[Freeze, ...] = (), name: str = "prod") -> Policy:
    return Policy(name=name, windows=windows, freezes=freezes)


def held_until(policies: list[Policy], now: str) -> datetime | None:
    held = find_hold(policies, at(now), ZoneInfo)
    assert held is not None
    return held.until


OFFICE = Window(days=("mon", "tue", "wed", "thu"), begin="08:00", end="16:00", zone=BERLIN)
NIGHT = Window(days=("fri",), begin="22:00", end="04:00", zone=BERLIN)


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        (OFFICE, "2026-11-30T08:00+01:00", True),
        (OFFICE, "2026-11-30T15:59+01:00", True),
        (OFFICE, "2026-11-30T16:00+01:00", False),
        (OFFICE, "2026-11-30T07:59:59+01:00", False),
        (OFFICE, "2026-12-04T10:00+01:00", False),
        (NIGHT, "2026-12-04T23:00+01:00", True),
        (NIGHT, "2026-12-05T03:59+01:00", True),
        (NIGHT, "2026-12-05T04:00+01:00", False),
        (NIGHT, "2026-12-05T23:00+01:00", False),
        (Window(), "2026-12-05T23:00+01:00", True),
    ],
)
def test_a_window_is_open_by_the_clocks_of_its_zone(window: Window, now: str, expected: bool) -> None:
    assert is_open(window, at(now), ZoneInfo) is expected


def test_nothing_is_held_without_windows_and_freezes() -> None:
    assert find_hold([policy()], at("2026-11-30T10:00+00:00"), ZoneInfo) is None


def test_outside_of_its_windows_a_run_waits_for_the_next_one() -> None:
    assert held_until([policy(OFFICE)], "2026-12-03T17:00+01:00") == at("2026-12-07T08:00+01:00")
    assert held_until([policy(OFFICE, NIGHT)], "2026-12-03T17:00+01:00") == at("2026-12-04T22:00+01:00")


def test_summer_time_moves_the_window_with_the_clocks() -> None:
    assert held_until([policy(OFFICE)], "2026-10-23T10:00+02:00") == at("2026-10-26T08:00+01:00")
    assert held_until([policy(OFFICE)], "2026-03-27T10:00+01:00") == at("2026-03-30T08:00+02:00")


def test_a_window_that_begins_in_the_hour_that_is_left_out_begins_after_it() -> None:
    window = Window(days=("sun",), begin="02:30", end="05:00", zone=BERLIN)
    assert held_until([policy(window)], "2026-03-29T01:00+01:00") == at("2026-03-29T03:00+02:00")


def test_a_window_that_begins_in_the_hour_that_comes_twice_begins_the_first_time() -> None:
    window = Window(days=("sun",), begin="02:30", end="05:00", zone=BERLIN)
    assert held_until([policy(window)], "2026-10-25T01:00+02:00") == at("2026-10-25T02:30+02:00")


def test_a_freeze_holds_with_its_reason_until_it_ends() -> None:
    freeze = Freeze(reason="Black Friday", begin=at("2026-11-26T00:00+01:00"), end=at("2026-12-01T00:00+01:00"))
    held = find_hold([policy(freezes=(freeze,))], at("2026-11-27T10:00+01:00"), ZoneInfo)
    assert held is not None
    assert held.text == "policy prod: frozen: Black Friday, until 2026-11-30 23:00:00Z"
    assert find_hold([policy(freezes=(freeze,))], freeze.end or at("2026-12-01"), ZoneInfo) is None


def test_a_freeze_without_an_end_holds_until_it_is_taken_away() -> None:
    assert held_until([policy(freezes=(Freeze(reason="audit"),))], "2026-11-27T10:00+01:00") is None


def test_what_is_told_is_when_the_last_of_several_holds_ends() -> None:
    freeze = Freeze(reason="audit", end=at("2026-12-07T12:00+01:00"))
    both = [policy(OFFICE), policy(freezes=(freeze,), name="audit")]
    assert held_until(both, "2026-12-04T10:00+01:00") == at("2026-12-07T12:00+01:00")
    evening = Freeze(reason="audit", end=at("2026-12-07T17:00+01:00"))
    both = [policy(OFFICE), policy(freezes=(evening,), name="audit")]
    assert held_until(both, "2026-12-04T10:00+01:00") == at("2026-12-08T08:00+01:00")


def test_windows_that_never_meet_have_no_end() -> None:
    other = Window(days=("fri",), zone=BERLIN)
    assert held_until([policy(OFFICE), policy(other, name="other")], "2026-12-04T10:00+01:00") is None


@pytest.mark.parametrize("text", ["8:00", "25:00", "24:01", "08:60", "0800", "08:0x", "", "٠٨:٠٠"])
def test_what_is_not_a_time_of_the_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        minutes_of(text)


def test_the_end_of_the_day_is_a_time() -> None:
    assert minutes_of("24:00") == 1440
    assert minutes_of("00:00") == 0
    assert timedelta(minutes=minutes_of("08:30")) == timedelta(hours=8.5)


@pytest.mark.promise("P7")
@pytest.mark.parametrize("zone", ["UTC", BERLIN, "Pacific/Auckland", "America/Los_Angeles"])
def test_a_freeze_until_the_end_of_the_calendar_holds_and_has_no_end(zone: str) -> None:
    frozen = policy(freezes=(Freeze(reason="for ever", end=datetime.max.replace(tzinfo=UTC)),))
    office = policy(Window(days=("mon",), begin="08:00", end="16:00", zone=zone), name="office")
    assert find_hold([frozen, office], at("2026-12-03T17:00+01:00"), ZoneInfo) is not None

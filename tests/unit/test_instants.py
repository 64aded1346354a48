"""One spelling of instants for everything that people read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.cli import view
from interlock.instants import moved, span, spelled

AT = datetime(2026, 11, 24, 14, 2, 11, 123456, tzinfo=UTC)


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")  # needs no zone files
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        (UTC, "2026-11-24 14:02:11Z"),
        (timezone(timedelta(hours=1)), "2026-11-24 15:02:11+01"),
        (timezone(timedelta(hours=-8)), "2026-11-24 06:02:11-08"),
        (timezone(timedelta(hours=5, minutes=30)), "2026-11-24 19:32:11+05:30"),
        (timezone(-timedelta(hours=3, minutes=30)), "2026-11-24 10:32:11-03:30"),
    ],
)
def test_an_instant_is_spelled_with_the_offset_of_its_zone(zone: tzinfo, text: str) -> None:
    assert spelled(AT.astimezone(zone)) == text


def test_milliseconds_stand_before_the_offset() -> None:
    assert spelled(AT.astimezone(timezone(timedelta(hours=1))), milliseconds=True) == "2026-11-24 15:02:11.123+01"


@given(unix_s=st.integers(0, 250_000_000_000), minutes=st.integers(-1439, 1439))
def test_what_is_spelled_is_the_same_instant_for_every_reader(unix_s: int, minutes: int) -> None:
    there = datetime.fromtimestamp(unix_s, timezone(timedelta(minutes=minutes)))

    assert datetime.fromisoformat(spelled(there)) == there


def test_sentences_of_a_core_are_moved_to_the_reader_and_nothing_else_in_them_is() -> None:
    zone = timezone(timedelta(hours=1))

    assert moved("held since 2026-11-24 23:30:00Z, lock a-2026-11-24 23:30:00Z", zone) == (
        "held since 2026-11-25 00:30:00+01, lock a-2026-11-24 23:30:00Z"
    )
    for kept in ("2026-11-24T23:30:00Z", "2026-11-24 23:30:00.5 +0000 UTC", "2026-13-24 23:30:00Z", "no time at all"):
        assert moved(kept, zone) == kept


@pytest.mark.usefixtures("in_berlin")
def test_the_zone_is_the_readers_in_summer_and_in_winter() -> None:
    assert view.instant(AT) == "2026-11-24 15:02:11+01"
    assert view.instant(AT.replace(month=7)) == "2026-07-24 16:02:11+02"
    assert view.plain(AT) == "2026-11-24 15:02:11+01"
    assert view.local("stored at 2026-11-24 14:02:11Z (run a)") == "stored at 2026-11-24 15:02:11+01 (run a)"


@pytest.mark.usefixtures("in_berlin")
def test_an_age_stands_beside_an_instant_and_is_never_negative() -> None:
    assert view.since(AT, AT + timedelta(minutes=3, seconds=5)) == "2026-11-24 15:02:11+01 (3m05s ago)"
    assert view.since(AT, AT - timedelta(minutes=3)) == "2026-11-24 15:02:11+01 (0.0s ago)"


@pytest.mark.usefixtures("in_berlin")
def test_failures_name_the_readers_time(capsys: pytest.CaptureFixture[str]) -> None:
    view.say_failure("locked", "not now", "held by ann since 2026-11-24 14:02:11Z", "interlock lock show prod")

    assert "held by ann since 2026-11-24 15:02:11+01" in capsys.readouterr().err


@pytest.mark.usefixtures("in_berlin")
def test_json_stays_in_utc() -> None:
    assert "2026-11-24T14:02:11.123456Z" in view.as_json({"at": AT})


def test_a_span_of_any_number_can_be_added_to_an_instant() -> None:
    assert AT + span(90.0) == AT + timedelta(seconds=90)
    assert AT + span(1e300) == AT + timedelta(days=36_500)
    assert AT + span(-(10.0**40)) == AT - timedelta(days=36_500)

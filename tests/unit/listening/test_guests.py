from __future__ import annotations

import resource

import pytest

from interlock.listening.guests import CONNECTIONS_MAX, Guests, connections_max


def test_the_guest_that_was_idle_longest_makes_room() -> None:
    shown_out: list[str] = []
    guests = Guests(2)
    for name in ("a", "b", "c"):
        assert guests.enter(name, lambda name=name: shown_out.append(name))  # type: ignore[misc]
    assert shown_out == ["a"]
    assert len(guests) == 2


def test_a_guest_whose_request_is_worked_on_stays() -> None:
    shown_out: list[str] = []
    guests = Guests(2)
    for name in ("a", "b"):
        guests.enter(name, lambda name=name: shown_out.append(name))  # type: ignore[misc]
        guests.begin(name)
    assert not guests.enter("c", lambda: None)
    guests.end("b", lambda: shown_out.append("b"))
    assert guests.enter("c", lambda: None)
    assert shown_out == ["b"]


def test_a_guest_that_left_takes_no_room() -> None:
    guests = Guests(1)
    assert guests.enter("a", lambda: None)
    guests.leave("a")
    guests.begin("a")
    guests.end("a", lambda: None)
    assert len(guests) == 0


@pytest.mark.parametrize(
    ("files", "most"), [(256, 128), (1, 1), (1_000_000, CONNECTIONS_MAX), (resource.RLIM_INFINITY, CONNECTIONS_MAX)]
)
def test_a_listener_leaves_half_of_the_files_to_others(monkeypatch: pytest.MonkeyPatch, files: int, most: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert connections_max() == most

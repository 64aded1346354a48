from __future__ import annotations

import resource
import socket

import pytest

from interlock.listening.guests import CONNECTIONS_MAX, SILENT_PEER_S, Guests, connections_max, listen


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


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this system does not let one choose the times")
def test_a_machine_that_vanished_without_a_word_is_noticed_while_nothing_is_sent() -> None:
    with listen("127.0.0.1", 0, what="a test") as listener, socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        taken, _ = listener.accept()
        with taken:
            assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle_s, between_s, probes = (
                taken.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
            )
            assert idle_s + between_s * probes == SILENT_PEER_S

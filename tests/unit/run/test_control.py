"""The supervisor's half of the socket: words, signals, the front end's end, and what the front end is told."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from interlock.run.control import Control
from interlock.run.interrupts import Cause
from interlock.run.order import Operation, Order, encode
from interlock.run.transcript import END
from interlock.testing.clock import settle

ORDER = Order(run="r1", operation=Operation.PLAN, directory="d", state="prod", who="ann", home="h")


class FakeSupervisor:
    """Hears what a supervisor would."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def wish(self, cause: Cause, *, by: str = "") -> None:
        self.heard += [cause, by] if by else [cause]

    def answer(self, *, approved: bool) -> None:
        self.heard.append(approved)


class Wire:
    """Both ends."""

    def __init__(self) -> None:
        self.front, theirs = socket.socketpair()
        self.control = Control(theirs.detach())
        self.early: list[Cause] = []
        self.by: list[str] = []

    def hear(self, cause: Cause, by: str) -> None:
        self.early.append(cause)
        self.by.append(by)

    async def say(self, words: bytes) -> None:
        self.front.sendall(words)
        await asyncio.sleep(0)
        await settle()


@pytest.fixture
def wire() -> Iterator[Wire]:
    found = Wire()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)
    with suppress(OSError):
        found.control.close()
    found.front.close()


def test_an_order_is_read_to_its_end_and_no_further(wire: Wire) -> None:
    wire.front.sendall(encode(ORDER) + b"\nsigint\n")
    assert wire.control.await_order() == ORDER
    assert wire.control._socket.recv(99) == b"sigint\n"


def test_a_front_end_that_orders_nothing_sends_us_home(wire: Wire) -> None:
    wire.front.close()
    assert wire.control.await_order() is None


@pytest.mark.promise("P9")
def test_terraform_does_not_inherit_the_socket(wire: Wire) -> None:
    assert not os.get_inheritable(wire.control._socket.fileno())


@pytest.mark.promise("P9")
@pytest.mark.parametrize(
    ("word", "heard"),
    [
        (b"sigint\n", [Cause.SIGINT]),
        (b"sigterm\n", [Cause.SIGTERM]),
        (b"sighup\n", [Cause.SIGHUP]),
        (b"cancel\n", [Cause.CANCELLED]),
        (b"approve\n", [True]),
        (b"reject\n", [False]),
        (b"reject\nsigint\n", [False, Cause.SIGINT]),
        (b"\xff nonsense\n", []),
    ],
)
async def test_each_word_is_what_the_person_meant(wire: Wire, word: bytes, heard: list[object]) -> None:
    supervisor = FakeSupervisor()
    wire.control.listen(wire.hear)
    wire.control.attach(supervisor)  # type: ignore[arg-type]
    await wire.say(word)
    wire.control.detach()
    assert supervisor.heard == heard
    assert wire.early == []


@pytest.mark.promise("P9")
async def test_a_wish_before_there_is_a_supervisor_is_heard_and_an_answer_is_nobodys(wire: Wire) -> None:
    wire.control.listen(wire.hear)
    await wire.say(b"approve\nsigterm\n")
    wire.control.detach()
    assert wire.early == [Cause.SIGTERM]


@pytest.mark.promise("P9")
async def test_a_front_end_that_is_gone_stops_the_run_once(wire: Wire) -> None:
    supervisor = FakeSupervisor()
    wire.control.listen(wire.hear)
    wire.control.attach(supervisor)  # type: ignore[arg-type]
    wire.front.close()
    await asyncio.sleep(0)
    await settle()
    assert supervisor.heard == [Cause.FRONT_END_GONE]


@pytest.mark.promise("P9")
@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (signal.SIGINT, Cause.SIGINT),
        (signal.SIGTERM, Cause.SIGTERM),
        (signal.SIGHUP, Cause.SIGHUP),
        (signal.SIGUSR1, Cause.CANCELLED),
    ],
)
async def test_our_own_signals_are_wishes_too(wire: Wire, number: signal.Signals, cause: Cause) -> None:
    wire.control.listen(wire.hear)
    os.kill(os.getpid(), number)
    await asyncio.sleep(0)
    await settle()
    wire.control.detach()
    assert wire.early == [cause]


@pytest.mark.promise("P9")
async def test_who_cancels_from_another_machine_is_named(wire: Wire) -> None:
    supervisor = FakeSupervisor()
    wire.control.listen(wire.hear)
    wire.control.cancel("bob as bob (k1)")
    assert (wire.early, wire.by) == ([Cause.CANCELLED], ["bob as bob (k1)"])
    wire.control.attach(supervisor)  # type: ignore[arg-type]
    wire.control.cancel("bob as bob (k1)")
    wire.control.detach()
    assert supervisor.heard == [Cause.CANCELLED, "bob as bob (k1)"]


@pytest.mark.promise("P8")
def test_the_end_is_told_beside_the_rings(wire: Wire) -> None:
    wire.control.ring()
    wire.control.tell_end({"exit": 0, "code": "success"})
    assert wire.front.recv(999) == b"." + END + b'{"exit":0,"code":"success"}\n'


def test_nobody_who_listens_is_no_failure(wire: Wire) -> None:
    wire.front.close()
    wire.control.ring()
    wire.control.tell_end({"exit": 0})

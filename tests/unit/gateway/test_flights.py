from __future__ import annotations

import asyncio

import pytest

from interlock.gateway.answers import Answer
from interlock.gateway.flights import ORPHAN_S, ORPHANS_MAX, Ending, Flight, Flights, flight_key


async def fly(method: str = "GET", key: bytes = b"k") -> tuple[Flight, asyncio.Future[Ending]]:
    future: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    async def wait() -> Ending:
        return await future

    flight = Flight(key=key, method=method, task=asyncio.create_task(wait()), clients=1)
    await asyncio.sleep(0)
    return flight, future


ANSWER = Answer(status=200, headers=(), body=b"{}")


async def test_identical_reads_share_one_call() -> None:
    flights = Flights()
    flight, future = await fly()
    flights.add(flight)
    flights.sent(flight)
    assert flights.find(b"k", 0.0) is flight
    assert flights.find(b"other", 0.0) is None
    future.set_result(ANSWER)
    await flight.task
    assert flights.find(b"k", 0.0) is None


async def test_a_read_that_was_sent_before_a_write_was_answered_is_not_shared_afterwards() -> None:
    flights = Flights()
    read, _ = await fly()
    flights.add(read)
    flights.sent(read)
    write, _ = await fly("POST", b"w")
    flights.ended(write)
    assert flights.find(b"k", 0.0) is None
    read.task.cancel()
    write.task.cancel()


async def test_a_read_that_still_waits_is_shared_whatever_was_written() -> None:
    flights = Flights()
    read, _ = await fly()
    flights.add(read)
    write, _ = await fly("POST", b"w")
    flights.ended(write)
    assert flights.find(b"k", 0.0) is read
    read.task.cancel()
    write.task.cancel()


async def test_two_identical_writes_at_once_are_two_writes() -> None:
    flights = Flights()
    write, _ = await fly("POST")
    flights.add(write)
    assert flights.find(b"k", 0.0) is None
    write.task.cancel()


async def test_a_write_whose_client_went_away_is_found_again_by_the_same_write() -> None:
    flights = Flights()
    write, future = await fly("POST")
    flights.add(write)
    flights.sent(write)
    write.clients = 0
    flights.orphaned(write, 10.0)
    assert flights.find(b"k", 11.0) is write
    future.set_result(ANSWER)
    await write.task
    assert flights.find(b"k", 12.0) is write
    flights.served(write)
    assert flights.find(b"k", 13.0) is None


async def test_such_an_answer_is_kept_for_a_minute() -> None:
    flights = Flights()
    write, future = await fly("POST")
    flights.add(write)
    flights.sent(write)
    write.clients = 0
    flights.orphaned(write, 0.0)
    future.set_result(ANSWER)
    await write.task
    assert flights.find(b"k", ORPHAN_S + 1) is None


@pytest.mark.parametrize(("method", "is_sent"), [("GET", True), ("POST", False)])
async def test_a_read_and_an_unsent_write_are_given_up_with_their_client(method: str, is_sent: bool) -> None:
    flights = Flights()
    flight, _ = await fly(method)
    flights.add(flight)
    if is_sent:
        flights.sent(flight)
    flights.orphaned(flight, 0.0)
    await asyncio.wait({flight.task})
    assert flight.task.cancelled()


async def test_only_so_many_answers_are_kept() -> None:
    flights = Flights()
    for number in range(ORPHANS_MAX + 10):
        write, future = await fly("POST", str(number).encode())
        flights.add(write)
        flights.sent(write)
        write.clients = 0
        flights.orphaned(write, 0.0)
        future.set_result(ANSWER)
        await write.task
    assert flights.find(b"0", 1.0) is None
    assert flights.find(str(ORPHANS_MAX + 9).encode(), 1.0) is not None


def test_calls_are_the_same_only_if_everything_that_tells_is() -> None:
    base = flight_key("r/1", "GET", "/api/v2/users?", [(b"accept", b"a")], b"")
    assert base == flight_key("r/1", "GET", "/api/v2/users?", [(b"accept", b"a"), (b"tf-correlation-id", b"9")], b"")
    assert base != flight_key("r/2", "GET", "/api/v2/users?", [(b"accept", b"a")], b"")
    assert base != flight_key("r/1", "GET", "/api/v2/users?", [(b"accept", b"b")], b"")
    assert base != flight_key("r/1", "GET", "/api/v2/users?", [(b"accept", b"a")], b"x")
    assert flight_key("a", "bc", "", [], b"") != flight_key("ab", "c", "", [], b"")

from __future__ import annotations

import asyncio
import gzip

import pytest

from interlock.gateway.answers import Answer
from interlock.gateway.flights import (
    ABANDONED_MAX,
    ABANDONED_S,
    KEPT_BYTES_MAX,
    Ending,
    Flight,
    Flights,
    _made,
    flight_key,
)


async def fly(
    method: str = "GET", key: bytes = b"k", path: str = "/api/v2/things"
) -> tuple[Flight, asyncio.Future[Ending]]:
    future: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    async def wait() -> Ending:
        return await future

    flight = Flight(key=key, method=method, path=path, task=asyncio.create_task(wait()), clients=1)
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
    flights.abandoned(write, 10.0)
    assert flights.find(b"k", 11.0) is write
    future.set_result(ANSWER)
    await write.task
    assert flights.find(b"k", 12.0) is write
    flights.served(write)
    assert flights.find(b"k", 13.0) is None


async def test_such_an_answer_is_kept_for_as_long_as_the_sdk_may_take_to_repeat() -> None:
    flights = Flights()
    write, future = await fly("POST")
    flights.add(write)
    flights.sent(write)
    write.clients = 0
    flights.abandoned(write, 0.0)
    future.set_result(ANSWER)
    await write.task
    assert flights.find(b"k", ABANDONED_S + 1) is None


@pytest.mark.parametrize(("method", "is_sent"), [("GET", True), ("POST", False)])
async def test_a_read_and_an_unsent_write_are_given_up_with_their_client(method: str, is_sent: bool) -> None:
    flights = Flights()
    flight, _ = await fly(method)
    flights.add(flight)
    if is_sent:
        flights.sent(flight)
    flights.abandoned(flight, 0.0)
    await asyncio.wait({flight.task})
    assert flight.task.cancelled()


async def test_only_so_many_answers_are_kept() -> None:
    flights = Flights()
    for number in range(ABANDONED_MAX + 10):
        write, future = await fly("POST", str(number).encode())
        flights.add(write)
        flights.sent(write)
        write.clients = 0
        flights.abandoned(write, 0.0)
        future.set_result(ANSWER)
        await write.task
    assert flights.find(b"0", 1.0) is None
    assert flights.find(str(ABANDONED_MAX + 9).encode(), 1.0) is not None


async def abandoned(flights: Flights, method: str, path: str, *, made: str = "", key: bytes = b"k") -> Flight:
    """Return a write whose client went away and which was answered afterwards."""
    flight, future = await fly(method, key, path)
    flights.add(flight)
    flights.sent(flight)
    flight.clients = 0
    flights.abandoned(flight, 0.0)
    future.set_result(Answer(status=200, headers=(), body=f'{{"id":"{made}"}}'.encode() if made else b"{}"))
    await flight.task
    return flight


async def write(flights: Flights, method: str, path: str) -> None:
    flight, future = await fly(method, b"another", path)
    flights.add(flight)
    flights.sent(flight)
    future.set_result(ANSWER)
    await flight.task
    flights.served(flight)


QUEUE = "/api/v2/routing/queues/a1"


@pytest.mark.promise("P3")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", QUEUE),
        ("DELETE", QUEUE),
        ("PATCH", f"{QUEUE}/"),
        ("DELETE", "/api/v2/routing"),
        ("POST", f"{QUEUE}/members"),
        ("PUT", QUEUE.upper().replace("/API/V2", "/api/v2")),
    ],
)
async def test_a_write_is_not_answered_from_memory_when_something_else_was_written_to_its_object(
    method: str, path: str
) -> None:
    flights = Flights()
    await abandoned(flights, "PUT", QUEUE)
    await write(flights, method, path)
    assert flights.find(b"k", 1.0) is None


@pytest.mark.parametrize("path", ["/api/v2/routing/queues/a2", "/api/v2/routing/queues/a11", "/api/v2/users/a1"])
async def test_a_write_to_another_object_leaves_the_memory_of_an_abandoned_one(path: str) -> None:
    flights = Flights()
    kept = await abandoned(flights, "PUT", QUEUE)
    await write(flights, "PUT", path)
    assert flights.find(b"k", 1.0) is kept


async def test_a_write_that_was_overtaken_while_its_client_still_waited_is_not_adopted_later() -> None:
    flights = Flights()
    first, _ = await fly("PUT", b"k", QUEUE)
    flights.add(first)
    flights.sent(first)
    await write(flights, "PUT", QUEUE)
    first.clients = 0
    flights.abandoned(first, 0.0)
    assert flights.find(b"k", 1.0) is None
    first.task.cancel()


async def test_creations_beside_it_do_not_make_an_abandoned_creation_be_done_twice() -> None:
    flights = Flights()
    kept = await abandoned(flights, "POST", "/api/v2/routing/queues", made="a1")
    await write(flights, "POST", "/api/v2/routing/queues")
    await write(flights, "PUT", "/api/v2/routing/queues/a2")
    assert flights.find(b"k", 1.0) is kept


@pytest.mark.promise("P3")
async def test_a_creation_is_not_answered_from_memory_when_its_object_was_deleted_since() -> None:
    flights = Flights()
    await abandoned(flights, "POST", "/api/v2/routing/queues", made="a1")
    await write(flights, "DELETE", "/api/v2/routing/queues/A1")
    assert flights.find(b"k", 1.0) is None


async def test_a_post_that_made_nothing_is_overtaken_by_the_next_to_the_same_path() -> None:
    flights = Flights()
    await abandoned(flights, "POST", "/api/v2/users/a1/password")
    await write(flights, "POST", "/api/v2/users/a1/password")
    assert flights.find(b"k", 1.0) is None


async def test_whether_a_crossed_post_made_an_object_is_seen_when_it_has_ended() -> None:
    flights = Flights()
    first, future = await fly("POST", b"k", "/api/v2/users/a1/password")
    flights.add(first)
    flights.sent(first)
    first.clients = 0
    flights.abandoned(first, 0.0)
    await write(flights, "POST", "/api/v2/users/a1/password")
    assert flights.find(b"k", 1.0) is first
    future.set_result(ANSWER)
    await first.task
    assert not flights.still_holds(first)


@pytest.mark.promise("P3")
async def test_a_write_that_began_before_and_ended_after_an_abandoned_one_overtakes_it() -> None:
    """PUT off waits for its turn, PUT on passes it and is abandoned: its repetition must turn it on again."""
    flights = Flights()
    off, off_future = await fly("PUT", b"off", "/api/v2/things/a1")
    flights.add(off)
    await abandoned(flights, "PUT", "/api/v2/things/a1")
    off_future.set_result(ANSWER)
    await off.task
    flights.ended(off)
    flights.served(off)
    assert flights.find(b"k", 1.0) is None


async def test_each_of_two_abandoned_creations_is_adopted_once() -> None:
    flights = Flights()
    kept = [await abandoned(flights, "POST", "/api/v2/routing/queues", made=made) for made in ("a1", "a2")]
    found = []
    for at_s in (1.0, 2.0):
        flight = flights.find(b"k", at_s)
        assert flight is not None
        flights.served(flight)
        found.append(flight)
    assert found == kept
    assert flights.find(b"k", 3.0) is None


async def test_a_write_that_the_api_refused_is_given_up_with_its_client() -> None:
    flights = Flights()
    refused, _ = await fly("PUT")
    flights.add(refused)
    flights.sent(refused)
    flights.refused(refused)
    flights.abandoned(refused, 0.0)
    await asyncio.wait({refused.task})
    assert refused.task.cancelled()


def test_calls_are_the_same_only_if_everything_that_tells_is() -> None:
    base = flight_key("r/1", "GET", "/api/v2/users?", [(b"accept", b"a")], b"")
    assert base == flight_key("r/1", "GET", "/api/v2/users?", [(b"accept", b"a"), (b"tf-correlation-id", b"9")], b"")
    assert base != flight_key("r/2", "GET", "/api/v2/users?", [(b"accept", b"a")], b"")
    assert base != flight_key("r/1", "GET", "/api/v2/users?", [(b"accept", b"b")], b"")
    assert base != flight_key("r/1", "GET", "/api/v2/users?", [(b"accept", b"a")], b"x")
    assert flight_key("a", "bc", "", [], b"") != flight_key("ab", "c", "", [], b"")


async def test_an_object_that_a_compressed_answer_names_is_seen_too() -> None:
    headers = ((b"content-encoding", b"gzip"),)
    flight, future = await fly("POST")
    future.set_result(Answer(status=200, headers=headers, body=gzip.compress(b'{"id": "I"}')))
    await flight.task
    assert _made(flight) == "i"


async def left(flights: Flights, method: str, path: str, key: bytes, ending: Ending = ANSWER) -> Flight:
    """Begin a write whose client goes away, and let the API answer it."""
    flight, future = await fly(method, key, path)
    flights.add(flight)
    flights.sent(flight)
    flight.clients = 0
    flights.abandoned(flight, 0.0)
    future.set_result(ending)
    await flight.task
    flights.ended(flight)
    return flight


@pytest.mark.parametrize("path", ["/api/v2/things/bulk/remove", "/api/v2/things/bulk", "/api/v2/Things/Batch/x/"])
@pytest.mark.parametrize(("method", "there"), [("PUT", "/api/v2/things/1"), ("POST", "/api/v2/things")])
async def test_a_write_to_several_objects_overtakes_one_to_any_of_them(method: str, there: str, path: str) -> None:
    flights = Flights()
    made = Answer(status=200, headers=(), body=b'{"id": "1"}')
    await left(flights, method, there, b"k", made)
    assert flights.find(b"k", 1.0) is not None
    again = await left(flights, method, there, b"k2", made)
    later, future = await fly("POST", b"bulk", path)
    flights.add(later)
    assert not flights.still_holds(again)
    future.set_result(ANSWER)


async def test_of_many_long_answers_the_newest_are_kept() -> None:
    flights = Flights()
    body = bytes(KEPT_BYTES_MAX // 4)
    for number in range(6):
        answer = Answer(status=200, headers=(), body=body)
        await left(flights, "PUT", f"/api/v2/things/{number}", str(number).encode(), answer)
    assert [flights.find(str(number).encode(), 1.0) is not None for number in range(6)] == [False, False, *[True] * 4]

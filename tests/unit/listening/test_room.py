"""What all requests hold in memory at once is bounded, and who holds a state waits for no stranger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request

from interlock.errors import BackendUnavailable
from interlock.listening import room as rooms_of
from interlock.listening.room import (
    SMALL_BYTES,
    Room,
    Rooms,
    Stay,
    WithRoom,
    go_first,
    in_pieces,
    size_of_body,
    take_room,
    take_room_for_body,
)

MB = 1024 * 1024


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_room_is_given_in_order_and_never_beyond_the_limit() -> None:
    room, order = Room(10), list[str]()

    async def taking(name: str, size: int) -> None:
        await room.take(size)
        order.append(name)

    await room.take(6)
    waiting = [asyncio.ensure_future(taking(name, size)) for name, size in (("a", 8), ("b", 3), ("c", 3))]
    await settled()
    assert (order, room.held_bytes, room.waiting) == ([], 6, 3), "b would fit, and must not pass a by"
    room.give_back(6)
    await settled()
    assert (order, room.held_bytes) == (["a"], 8)
    room.give_back(8)
    await asyncio.gather(*waiting)
    assert (order, room.held_bytes, room.waiting) == (["a", "b", "c"], 6, 0)


async def test_what_is_longer_than_the_room_has_it_alone() -> None:
    room = Room(10)
    await room.take(100)
    other = asyncio.ensure_future(room.take(1))
    await settled()
    assert not other.done()
    room.give_back(100)
    await other
    assert room.held_bytes == 1


@pytest.mark.parametrize("has_turn", [False, True])
async def test_who_goes_away_while_it_waits_keeps_nobody_out(has_turn: bool) -> None:
    room = Room(10)
    await room.take(10)
    gone, other = (asyncio.ensure_future(room.take(size)) for size in (9, 2))
    await settled()
    if has_turn:
        room.give_back(10)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    if not has_turn:
        room.give_back(10)
    await other
    assert (room.held_bytes, room.waiting) == (2, 0)


async def test_who_waited_long_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms_of, "WAIT_S", 0.0)
    room = Room(10)
    await room.take(10)
    with pytest.raises(BackendUnavailable) as caught:
        await room.take(1)
    assert caught.value.http_status == 503
    assert (room.held_bytes, room.waiting) == (10, 0)


@pytest.mark.promise("P3")
async def test_who_holds_a_state_waits_for_no_stranger_and_a_request_waits_once() -> None:
    rooms = Rooms()
    strangers = Stay(rooms), Stay(rooms)
    await strangers[0].take(rooms_of.ROOM_BYTES)
    waiting = asyncio.ensure_future(strangers[1].take(rooms_of.MIDDLING_BYTES + 1))
    holder = Stay(rooms)
    holder.go_first()
    await holder.take(100 * MB)
    await holder.take(100 * MB)  # the version before it
    await strangers[0].take(MB)
    assert not waiting.done()
    assert rooms.numbers()["interlock_large_bodies_held_bytes"] == rooms_of.ROOM_BYTES + 201 * MB
    for stay in (holder, strangers[0]):
        stay.end()
    await waiting
    strangers[1].end()
    assert set(rooms.numbers().values()) == {0}


@pytest.mark.promise("P3")
@pytest.mark.parametrize("holds", [False, True])
async def test_a_middling_state_waits_for_no_large_one_on_a_slow_line(holds: bool) -> None:
    rooms = Rooms()

    async def taking(size: int, before: int = 0) -> Stay:
        stay = Stay(rooms)
        if holds:
            stay.go_first()
        await stay.take(size)
        await stay.take(before, waits=False)
        return stay

    slow = await taking(100 * MB, before=100 * MB)
    large = asyncio.ensure_future(taking(100 * MB))
    await settled()
    middling = [await asyncio.wait_for(taking(MB, before=90 * MB), 5) for _ in range(20)]
    assert not large.done()
    for stay in (*middling, slow):
        stay.end()
    (await large).end()
    assert set(rooms.numbers().values()) == {0}


@pytest.mark.parametrize(
    ("headers", "size"),
    [({}, 0), ({"content-length": "7"}, 7), ({"content-length": "900"}, 100), ({"transfer-encoding": "chunked"}, 100)],
)
def test_a_body_takes_what_it_announces_or_as_much_as_it_may_have(headers: dict[str, str], size: int) -> None:
    assert size_of_body(headers, 100) == size


Handler = Callable[[Any, Any, Any], Awaitable[None]]


async def asked(rooms: Rooms, handler: Handler) -> list[Any]:
    """Return what an application sends within the rooms."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    await WithRoom(handler, rooms)({"type": "http"}, receive, send)
    return sent


async def test_what_a_request_took_is_given_back_when_its_answer_has_gone_out_or_it_failed() -> None:
    rooms = Rooms()
    seen: list[int] = []

    async def answers(_scope: Any, _receive: Any, send: Any) -> None:
        go_first()
        await take_room(SMALL_BYTES)
        await take_room(MB)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        seen.append(rooms.of(MB, holds=True).held_bytes)
        await send({"type": "http.response.body", "body": bytes(range(256)) * 4096})
        seen.append(rooms.of(MB, holds=True).held_bytes)

    async def fails(_scope: Any, _receive: Any, _send: Any) -> None:
        await take_room(MB)
        raise ConnectionError

    start, *pieces = await asked(rooms, answers)
    assert start["type"] == "http.response.start"
    assert b"".join(each["body"] for each in pieces) == bytes(range(256)) * 4096
    assert [each["more_body"] for each in pieces] == [True] * (len(pieces) - 1) + [False]
    assert len(pieces) > 1
    with pytest.raises(ConnectionError):
        await asked(rooms, fails)
    assert (seen, set(rooms.numbers().values())) == ([MB, MB], {0})
    await take_room(10 * rooms_of.ROOM_BYTES)  # outside of a request nobody counts


async def test_a_piece_of_a_stream_is_not_called_the_last() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["more_body"])

    await in_pieces(send)({"type": "http.response.body", "body": b"x" * MB, "more_body": True})
    assert set(sent) == {True}


async def test_a_body_without_room_is_read_to_its_end_so_that_the_client_sees_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rooms_of, "WAIT_S", 0.0)
    rooms = Rooms()
    await rooms.everybody.take(rooms_of.ROOM_BYTES)
    left = [b"a" * MB] * 3

    async def receive() -> Any:
        return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

    async def answers(scope: Any, _receive: Any, _send: Any) -> None:
        with pytest.raises(BackendUnavailable):
            await take_room_for_body(Request(scope, receive), 10 * MB)

    async def no_answer(_message: Any) -> None:
        return None

    length = (b"content-length", b"%d" % (9 * MB))
    await WithRoom(answers, rooms)({"type": "http", "headers": [length]}, receive, no_answer)
    assert (left, rooms.everybody.held_bytes) == ([], rooms_of.ROOM_BYTES)

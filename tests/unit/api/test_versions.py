"""Tests of states over HTTP: they are held in memory once at each end."""

from __future__ import annotations

import tracemalloc
from io import BytesIO

import pytest

from interlock.api.versions import Grant, WriteAsked, asked_in, line_of, take_apart
from interlock.errors import UsageError
from interlock.home.line import _Reading

SIZE = 8_000_000


@pytest.mark.parametrize("state", [b"", b"{}", b'{"a":\n1}\n', bytes(SIZE)])
def test_a_line_and_a_state_are_taken_apart_as_they_were_put_together(state: bytes) -> None:
    asked = WriteAsked(grant=Grant(ticket="t", run="r"), note="n\n")
    framed = take_apart(BytesIO(line_of(asked) + state))
    assert (asked_in(framed.line, WriteAsked), framed.state) == (asked, state)


@pytest.mark.parametrize("sent", [b"", b"{}", b"no line", bytes(SIZE)])
def test_a_state_without_a_line_is_refused(sent: bytes) -> None:
    with pytest.raises(UsageError, match="no state was sent"):
        take_apart(BytesIO(sent))


def test_taking_a_state_apart_needs_no_memory_for_another() -> None:
    tracemalloc.start()
    sent = BytesIO()
    sent.write(b"{}\n")
    for _ in range(80):
        sent.write(bytes(SIZE // 80))
    framed = take_apart(sent)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(framed.state) == SIZE
    assert peak < 1.4 * SIZE, peak


def test_an_answer_is_held_in_memory_once() -> None:
    reading, chunk = _Reading(), bytes(100_000)
    tracemalloc.start()
    for _ in range(SIZE // len(chunk)):
        reading.on_body(chunk)
    reading.on_message_complete()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(reading.reply.body) == SIZE
    assert peak < 1.4 * SIZE, peak

from __future__ import annotations

import pytest
from starlette.types import Message

from interlock.gateway import bodies as bodies_module
from interlock.gateway.bodies import Bodies
from interlock.gateway.headers import Pair
from interlock.gateway.route import Refused

LENGTH: list[Pair] = [(b"content-length", b"6")]
CHUNKED: list[Pair] = [(b"transfer-encoding", b"chunked")]


class Client:
    """Sends its parts one after the other, then goes."""

    def __init__(self, *parts: bytes) -> None:
        self.messages: list[Message] = [
            {"type": "http.request", "body": part, "more_body": number + 1 < len(parts)}
            for number, part in enumerate(parts)
        ]

    async def __call__(self) -> Message:
        return self.messages.pop(0) if self.messages else {"type": "http.disconnect"}


async def test_a_body_is_read_in_parts_and_counted_while_it_is_held() -> None:
    bodies = Bodies()
    with bodies.holding() as holding:
        assert await holding.read(Client(b"abc", b"def"), LENGTH, 10) == b"abcdef"
        assert bodies.held_bytes == 6
    assert bodies.held_bytes == 0


async def test_without_a_length_there_is_no_body_to_wait_for() -> None:
    with Bodies().holding() as holding:
        assert await holding.read(Client(), [(b"accept", b"*/*")], 10) == b""


@pytest.mark.parametrize("headers", [CHUNKED, [(b"content-length", b"99")], [(b"content-length", b"9" * 30)]])
async def test_a_body_beyond_the_limit_is_refused(headers: list[Pair]) -> None:
    bodies = Bodies()
    with bodies.holding() as holding:
        refused = await holding.read(Client(b"x" * 6, b"x" * 6), headers, 10)
    assert isinstance(refused, Refused)
    assert refused.status == 413
    assert bodies.held_bytes == 0


async def test_a_client_that_leaves_in_the_middle_is_no_request() -> None:
    client = Client(b"abc", b"def")
    client.messages.pop()
    with Bodies().holding() as holding:
        assert isinstance(await holding.read(client, LENGTH, 10), Refused)


async def test_all_bodies_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies_module, "BODIES_MAX", 8)
    bodies = Bodies()
    with bodies.holding() as first, bodies.holding() as second:
        assert await first.read(Client(b"abcdef"), LENGTH, 10) == b"abcdef"
        refused = await second.read(Client(b"abcdef"), LENGTH, 10)
        assert isinstance(refused, Refused)
        assert refused.status == 503

"""Tests of hearing that somebody at another machine wants a run to stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from interlock.api.runs import StopRequests
from interlock.errors import BackendUnavailable
from interlock.run.stop_requests import RETRY_S, hear_stop_requests
from interlock.testing.clock import FakeClock, settle


class Record:
    """Tells what was asked; may be away, and may lose answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = 0

    async def stop_requests(self, run: str, state: str, *, seen: int) -> StopRequests:
        assert (run, state) == ("r", "prod")
        if self.fails:
            self.fails -= 1
            raise BackendUnavailable("away")
        return StopRequests(by=self.asked[seen:], count=len(self.asked))


@pytest.mark.promise("P9")
async def test_each_request_is_passed_on_once_also_when_the_server_was_away() -> None:
    record, clock, heard = Record(), FakeClock(), list[str]()
    hearing = asyncio.create_task(hear_stop_requests(record, run="r", state="prod", wish=heard.append, clock=clock))
    record.fails = 1
    record.asked.append("bob")
    await settle()
    assert heard == []
    for _ in range(4):
        await clock.advance(RETRY_S)
    assert heard == ["bob"]
    record.asked += ["bob", "carl"]
    for _ in range(4):
        await clock.advance(RETRY_S)
    assert heard == ["bob", "bob", "carl"], "a further request of the same person is one more"
    hearing.cancel()
    with suppress(asyncio.CancelledError):
        await hearing

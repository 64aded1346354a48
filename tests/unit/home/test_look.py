"""One look at the queues of a home, without an event loop."""

from __future__ import annotations

from pathlib import Path

from interlock.clock import SystemClock
from interlock.home.embedded import open_home
from interlock.home.look import is_free
from interlock.lock import Requested
from interlock.settings.values import Settings


def request(ticket: str) -> Requested:
    return Requested(ticket=ticket, run=ticket, who="me", lease_s=30.0, patience_s=15.0)


async def test_a_state_is_free_while_nobody_holds_it_and_nobody_else_is_asked(tmp_path: Path) -> None:
    settings, clock = Settings(home=tmp_path), SystemClock()
    assert not is_free(settings, "prod", clock), "there is no database, so nothing is known"
    async with open_home(settings) as home:
        held = await home.coordinator.acquire("prod", request("r1"), timeout_s=0.0)
        await home.coordinator.acquire("prod-2", request("r2"), timeout_s=0.0)
        assert not is_free(settings, "prod", clock)
        await home.coordinator.release("prod", ticket="r1", token=held.token)
        assert is_free(settings, "prod", clock)
        assert not is_free(settings, "pro", clock), "another state's record begins so"
        assert not is_free(settings, "prod-2", clock)


def test_a_database_that_cannot_be_read_is_not_called_free(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.database.write_bytes(b"no database" * 1000)
    assert not is_free(settings, "prod", SystemClock())

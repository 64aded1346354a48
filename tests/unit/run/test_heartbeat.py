import asyncio

import pytest

from interlock.errors import BackendUnavailable, InterlockError, LeaseLost
from interlock.run.entries import AnyEntry
from interlock.run.heartbeat import keep_alive
from interlock.store import StoreGone
from interlock.testing.clock import FakeClock


class Lease:
    """Answers renewals with what a test put into it."""

    def __init__(self, *answers: InterlockError | None) -> None:
        self.answers = list(answers)
        self.renewals = 0
        self.lost: list[LeaseLost] = []
        self.told: list[str] = []

    async def renew(self) -> None:
        self.renewals += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer

    def tell(self, entry: AnyEntry) -> None:
        self.told.append(str(entry.facts()["text"]))


async def beat(lease: Lease, clock: FakeClock, seconds: float) -> bool:
    """Let a heartbeat of one second go on for a while; say whether it goes on still."""
    beating = asyncio.create_task(
        keep_alive(lease.renew, every_s=1.0, clock=clock, lost=lease.lost.append, tell=lease.tell)
    )
    await clock.advance(seconds)
    going_on = not beating.done()
    beating.cancel()
    return going_on


async def test_a_lease_is_renewed_at_its_pace() -> None:
    lease = Lease()
    assert await beat(lease, FakeClock(), 4.5)
    assert lease.renewals == 4


async def test_a_store_that_does_not_answer_is_told_once_and_tried_again() -> None:
    lease = Lease(BackendUnavailable("down"), BackendUnavailable("down"), None, BackendUnavailable("down"))
    assert await beat(lease, FakeClock(), 5.5)
    assert lease.renewals == 5
    assert len(lease.told) == 2  # once for each outage
    assert lease.lost == []


async def test_a_lost_lease_is_told_at_once_and_ends_the_heartbeat() -> None:
    lease = Lease(None, LeaseLost("broken"))
    assert not await beat(lease, FakeClock(), 9.0)
    assert lease.renewals == 2
    assert [error.what for error in lease.lost] == ["broken"]


@pytest.mark.promise("P1")
async def test_a_store_that_was_removed_ends_the_heartbeat_as_a_lost_lease() -> None:
    lease = Lease(None, BackendUnavailable("busy"), StoreGone("the database is gone", why="its -wal was removed"))
    assert not await beat(lease, FakeClock(), 9.0)
    assert lease.renewals == 3
    assert [error.exit_status for error in lease.lost] == [12]
    assert "its -wal was removed" in lease.lost[0].why


@pytest.mark.promise("P9")
async def test_a_server_that_is_away_for_longer_than_the_lease_is_told_once() -> None:
    clock, away = FakeClock(), list[str]()
    lease = Lease(None, *[BackendUnavailable("away")] * 6, None, BackendUnavailable("away"))

    def say(error: InterlockError) -> None:
        away.append(f"{error.what} at {clock.monotonic():g}")

    began_s = clock.monotonic()
    beating = asyncio.create_task(
        keep_alive(
            lease.renew, every_s=1.0, clock=clock, lost=lease.lost.append, tell=lease.tell, away_after_s=4.0, away=say
        )
    )
    await clock.advance(9.5)
    assert away == [f"away at {began_s + 5:g}"], "four seconds after the renewal of the first second"
    assert not beating.done(), "heartbeats go on: the server may come back while Terraform saves"
    beating.cancel()

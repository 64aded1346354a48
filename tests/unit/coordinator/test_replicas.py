from __future__ import annotations

import pytest

from interlock.coordinator.local import LocalCoordinator
from interlock.coordinator.replicas import BEAT_S, GONE_S, Replica
from interlock.lock import Released, Requested
from interlock.lock.ticket import attempt_at
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

STATE = "prod/routing"


class Site:
    """Servers on one store."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = MemoryRecords(clock=self.clock)
        self.coordinator = LocalCoordinator(self.records, self.clock, CountingIds())

    def server(self, name: str) -> Replica:
        return Replica(name, self.records, self.coordinator, self.clock)

    async def listen(self, ticket: str, server: str) -> None:
        """Let a client wait, or hold, by a connection to a server."""
        attempt = attempt_at(server, f"{ticket}1")
        asked = Requested(ticket=ticket, who="ann", lease_s=86_400, patience_s=40, lock_id=ticket, attempt=attempt)
        await self.coordinator.request(STATE, asked)

    async def doubted(self) -> list[str]:
        lock = (await self.coordinator.view(STATE)).lock
        return [waiter.ticket for waiter in lock.waiters if waiter.doubted_at is not None]

    async def servers(self) -> list[str]:
        return [record.key.removeprefix("server/") for record in await self.records.list("server/")]


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.promise("P2")
async def test_only_who_listened_to_a_server_that_vanished_is_doubted(site: Site) -> None:
    stays, gone = site.server("stays"), site.server("gone")
    await stays.beat()
    await gone.beat()
    for ticket, server in (("holder", "stays"), ("a", "gone"), ("b", "stays"), ("c", "gone")):
        await site.listen(ticket, server)
    await site.clock.advance(GONE_S - 1)
    await stays.beat()
    assert await site.doubted() == []
    await site.clock.advance(2)
    await stays.beat()
    assert await site.doubted() == ["a", "c"]
    assert await site.servers() == ["stays"]
    await site.coordinator.apply_event(STATE, Released(ticket="holder"))
    lock = (await site.coordinator.view(STATE)).lock
    assert [holder.ticket for holder in lock.holders] == ["b"]
    assert [waiter.ticket for waiter in lock.waiters] == ["a", "c"]


async def test_a_client_that_also_listens_elsewhere_is_not_doubted(site: Site) -> None:
    stays, gone = site.server("stays"), site.server("gone")
    await gone.beat()
    await site.listen("holder", "stays")
    await site.listen("a", "gone")
    await site.listen("a", "stays")
    await site.clock.advance(GONE_S + 1)
    await stays.beat()
    assert await site.doubted() == []


async def test_the_holder_of_a_lock_keeps_it_when_its_server_vanished(site: Site) -> None:
    stays, gone = site.server("stays"), site.server("gone")
    await gone.beat()
    await site.listen("holder", "gone")
    await site.clock.advance(10 * GONE_S)
    await stays.beat()
    lock = (await site.coordinator.view(STATE)).lock
    assert [holder.ticket for holder in lock.holders] == ["holder"]


async def test_one_server_at_a_time_has_the_duty_and_another_takes_it_when_it_is_silent(site: Site) -> None:
    first, second = site.server("first"), site.server("second")
    await first.beat()
    await second.beat()
    record = await site.records.get("duty/vanished-servers") or pytest.fail("nobody")
    assert b'"server":"first"' in record.value
    assert b'"epoch":1' in record.value
    await site.clock.advance(GONE_S + 1)
    await second.beat()
    record = await site.records.get("duty/vanished-servers") or pytest.fail("nobody")
    assert b'"server":"second"' in record.value
    assert b'"epoch":2' in record.value
    await first.beat()  # it was only paused: it is there again, and the duty is another's now
    record = await site.records.get("duty/vanished-servers") or pytest.fail("nobody")
    assert b'"server":"second"' in record.value
    assert await site.servers() == ["first", "second"]


async def test_a_server_goes_on_to_say_that_it_is_there_and_leaves_in_good_order(site: Site) -> None:
    server = site.server("one")
    await server.start()
    for _ in range(10):
        await site.clock.advance(BEAT_S)
    assert await site.servers() == ["one"]
    await server.close()
    assert await site.servers() == []


async def test_a_record_that_cannot_be_read_stops_nobody(site: Site) -> None:
    await site.records.swap("server/odd", expected=None, value=b"\xff{")
    await site.records.swap("server/odder", expected=None, value=b'{"server":"odder","at":"2020-01-01T00:00:00"}')
    await site.records.swap("duty/vanished-servers", expected=None, value=b"[]")
    server = site.server("one")
    await server.beat()
    assert await site.servers() == ["odd", "odder", "one"]


async def beat_for(site: Site, seconds: float, *servers: Replica) -> None:
    for _ in range(round(seconds / BEAT_S)):
        await site.clock.advance(BEAT_S)
        for server in servers:
            await server.beat()


@pytest.mark.promise("P2")
async def test_a_server_that_vanished_is_noticed_though_the_clock_of_the_database_went_back(site: Site) -> None:
    stays, gone = site.server("stays"), site.server("gone")
    await beat_for(site, 2 * BEAT_S, gone, stays)  # the one that vanishes has the duty
    await site.listen("holder", "stays")
    await site.listen("a", "gone")
    site.clock.jump(-3600)
    await beat_for(site, GONE_S - BEAT_S, stays)
    assert await site.servers() == ["gone", "stays"]
    await beat_for(site, 2 * BEAT_S, stays)
    assert await site.servers() == ["stays"]
    assert await site.doubted() == ["a"]


@pytest.mark.promise("P2")
async def test_nobody_is_taken_for_gone_because_the_clock_of_the_database_went_forward(site: Site) -> None:
    one, two = site.server("one"), site.server("two")
    await beat_for(site, 2 * BEAT_S, one, two)
    await site.listen("holder", "one")
    await site.listen("a", "two")
    for server in (one, two):
        site.clock.jump(3600)
        await server.beat()
        assert await site.servers() == ["one", "two"]
        assert await site.doubted() == []
    record = await site.records.get("duty/vanished-servers") or pytest.fail("nobody")
    assert b'"server":"one"' in record.value

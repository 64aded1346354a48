import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from interlock.coordinator.local import LocalCoordinator
from interlock.errors import BackendUnavailable, LeaseLost, StateInvalid
from interlock.host import ProcessName
from interlock.lock import Broken, Grant, Holder, Requested
from interlock.recovery.breaker import Breaker, Noticed
from interlock.recovery.witnesses.process import Recorded
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds
from interlock.to_its_end import call_off

LEASE_S = 6.0
ELSEWHERE = ProcessName(host="elsewhere", machine="m", boot="b", namespace="n", pid=1, started="1")


def dead() -> ProcessName:
    """Return the name of a process that was certainly here and is certainly gone: an earlier one with our pid."""
    import os

    from interlock.host import name_process

    return replace(name_process(os.getpid()), started="1")


def living() -> ProcessName:
    import os

    from interlock.host import name_process

    return name_process(os.getpid())


class FakeEstate:
    """What a dead run left, as a test says."""

    def __init__(self) -> None:
        self.names: dict[str, ProcessName] = {"supervisor": dead()}
        self.failure: Exception | None = None
        self.done: list[str] = []

    def recorded(self, run: str, ticket: str = "") -> Recorded:  # noqa: ARG002
        return Recorded(processes=self.names, source=run)

    async def ask_to_stop(self, run: str) -> str:
        return f"asked {run}" if "terraform" in self.names else ""

    async def salvage(self, state: str, _holder: Holder) -> str:
        self.done.append(f"salvage {state}")
        if self.failure is not None:
            raise self.failure
        return "stored"

    def close(self, _state: str, holder: Holder) -> None:
        self.done.append(f"close {holder.run}")


class Scene:
    """A holder, and somebody who looks after it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.coordinator = LocalCoordinator(MemoryRecords(clock=self.clock), self.clock, CountingIds())
        self.leftovers = FakeEstate()
        self.told: list[str] = []
        self.failed: list[str] = []
        self.breaker = Breaker(coordinator=self.coordinator, leftovers=self.leftovers, clock=self.clock, by="us")

    def tell(self, noticed: Noticed) -> None:
        self.told.append(noticed.verdict)

    async def hold(self) -> Grant:
        request = Requested(ticket="r1", run="r1", who="a@b", lease_s=LEASE_S, patience_s=15.0)
        return await self.coordinator.acquire("s", request, timeout_s=0.0)

    async def attend(self, seconds: float) -> None:
        attending = self.attending()
        await self.clock.advance(seconds)
        attending.cancel()

    def attending(self) -> asyncio.Task[None]:
        def cannot(error: Exception) -> None:
            self.failed.append(str(error))

        return asyncio.create_task(self.breaker.attend("s", self.tell, cannot))

    async def holders(self) -> list[str]:
        return [holder.run for holder in (await self.coordinator.view("s")).lock.holders]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_gone_holder_is_broken_after_a_whole_lease_of_silence_and_its_state_is_saved_first(
    scene: Scene,
) -> None:
    await scene.hold()
    await scene.attend(LEASE_S - 0.1)
    assert (await scene.holders(), scene.leftovers.done) == (["r1"], [])
    await scene.attend(LEASE_S * 1.3)
    assert await scene.holders() == []
    assert scene.told == ["gone", "broken"]
    assert scene.leftovers.done == ["salvage s", "close r1"]


async def test_a_holder_whose_process_lives_is_never_broken_however_silent(scene: Scene) -> None:
    scene.leftovers.names = {"supervisor": living()}
    await scene.hold()
    await scene.attend(LEASE_S * 20)
    assert (await scene.holders(), scene.told, scene.leftovers.done) == (["r1"], ["alive"], [])


@pytest.mark.parametrize("names", [{}, {"supervisor": ELSEWHERE}])
async def test_a_holder_that_cannot_be_seen_from_here_is_never_broken(
    scene: Scene, names: dict[str, ProcessName]
) -> None:
    scene.leftovers.names = names
    await scene.hold()
    await scene.attend(LEASE_S * 20)
    assert (await scene.holders(), scene.told) == (["r1"], ["undecided"])


async def test_a_holder_that_beats_is_left_alone_although_no_process_is_seen(scene: Scene) -> None:
    grant = await scene.hold()
    attending = asyncio.create_task(scene.breaker.attend("s", scene.tell))
    for _ in range(10):
        await scene.clock.advance(LEASE_S / 2)
        await scene.coordinator.renew("s", ticket=grant.ticket, token=grant.token)
    attending.cancel()
    assert (await scene.holders(), scene.told) == (["r1"], [])


async def test_a_state_that_cannot_be_stored_is_kept_and_the_lock_is_free_all_the_same(scene: Scene) -> None:
    scene.leftovers.failure = StateInvalid("older")
    await scene.hold()
    await scene.attend(LEASE_S * 1.3)
    assert await scene.holders() == []
    assert scene.leftovers.done == ["salvage s", "close r1"]


@pytest.mark.promise("P2", "P5")
async def test_a_holder_that_dies_after_the_store_was_away_is_recovered_by_who_waited_through_that(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise BackendUnavailable("the store is away")

    grant = await scene.hold()
    attending = scene.attending()
    for _ in range(2):  # told once for each time that it is away
        with monkeypatch.context() as outage:
            outage.setattr(scene.coordinator, "view", away)
            await scene.clock.advance(LEASE_S)
        await scene.coordinator.renew("s", ticket=grant.ticket, token=grant.token)
        await scene.clock.advance(LEASE_S / 2)
    assert (await scene.holders(), [text.partition(" |")[0] for text in scene.failed]) == (
        ["r1"],
        ["the store is away", "the store is away"],
    )
    await scene.clock.advance(LEASE_S * 1.3)
    attending.cancel()
    assert await scene.holders() == []


@pytest.mark.promise("P2", "P3")
async def test_a_state_for_which_there_was_no_room_is_saved_when_there_is_and_its_lock_kept_until_then(
    scene: Scene,
) -> None:
    await scene.hold()
    attending = scene.attending()
    scene.leftovers.failure = OSError(28, "No space left on device")
    await scene.clock.advance(LEASE_S * 3)
    assert await scene.holders() == ["r1"]
    scene.leftovers.failure = None
    await scene.clock.advance(LEASE_S)
    attending.cancel()
    assert (await scene.holders(), scene.leftovers.done[-1], len(scene.failed)) == ([], "close r1", 1)


class FakeLog:
    """What was written down, in order; a test says which entry cannot be written."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.away = ""

    @asynccontextmanager
    async def __call__(self, holder: Holder, reason: str, saved: str) -> AsyncIterator[None]:
        assert "no heartbeat" in reason
        self._write(f"decided {holder.run}")
        yield
        self._write(f"broken {holder.run}: {saved}")

    def _write(self, entry: str) -> None:
        if self.away and entry.startswith(self.away):
            raise BackendUnavailable("the log is away")
        self.entries.append(entry)


@pytest.mark.promise("P5")
async def test_a_break_is_written_down_before_it_is_done_and_when_it_is(scene: Scene) -> None:
    log = FakeLog()
    scene.breaker = replace(scene.breaker, log=log)
    await scene.hold()
    log.away = "decided"
    await scene.attend(LEASE_S * 1.3)
    assert (await scene.holders(), log.entries, len(scene.failed)) == (["r1"], [], 1)
    log.away = ""
    await scene.attend(LEASE_S * 1.3)
    assert (await scene.holders(), log.entries) == ([], ["decided r1", "broken r1: stored"])


@pytest.mark.promise("P5")
async def test_a_log_that_cannot_be_written_behind_a_break_leaves_nothing_undone(scene: Scene) -> None:
    log = FakeLog()
    log.away = "broken"
    scene.breaker = replace(scene.breaker, log=log)
    await scene.hold()
    await scene.attend(LEASE_S * 1.3)
    assert (await scene.holders(), scene.told[-1], scene.leftovers.done[-1]) == ([], "broken", "close r1")
    assert (log.entries, len(scene.failed)) == (["decided r1"], 1)


async def test_an_orphaned_terraform_is_asked_to_stop_and_the_lock_waits_for_it(scene: Scene) -> None:
    scene.leftovers.names = {"supervisor": dead(), "terraform": living()}
    await scene.hold()
    await scene.attend(LEASE_S * 1.3)
    assert await scene.holders() == ["r1"]
    assert "alive" in scene.told
    scene.leftovers.names = {"supervisor": dead()}
    await scene.attend(LEASE_S * 1.3)
    assert await scene.holders() == []


async def test_a_grant_that_has_ended_meanwhile_is_left_at_that(scene: Scene) -> None:
    grant = await scene.hold()
    (holder,) = (await scene.coordinator.view("s")).lock.holders
    await scene.coordinator.release("s", ticket=grant.ticket, token=grant.token)
    assert await scene.breaker.recover("s", holder, reason="gone") is None
    assert scene.leftovers.done == ["salvage s"]


@pytest.mark.promise("P5")
async def test_a_grant_that_ended_while_its_state_was_saved_is_not_broken_and_its_run_not_closed(scene: Scene) -> None:
    """Somebody else was quicker: what they recorded of that run stands."""
    await scene.hold()
    (holder,) = (await scene.coordinator.view("s")).lock.holders
    scene.leftovers.failure = LeaseLost("the grant is not current", why="it was broken", fix="look")
    assert await scene.breaker.recover("s", holder, reason="gone") is None
    assert (await scene.holders(), scene.leftovers.done) == (["r1"], ["salvage s"])


async def test_a_break_that_was_begun_is_written_down_though_the_state_is_had_before_it_was_answered(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed, answered = asyncio.Event(), asyncio.Event()
    break_ = LocalCoordinator.break_

    async def slow(coordinator: LocalCoordinator, state: str, broken: Broken) -> None:
        await break_(coordinator, state, broken)
        freed.set()
        await answered.wait()

    monkeypatch.setattr(LocalCoordinator, "break_", slow)
    await scene.hold()
    attending = asyncio.create_task(scene.breaker.attend("s", scene.tell))
    await scene.clock.advance(LEASE_S * 1.3)
    await freed.wait()
    calling_off = asyncio.create_task(call_off(attending))
    await asyncio.sleep(0)
    answered.set()
    await calling_off
    assert (scene.told, scene.leftovers.done) == (["gone", "broken"], ["salvage s", "close r1"])

"""Many runs on machines that crash, stall and have wrong clocks, over a network that loses, delays and repeats.

Every choice comes from one seed, which is the test's parameter: `pytest tests/simulation -k 'seed17'` repeats it.
The store keeps a journal of every record that it ever accepted, and the promises are judged on that journal alone.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations, pairwise
from random import Random

import pytest

from interlock.coordinator import Head, HeadMoved, StateRecord
from interlock.coordinator.local import LocalCoordinator
from interlock.coordinator.record import NEW_STATE, decode
from interlock.errors import BackendUnavailable, InterlockError, LeaseLost
from interlock.lock import (
    WHOLE_STATE,
    Broken,
    Bumped,
    Event,
    Grant,
    Priority,
    Released,
    Renewed,
    Requested,
    Stage,
    Withdrawn,
    claim_of,
    conflicts,
)
from interlock.store.memory import MemoryRecords
from interlock.store.records import LIST_LIMIT_MAX, Mismatch, Record
from interlock.testing.clock import FakeClock, settle
from interlock.testing.ids import CountingIds

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "12"))
AGENTS = 6
ROUNDS = 4
STORM_S = 240.0
CALM_S = 3_000.0
LEASE_S = 30.0
PATIENCE_S = 20.0
STATE = "prod/routing"
CLAIMS = [WHOLE_STATE, WHOLE_STATE, claim_of(writes=["x.a"]), claim_of(writes=["x.b"]), claim_of(reads=["x.a"])]


class Killed(BaseException):
    """This process is no more: nothing of it runs on, not even its clean-up."""


class Journal(MemoryRecords):
    """The true store: everything that it accepts is written down."""

    def __init__(self, *, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.history: list[StateRecord] = [NEW_STATE]

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        version = await super().swap(key, expected=expected, value=value)
        assert value is not None
        self.history.append(decode(value))
        return version


@dataclass(eq=False)
class Machine:
    """One process on one machine: its clock may be wrong, it may stand still, be cut off, or die."""

    name: str
    world: World
    skew_s: float = 0.0
    stopped_until_s: float = 0.0
    cut_until_s: float = 0.0
    dead: bool = False
    was_stopped: bool = False

    async def awake(self) -> None:
        while not self.dead and (left_s := self.stopped_until_s - self.world.clock.monotonic()) > 0:
            await self.world.clock.sleep(left_s)
        if self.dead:
            raise Killed

    def now(self) -> datetime:
        return self.world.clock.now() + timedelta(seconds=self.skew_s)

    def monotonic(self) -> float:
        return self.world.clock.monotonic()

    async def sleep(self, wait_s: float) -> None:
        await self.world.clock.sleep(wait_s)
        await self.awake()


class Wire:
    """The record store as a machine reaches it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._world = machine.world
        self._store = machine.world.journal

    async def _travel(self) -> None:
        """One direction of one message: it takes time, and may never arrive."""
        await self._machine.awake()
        chance = self._world.random
        if chance.random() < 0.5:
            await self._machine.sleep(chance.choice([0.001, 0.01, 0.2, 1.0]))
        cut = self._world.clock.monotonic() < self._machine.cut_until_s
        if cut or (self._world.storm and chance.random() < 0.03):
            raise BackendUnavailable("lost on the way", fix="try again")

    async def get(self, key: str) -> Record | None:
        await self._travel()
        record = await self._store.get(key)
        await self._travel()
        return record

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        await self._travel()
        try:
            version = await self._store.swap(key, expected=expected, value=value)
        finally:
            await self._travel()
        if self._world.storm and self._world.random.random() < 0.05:  # a repetition by the network arrives too
            with pytest.raises(Mismatch):
                await self._store.swap(key, expected=expected, value=value)
        return version

    async def replace_damaged(self, key: str, value: bytes) -> int:
        return await self._store.replace_damaged(key, value)

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        await self._travel()
        return await self._store.list(prefix, after=after, limit=limit)

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        await self._travel()
        record = await self._store.watch(key, seen=seen, timeout_s=timeout_s)
        await self._travel()
        return record

    async def watch_prefix(self, prefix: str, *, seen: int, timeout_s: float) -> int:
        return await self._store.watch_prefix(prefix, seen=seen, timeout_s=timeout_s)

    async def close(self) -> None:
        """Nothing is held."""


class Tickets(CountingIds):
    def __init__(self, machine: str) -> None:
        super().__init__()
        self._machine = machine

    def fresh(self) -> str:
        return f"{self._machine}-{super().fresh()}"


@dataclass(eq=False)
class World:
    seed: int
    storm: bool = True
    owners: dict[str, Machine] = field(default_factory=dict)
    acknowledged: list[Head] = field(default_factory=list)
    sent: list[Event] = field(default_factory=list)
    refused_zombies: int = 0
    finished: int = 0
    alive: set[str] = field(default_factory=set)
    bumped: set[str] = field(default_factory=set)
    machines: list[Machine] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.clock = FakeClock()
        self.journal = Journal(clock=self.clock)

    def boot(self) -> None:
        machine = Machine(name=f"m{len(self.machines)}", world=self, skew_s=self.random.uniform(-8, 8))
        self.machines.append(machine)
        self.tasks.append(asyncio.create_task(self._live(machine)))

    async def _live(self, machine: Machine) -> None:
        try:
            coordinator = LocalCoordinator(Wire(machine), machine, Tickets(machine.name))
            for _ in range(ROUNDS):
                await machine.sleep(self.random.uniform(0, 20))
                await Life(self, machine, coordinator, coordinator.new_ticket()).run()
            self.finished += 1
        except Killed:
            pass

    async def chaos(self) -> None:
        while self.storm:
            await self.clock.sleep(self.random.uniform(1, 10))
            victim = self.random.choice([machine for machine in self.machines if not machine.dead])
            match self.random.choice(["stop", "stop", "cut", "kill", "jump", "replay", "operate"]):
                case "stop":
                    victim.stopped_until_s = self.clock.monotonic() + self.random.choice([1, 5, 25, 60])
                    victim.was_stopped = True
                case "cut":
                    victim.cut_until_s = self.clock.monotonic() + self.random.choice([1, 5, 15, 40])
                    victim.was_stopped = True
                case "kill":
                    victim.dead = True
                    self.boot()
                case "jump":
                    victim.skew_s += self.random.uniform(-8, 8)
                case "replay":
                    await self._tell(self.random.choice(self.sent) if self.sent else None)
                case "operate":
                    await self._operate()

    async def _tell(self, event: Event | None) -> None:
        """Deliver a message that was delivered before, or whose sender is long gone."""
        if event is not None:
            await LocalCoordinator(self.journal, self.clock, CountingIds()).apply_event(STATE, event)

    async def _operate(self) -> None:
        waiters = self.journal.history[-1].lock.waiters
        if waiters:
            ticket = self.random.choice(waiters).ticket
            if self.random.random() < 0.5:
                self.bumped.add(ticket)
                await self._tell(Bumped(ticket=ticket))
            else:
                await self._tell(Withdrawn(ticket=ticket, by="operator"))

    async def recover(self) -> None:
        """Break grants of the dead, and sometimes, wrongly, of those that only stand still: zombies are the point."""
        seen: dict[int, tuple[int, float]] = {}
        coordinator = LocalCoordinator(self.journal, self.clock, CountingIds())
        while True:
            await self.clock.sleep(3)
            for holder in self.journal.history[-1].lock.holders:
                beat, since_s = seen.get(holder.token, (-1, 0.0))
                if beat != holder.lease.beat:
                    seen[holder.token] = (holder.lease.beat, self.clock.monotonic())
                    continue
                gone = self.owners[holder.ticket].dead or holder.ticket not in self.alive
                if self.clock.monotonic() - since_s >= LEASE_S and (gone or self.random.random() < 0.3):
                    broken = Broken(ticket=holder.ticket, token=holder.token, by="recovery", reason="gone")
                    self.sent.append(broken)
                    await coordinator.apply_event(STATE, broken)


@dataclass(eq=False)
class Life:
    """One run, from its request to its release."""

    world: World
    machine: Machine
    coordinator: LocalCoordinator
    ticket: str

    async def run(self) -> None:
        chance, world = self.world.random, self.world
        request = Requested(
            ticket=self.ticket,
            who=self.machine.name,
            claim=chance.choice(CLAIMS),
            priority=chance.choice(list(Priority)),
            lease_s=LEASE_S,
            patience_s=PATIENCE_S,
            queue=chance.random() < 0.9,
        )
        world.owners[self.ticket] = self.machine
        world.alive.add(self.ticket)
        world.sent += [request, Renewed(ticket=self.ticket)]
        try:
            timeout_s = chance.choice([None, None, 30.0])
            grant = await self.coordinator.acquire(STATE, request, timeout_s=timeout_s)
            await self._hold(grant)
        except InterlockError:
            pass
        finally:
            world.alive.discard(self.ticket)

    async def _hold(self, grant: Grant) -> None:
        heartbeat = asyncio.create_task(self._beat(grant))
        try:
            for _ in range(self.world.random.randrange(4)):
                await self.machine.sleep(self.world.random.uniform(0.5, 8))
                await self._write(grant)
        finally:
            heartbeat.cancel()
        self.world.sent.append(Released(ticket=self.ticket, token=grant.token))
        await self.coordinator.release(STATE, self.ticket, grant.token)

    async def _beat(self, grant: Grant) -> None:
        """A zombie goes on after it was told that it is one: its writes must be refused all the same."""
        try:
            while True:
                await self.machine.sleep(LEASE_S / 3)
                try:
                    await self.coordinator.renew(STATE, self.ticket, grant.token)
                except InterlockError:
                    continue
        except Killed:
            pass

    async def _write(self, grant: Grant) -> None:
        world = self.world
        try:
            head = (await self.coordinator.view(STATE)).head
            new = Head(
                number=head.number + 1 if head else 1,
                digest=f"{world.random.getrandbits(64):x}",
                serial=head.serial + 1 if head else 1,
                lineage="lineage",
                size_bytes=1,
                written_at=self.machine.now(),
                token=grant.token,
            )
            await self.coordinator.update_head(STATE, token=grant.token, expected_head=head, new_head=new)
            world.acknowledged.append(new)
        except LeaseLost:
            world.refused_zombies += 1
        except (HeadMoved, BackendUnavailable):
            pass


def judge(history: list[StateRecord], world: World) -> None:
    fenced: set[int] = set()
    for before, after in pairwise(history):
        fenced |= {holder.token for holder in before.lock.holders} - {holder.token for holder in after.lock.holders}
        for one, other in combinations(after.lock.holders, 2):
            assert not conflicts(one.claim, other.claim), "P1: two conflicting holders"
        assert after.lock.token >= before.lock.token, "P4: the highest token fell"
        assert not fenced & {holder.token for holder in after.lock.holders}, "P4: a fenced token came back"
        _judge_order(before, after, world.bumped)
        _judge_write(before, after, fenced)
    heads = [record.head for record in history if record.head is not None]
    written = [head for n, head in enumerate(heads) if n == 0 or head != heads[n - 1]]
    assert [head.number for head in written] == list(range(1, len(written) + 1)), "P3: a version was replaced silently"
    lost = [head for head in world.acknowledged if head not in written]
    assert not lost, "P3: an acknowledged version is lost"
    endings = {ending for record in history for ending in record.lock.departed}
    dropped = {ending.ticket for ending in endings if ending.how is Stage.SILENT}
    wronged = [ticket for ticket in dropped if not (world.owners[ticket].dead or world.owners[ticket].was_stopped)]
    assert not wronged, "P2: a living waiter lost its place"


def _judge_order(before: StateRecord, after: StateRecord, bumped: set[str]) -> None:
    known = {holder.token for holder in before.lock.holders}
    waited = {waiter.ticket: waiter for waiter in before.lock.waiters}
    for holder in after.lock.holders:
        if holder.token in known or holder.ticket in bumped:
            continue
        waiter = waited.get(holder.ticket)
        arrival = waiter.arrival if waiter else after.lock.arrivals
        for other in after.lock.waiters:
            is_there = other.doubted_at is None  # the absent do not block the present
            is_in_front = is_there and other.priority is holder.priority and other.arrival < arrival
            assert not (is_in_front and conflicts(other.claim, holder.claim)), "P2: somebody was overtaken"


def _judge_write(before: StateRecord, after: StateRecord, fenced: set[int]) -> None:
    if after.head == before.head:
        return
    assert after.head is not None
    assert after.head.token in {holder.token for holder in before.lock.holders}, "P4: a write without a grant"
    assert after.head.token not in fenced, "P4: a zombie's write was accepted"


async def simulate(seed: int) -> World:
    world = World(seed=seed)
    helpers = [asyncio.create_task(world.chaos()), asyncio.create_task(world.recover())]
    for _ in range(AGENTS):
        world.boot()
    try:
        await _run(world)
    finally:
        for machine in world.machines:
            machine.dead = True
        for task in (*helpers, *world.tasks):
            task.cancel()
        await settle()
    return world


async def _run(world: World) -> None:
    await world.clock.advance(STORM_S)
    world.storm = False
    until_s = world.clock.monotonic() + CALM_S
    while not all(task.done() for task in world.tasks) or world.journal.history[-1].lock.holders:
        assert world.clock.monotonic() < until_s, "somebody waits for ever"
        await world.clock.advance(20)
    for task in world.tasks:
        task.result()


@pytest.mark.promise("P1", "P2", "P3", "P4")
@pytest.mark.parametrize("seed", [pytest.param(seed, id=f"seed{seed}") for seed in range(SEEDS)])
async def test_the_promises_hold_whatever_happens(seed: int) -> None:
    world = await simulate(seed)
    judge(world.journal.history, world)
    assert world.finished >= 1
    assert not world.journal.history[-1].lock.holders


async def test_the_simulation_is_repeatable_and_reaches_what_it_is_about() -> None:
    worlds = [await simulate(seed) for seed in (9, 9, 5)]
    assert worlds[0].journal.history == worlds[1].journal.history
    endings = {ending.how for world in worlds for record in world.journal.history for ending in record.lock.departed}
    assert endings == {Stage.RELEASED, Stage.WITHDRAWN, Stage.BROKEN, Stage.SILENT}
    assert sum(world.refused_zombies for world in worlds) > 0
    assert sum(len(world.acknowledged) for world in worlds) > 20

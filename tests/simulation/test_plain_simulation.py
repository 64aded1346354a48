"""Plain Terraform clients against servers that stall and die: polls, `?wait=`, copies, and connections that close.

The real application is called without sockets, over stores that lose, delay and repeat. Every choice comes from one
seed. What a client was told is compared with the journal of the store at each step.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections import Counter
from contextlib import suppress
from typing import Any, cast

import pytest
from tests.simulation.test_lock_simulation import STATE, Machine, Tickets, Wire, World

from interlock.backend.asgi import create_app
from interlock.coordinator.archive import StateArchive
from interlock.coordinator.local import LocalCoordinator
from interlock.lock import Broken
from interlock.rights.callers import SingleToken
from interlock.terraform.lockinfo import LockInfo, render_lock_info
from interlock.testing.clock import settle
from interlock.testing.ids import CountingIds

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "8"))
SERVERS, CLIENTS, ROUNDS = 2, 5, 6
STORM_S, CALM_S = 240.0, 2_000.0
STRANDED_S = 40.0
AUTH = b"Basic " + base64.b64encode(b"sim:token")
QUERIES = ("wait=0", "wait=30s", "", "")
OPERATIONS_MIN = 60
"""Requests of one seed at least: fewer mean that the clients only waited for each other, and tried nothing."""


class Call:
    """One HTTP request to one server. The client may hang up; the server may die."""

    def __init__(self, machine: Machine, app: Any, method: str, lock_id: str, query: str) -> None:
        self.status: int | None = None
        self._machine = machine
        self._sent = False
        self._body = render_lock_info(LockInfo(id=lock_id, who=lock_id))
        self._closed = asyncio.Event()
        scope = {
            "type": "http",
            "method": method,
            "path": f"/state/{STATE}",
            "query_string": query.encode(),
            "headers": [(b"authorization", AUTH)],
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    def hang_up(self) -> None:
        self._closed.set()

    async def answer(self) -> int | None:
        """Return the status; None when nothing came back."""
        closed = asyncio.ensure_future(self._closed.wait())
        await asyncio.wait({self.task, closed}, return_when=asyncio.FIRST_COMPLETED)
        closed.cancel()
        return None if self._closed.is_set() else self.status

    async def _receive(self) -> dict[str, Any]:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._closed.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self._machine.awake()
        if message["type"] == "http.response.start" and not self._closed.is_set():
            self.status = message["status"]


class Field(World):
    """Servers over one store, and the clients' view of it."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.servers: list[tuple[Machine, Any]] = []
        self.knows: set[str] = set()
        self.busy: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.calls: list[asyncio.Task[Any]] = []
        for _ in range(SERVERS):
            self.serve()

    def serve(self) -> None:
        machine = Machine(name=f"s{len(self.machines)}", world=self, skew_s=self.random.uniform(-3, 3))
        self.machines.append(machine)
        coordinator = LocalCoordinator(Wire(machine), machine, Tickets(machine.name))
        app = create_app(
            coordinator,
            cast("StateArchive", None),  # nobody reads or writes states here
            clock=machine,
            ids=Tickets(machine.name),
            tokens=SingleToken("token"),
        )
        self.servers.append((machine, app))

    async def call(
        self, method: str, lock_id: str, query: str = "", *, closes_after_s: float | None = None
    ) -> int | None:
        machine, app = self.random.choice([server for server in self.servers if not server[0].dead])
        call = Call(machine, app, method, lock_id, query)
        self.calls.append(call.task)
        self.busy[lock_id] += 1
        if closes_after_s is not None:
            self.done["closed"] += 1
            self.calls.append(asyncio.create_task(self._close(call, closes_after_s)))
        try:
            status = await call.answer()
            with suppress(BaseException):
                if call.task.done():
                    call.task.result()
        finally:
            self.busy[lock_id] -= 1
        self.done[f"{method} {status}"] += 1
        return status

    async def _close(self, call: Call, after_s: float) -> None:
        await self.clock.sleep(after_s)
        call.hang_up()

    async def live(self, name: str) -> None:
        for n in range(ROUNDS):
            await self.clock.sleep(self.random.uniform(0, 8))
            lock_id = f"{name}-{n}"
            if await self._lock(lock_id):
                await self._hold(lock_id)
        self.finished += 1

    async def _lock(self, lock_id: str) -> bool:
        chance = self.random
        for _ in range(chance.choice([1, 3, 20])):
            query = chance.choice(QUERIES)
            closes_after_s = chance.uniform(0, 8) if self.storm and chance.random() < 0.25 else None
            if self.storm and chance.random() < 0.2:
                self._copy(lock_id)
            status = await self.call("LOCK", lock_id, query, closes_after_s=closes_after_s)
            if status in (200, 410):
                return status == 200
            await self.clock.sleep(chance.choice([1.0, 2.0, 4.0]))
        return False

    async def _hold(self, lock_id: str) -> None:
        self.knows.add(lock_id)
        if self.storm and self.random.random() < 0.5:
            self._copy(lock_id)
        for _ in range(self.random.randrange(1, 6)):
            self._check(lock_id)
            await self.clock.sleep(self.random.uniform(0.2, 3))
        self._check(lock_id)
        self.knows.discard(lock_id)
        for _ in range(5):
            if await self.call("UNLOCK", lock_id) in (200, 409):
                break
            await self.clock.sleep(1)

    def _copy(self, lock_id: str) -> None:
        """Let a copy of this LOCK arrive now or later, over a connection that closes soon."""
        self.done["copies"] += 1

        async def arrive() -> None:
            await self.clock.sleep(self.random.choice([0.0, 0.5, 3.0]))
            await self.call("LOCK", lock_id, self.random.choice(QUERIES), closes_after_s=self.random.uniform(0, 2))

        self.calls.append(asyncio.create_task(arrive()))

    def _check(self, lock_id: str) -> None:
        holders = {holder.ticket for holder in self.journal.history[-1].lock.holders}
        if lock_id not in holders:
            self.wrong.append(f"P4: {lock_id} was told that it holds, and {holders or 'nobody'} does")
        if len(self.knows) > 1:
            self.wrong.append(f"P1: {self.knows} were told that they hold")

    async def chaos(self) -> None:
        while self.storm:
            await self.clock.sleep(self.random.uniform(2, 12))
            machine = self.random.choice([machine for machine, _ in self.servers if not machine.dead])
            match self.random.choice(["stop", "cut", "kill", "jump"]):
                case "stop":
                    machine.stopped_until_s = self.clock.monotonic() + self.random.choice([1, 5, 15])
                case "cut":
                    machine.cut_until_s = self.clock.monotonic() + self.random.choice([1, 5, 15])
                case "kill":
                    machine.dead = True
                    self.serve()
                case "jump":
                    machine.skew_s = self.random.choice([-3.0, 0.0, 3.0, 86_400.0])

    async def recover(self) -> None:
        """Break the grants that were lost with a server or a client: recovery would find them gone."""
        since: dict[int, float] = {}
        coordinator = LocalCoordinator(self.journal, self.clock, CountingIds())
        while True:
            await self.clock.sleep(3)
            for holder in self.journal.history[-1].lock.holders:
                now_s = self.clock.monotonic()
                if holder.ticket in self.knows or self.busy[holder.ticket]:
                    since[holder.token] = now_s
                elif now_s - since.setdefault(holder.token, now_s) >= STRANDED_S:
                    self.done["recovered"] += 1
                    broken = Broken(ticket=holder.ticket, token=holder.token, by="recovery", reason="gone")
                    await coordinator.apply_event(STATE, broken)


async def simulate(seed: int) -> Field:
    field = Field(seed)
    helpers = [asyncio.create_task(field.chaos()), asyncio.create_task(field.recover())]
    lives = [asyncio.create_task(field.live(f"c{n}")) for n in range(CLIENTS)]
    try:
        await field.clock.advance(STORM_S)
        field.storm = False
        until_s = field.clock.monotonic() + CALM_S
        while not all(life.done() for life in lives):
            assert field.clock.monotonic() < until_s, "somebody waits for ever"
            await field.clock.advance(20)
        for life in lives:
            life.result()
    finally:
        for machine in field.machines:
            machine.dead = True
        for task in (*helpers, *lives, *field.calls):
            task.cancel()
        await asyncio.gather(*field.calls, return_exceptions=True)
        await settle()
    return field


@pytest.mark.promise("P1", "P2", "P4")
@pytest.mark.parametrize("seed", [pytest.param(seed, id=f"seed{seed}") for seed in range(SEEDS)])
async def test_plain_clients_keep_what_they_were_told(seed: int) -> None:
    field = await simulate(seed)
    assert not field.wrong, field.wrong[:3]
    for record in field.journal.history:
        lock = record.lock
        is_there = [waiter.ticket for waiter in lock.waiters if waiter.doubted_at is None]
        assert lock.holders or not is_there, "P2: nobody holds, somebody is there and waits"
    requests = sum(count for what, count in field.done.items() if what.split()[0] in ("LOCK", "UNLOCK"))
    assert requests >= OPERATIONS_MIN, field.done
    assert field.done["LOCK 200"] >= CLIENTS
    assert field.done["copies"] >= 3
    assert field.done["closed"] >= 3

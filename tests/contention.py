"""Many clients of several servers, in the middle of kills, restarts and pauses; each writes down what it saw.

Half of the clients speak Terraform's protocol over plain HTTP, the others are clients of the JSON API as the command
line is one. Who does what, for how long and in which class is drawn from a seed. `server_history` judges.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import random
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from tests.replicas import answer, lock_body, state_body
from tests.server_history import Presence, Run, Stored, Turn
from tests.team import TOKEN, TeamServer

from interlock.clock import SystemClock
from interlock.coordinator.archive import Writer
from interlock.coordinator.refusals import PlaceLost
from interlock.errors import BackendUnavailable, InterlockError
from interlock.home.line import Line
from interlock.home.server_archive import ServerArchive
from interlock.home.server_coordinator import ServerCoordinator
from interlock.ids import RandomIds
from interlock.lock import Priority, Requested
from interlock.settings.values import Secret

PATIENCE_S = 400.0  # of a client; only a hang reaches it
HOLD_S = (0.1, 1.2)  # for how long a run holds
ZOMBIES = 0.1  # share of the runs that write once more after they gave the state back
_BUSY = frozenset({423, 503})
_REQUEST_S = 60.0
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One run, as it was drawn.

    Attributes:
        name: Its ticket and lock id.
        state: The state.
        priority: Its class. Plain HTTP knows no other than that of an apply.
        hold_s: For how long it holds.
        is_zombie: It writes once more after it gave the state back.
    """

    name: str
    state: str
    priority: Priority
    hold_s: float
    is_zombie: bool


def draw(seed: int, *, clients: int, runs: int, states: int) -> list[list[Order]]:
    """Return what each client does, in order. Clients of even number speak plain HTTP."""
    chance = random.Random(seed)
    drawn: list[list[Order]] = [[] for _ in range(clients)]
    for number in range(runs):
        client = number % clients
        drawn[client].append(
            Order(
                name=f"c{client}-r{number}",
                state=f"team/s{chance.randrange(states)}",
                priority=Priority.APPLY if client % 2 == 0 else chance.choice(list(Priority)),
                hold_s=chance.uniform(*HOLD_S),
                is_zombie=chance.random() < ZOMBIES,
            )
        )
    return drawn


@dataclass
class Fleet:
    """The servers, and what was done to them.

    Attributes:
        servers: All of them, at fixed addresses.
        over_s: Per server, when one of its processes stopped or ended.
    """

    servers: Sequence[TeamServer]
    over_s: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.over_s = [[] for _ in self.servers]

    def kill(self, number: int) -> None:
        """Kill a server and start it again."""
        self.over_s[number].append(time.monotonic())
        self.servers[number].end()
        self.servers[number].start()

    def pause(self, number: int, pause_s: float) -> None:
        """Stop a server's process for a while."""
        self.over_s[number].append(time.monotonic())
        self.servers[number].pause()
        time.sleep(pause_s)  # the very thing that is tried: it does nothing for so long
        self.servers[number].go_on()


class HttpClient:
    """Speaks Terraform's protocol: polls once for a place, then has the server hold the question."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        self._fleet = fleet
        self._at = number % len(fleet.servers)

    def run(self, order: Order) -> Run:
        """Do one run from its place in the queue to the release."""
        asked_s = time.monotonic()
        presences: list[Presence] = []
        status, _ = self._until("LOCK", order, lock_body(order.name), "?wait=0", done={200, 423})
        while status != 200:
            status = self._held(order, presences)
        granted_s = time.monotonic()
        status, body = self._until("GET", order, done={200, 204, 404})
        read = int(json.loads(body)["serial"]) if status == 200 else 0
        wanted = state_body(read + 1, order.state, order.name)
        time.sleep(order.hold_s)  # it works
        wrote, _ = self._until("POST", order, wanted, f"?ID={order.name}", refused=True)
        released_s = time.monotonic()
        self._until("UNLOCK", order, lock_body(order.name), done={200})
        zombie = ""
        if order.is_zombie:
            late = state_body(read + 2, order.state, f"{order.name} late")
            self._until("POST", order, late, f"?ID={order.name}", refused=True)
            zombie = hashlib.sha256(late).hexdigest()
        turn = Turn(
            state=order.state,
            lock_id=order.name,
            granted_s=granted_s,
            released_s=released_s,
            read=read,
            wrote=read + 1,
            digest=hashlib.sha256(wanted).hexdigest(),
            is_acknowledged=wrote == 200,
        )
        return Run(turn=turn, asked_s=asked_s, group=order.priority.name, presences=tuple(presences), zombie=zombie)

    def _held(self, order: Order, presences: list[Presence]) -> int:
        """Have one LOCK held; write down from when to when a server is known to have known of it."""
        number, began_s = self._at, time.monotonic()
        try:
            connection = self._send("LOCK", order, lock_body(order.name), "?wait=30s")
        except (OSError, http.client.HTTPException):
            self._elsewhere()
            return 503
        known_s = self._await_known(order)
        try:
            status = answer(connection)[0]
        except (OSError, http.client.HTTPException):
            status = 503
        if known_s:
            until_s = min([time.monotonic(), *(at for at in self._fleet.over_s[number] if at >= began_s)])
            presences.append(Presence(from_s=known_s, until_s=until_s))
        if status == 503:
            self._elsewhere()
        return status

    def _await_known(self, order: Order) -> float:
        """Ask the API until the queue has the held question; return when it was seen, 0.0 when it was not."""

        async def look() -> bool:
            url = self._fleet.servers[self._at].url
            line = Line(url, Secret(value=TOKEN), SystemClock())
            try:
                view = await ServerCoordinator(line, SystemClock(), RandomIds()).view(order.state)
            finally:
                await line.close()
            here = [waiter for waiter in view.lock.waiters if waiter.ticket == order.name]
            return bool(here and here[0].attempts and here[0].doubted_at is None)

        for _ in range(5):
            with suppress(InterlockError, TimeoutError):
                if asyncio.run(asyncio.wait_for(look(), 10.0)):
                    return time.monotonic()
        return 0.0

    def _until(
        self,
        method: str,
        order: Order,
        body: bytes = b"",
        query: str = "",
        *,
        done: set[int] | None = None,
        refused: bool = False,
    ) -> tuple[int, bytes]:
        """Ask until somebody answers; whatever is asked may be asked twice.

        Args:
            method: What is asked.
            order: For whom.
            body: What is sent.
            query: What stands behind the address.
            done: The answers that are one; None for all but 503.
            refused: 423 is an answer too.
        """
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                status, said, _ = answer(self._send(method, order, body, query))
            except (OSError, http.client.HTTPException):
                status, said = 503, b""
            if (status in done) if done is not None else (status not in _BUSY or (refused and status == 423)):
                return status, said
            assert status in _BUSY, (method, order, status, said)
            assert time.monotonic() < until_s, (method, order, status, said)
            self._elsewhere()
            time.sleep(0.2)

    def _elsewhere(self) -> None:
        self._at = (self._at + 1) % len(self._fleet.servers)

    def _send(self, method: str, order: Order, body: bytes, query: str) -> http.client.HTTPConnection:
        server = self._fleet.servers[self._at]
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_REQUEST_S)
        key = base64.b64encode(f"e2e:{TOKEN}".encode()).decode()
        try:
            connection.request(method, f"/state/{order.state}{query}", body, {"Authorization": f"Basic {key}"})
        except BaseException:
            connection.close()
            raise
        return connection


class ApiClient:
    """Speaks the JSON API, as every command does."""

    def __init__(self, url: str) -> None:
        self._line = Line(url, Secret(value=TOKEN), SystemClock())
        self._queue = ServerCoordinator(self._line, SystemClock(), RandomIds())
        self._archive = ServerArchive(self._line)

    async def close(self) -> None:
        """Close its connections."""
        await self._line.close()

    async def run(self, order: Order) -> Run:
        """Do one run from its place in the queue to the release."""
        asked_s = time.monotonic()
        request = Requested(
            ticket=order.name,
            run=order.name,
            who="contention",
            priority=order.priority,
            lease_s=600.0,
            patience_s=PATIENCE_S,
            lock_id=order.name,
        )
        await self._again(lambda: self._queue.request(order.state, request))
        known_s, lost = time.monotonic(), ""
        try:
            grant = await self._again(lambda: self._queue.await_grant(order.state, order.name, timeout_s=PATIENCE_S))
        except PlaceLost as error:
            lost = str(error)
            await self._again(lambda: self._queue.request(order.state, request))
            grant = await self._again(lambda: self._queue.await_grant(order.state, order.name, timeout_s=PATIENCE_S))
        granted_s = time.monotonic()
        current = await self._again(lambda: self._archive.current(order.state))
        read = current[0].serial if current else 0
        wanted = state_body(read + 1, order.state, order.name)
        await asyncio.sleep(order.hold_s)  # it works
        writer = Writer(who="contention", run=order.name, ticket=order.name, token=grant.token)
        is_written = await self._written(order, wanted, writer)
        released_s = time.monotonic()
        await self._again(lambda: self._queue.release(order.state, order.name, grant.token))
        zombie = ""
        if order.is_zombie:
            late = state_body(read + 2, order.state, f"{order.name} late")
            await self._written(order, late, writer)
            zombie = hashlib.sha256(late).hexdigest()
        turn = Turn(
            state=order.state,
            lock_id=order.name,
            granted_s=granted_s,
            released_s=released_s,
            read=read,
            wrote=read + 1,
            digest=hashlib.sha256(wanted).hexdigest(),
            is_acknowledged=is_written,
        )
        presence = Presence(from_s=known_s, until_s=granted_s)
        return Run(
            turn=turn,
            asked_s=asked_s,
            group=order.priority.name,
            presences=(presence,),
            zombie=zombie,
            lost=lost,
            token=grant.token,
        )

    async def _written(self, order: Order, body: bytes, writer: Writer) -> bool:
        try:
            await self._again(lambda: self._archive.write(order.state, body, writer=writer))
        except InterlockError:
            return False
        return True

    async def _again(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask until the server can be reached; whatever is asked may be asked twice."""
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await ask()
            except BackendUnavailable:
                assert time.monotonic() < until_s
                await asyncio.sleep(0.2)

    async def stored(self) -> dict[str, list[Stored]]:
        """Return what the server has of each state, oldest first, and who is still in its queue."""
        found: dict[str, list[Stored]] = {}
        for view in await self._queue.states():
            assert not view.lock.holders, view
            assert not view.lock.waiters, view
            versions = reversed(await self._archive.history(view.state))
            found[view.state] = [
                Stored(
                    digest=hashlib.sha256(await self._archive.read_version(view.state, version)).hexdigest(),
                    serial=version.serial,
                    token=version.token,
                )
                for version in versions
            ]
        return found


def contend(fleet: Fleet, orders: list[list[Order]], url: str, troubles: Sequence[Callable[[], None]]) -> list[Run]:
    """Let all clients do their runs, with troubles spread over them; return what each run saw.

    Args:
        fleet: The servers.
        orders: What each client does.
        url: Where clients of the API ask.
        troubles: Each is done when a further part of the runs is over.
    """
    done: list[Run] = []
    ended = threading.Event()

    def plain(number: int) -> None:
        client = HttpClient(fleet, number)
        for order in orders[number]:
            done.append(client.run(order))  # noqa: PERF401 - others add to it meanwhile

    async def typed() -> None:
        async def one(number: int) -> None:
            client = ApiClient(url)
            try:
                for order in orders[number]:
                    done.append(await client.run(order))  # noqa: PERF401 - as above
            finally:
                await client.close()

        await asyncio.gather(*(one(number) for number in range(1, len(orders), 2)))

    def trouble() -> None:
        whole = sum(map(len, orders))
        for number, each in enumerate(troubles, 1):
            while len(done) < whole * number // (len(troubles) + 1) and not ended.is_set():
                time.sleep(0.05)
            if not ended.is_set():
                each()

    with ThreadPoolExecutor(len(orders) + 2) as threads:
        troubling = threads.submit(trouble)
        working = [threads.submit(plain, number) for number in range(0, len(orders), 2)]
        working.append(threads.submit(asyncio.run, typed()))
        try:
            for each in working:
                each.result(2 * PATIENCE_S)
        finally:
            ended.set()
        troubling.result(PATIENCE_S)
    return done

"""Random histories: clients that write the same objects, leave and come back, before an API that fails in every way.

Each history runs in a loop whose time goes twenty times as fast, and is judged afterwards against what the API did: no
test here depends on how fast it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import selectors
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from interlock.gateway.flights import Flight
from interlock.gateway.oauth import Credentials, Secret
from interlock.gateway.service import Gateway, Terms
from interlock.lock import Priority

pytestmark = pytest.mark.e2e

SPEED = 20.0
QUEUES = "/api/v2/routing/queues"
OBJECTS = tuple(f"{QUEUES}/q{number}" for number in range(3))
CHILD = f"{OBJECTS[0]}/members"
PUBLISH = "/api/v2/flows/actions/publish"
CLIENTS = 5
CALLS = 5
UNKNOWN = 424
FATES = ("do",) * 10 + ("lose", "late", "drop", "504 done", "504", "503", "500", "429", "401", "403", "409")


class _FastSelector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout / SPEED if timeout else timeout)


class _FastLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(_FastSelector())
        self._clock_resolution = 1e-3

    def time(self) -> float:
        return super().time() * SPEED


class _FastClock:
    def now(self) -> datetime:
        return datetime.fromtimestamp(1_800_000_000 + self.monotonic() % 1e6, UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)


@dataclass(frozen=True, kw_only=True)
class Write:
    """One write that clients send: the mark tells it from all others."""

    mark: str
    method: str
    path: str
    is_guarded: bool = False

    @property
    def target(self) -> str:
        return f"{self.path}?mark={self.mark}"


@dataclass(kw_only=True)
class Call:
    """One call of a client, and what it was told: 0 when it left first or the connection ended."""

    write: Write
    began: int
    ended: int = 0
    status: int = 0


@dataclass
class Api:
    """Objects by path with versions; what happens to each call is drawn.

    Attributes:
        things: What there is.
        steps: What was done to the objects, in order: path and the mark that it shows since, "" once it is gone.
        done: How often each mark was done.
        came: Set for each mark when its write has come.
    """

    chance: random.Random
    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: list[tuple[str, str]] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    came: dict[str, asyncio.Event] = field(default_factory=dict)
    _late: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in (*OBJECTS, CHILD):
            self.things[path] = {"id": path[-2:], "mark": "", "version": 1}

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/oauth/token":
            return web.json_response({"access_token": "t", "token_type": "bearer", "expires_in": 3600})
        mark = request.query.get("mark", "")
        sent = await request.json() if request.can_read_body else {}
        fate = self.chance.choice(FATES)
        if request.method == "GET":
            answer = self._answer(request, mark, sent, "do" if fate in {"lose", "late", "504 done"} else fate)
            self._do_late()
            return answer
        self._do_late()  # nothing is so late that its own repetition comes first: nobody could tell then
        if mark in self.came:
            self.came[mark].set()
        if self.chance.random() < 0.5:
            await asyncio.sleep(self.chance.random())
        answer = self._answer(request, mark, sent, fate)
        if self.chance.random() < 0.5:
            await asyncio.sleep(self.chance.random())
        if fate in {"lose", "late", "drop"}:
            return self._cut(request)
        return answer

    def _do_late(self) -> None:
        while self._late:
            self._do(*self._late.pop())

    def _answer(self, request: web.BaseRequest, mark: str, sent: dict[str, Any], fate: str) -> web.StreamResponse:
        if fate == "late":
            self._late.append((request.method, request.path, mark, sent))
        elif fate in {"do", "lose", "504 done"}:
            status, document = self._do(request.method, request.path, mark, sent)
            return web.json_response(document, status=504 if fate == "504 done" else status)
        elif fate == "drop":
            return self._cut(request) if request.method == "GET" else web.Response()
        return web.json_response({"code": "drawn"}, status=int(fate) if fate.isdigit() else 504)

    def _cut(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _do(self, method: str, path: str, mark: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        there = self.things.get(path)
        if method == "POST":
            self._did(path, mark)
            number = f"n{len(self.steps)}"
            self.things[f"{path}/{number}"] = made = {**sent, "id": number, "version": 1}
            return 200, made if path == QUEUES else {"state": "published"}
        if there is None:
            return 404, {"code": "not.found"}
        if method == "GET":
            return 200, there
        if method == "DELETE":
            for gone in [each for each in self.things if each == path or each.startswith(f"{path}/")]:
                del self.things[gone]
                self.steps.append((gone, ""))
            self.done[mark] += 1
            return 200, {}
        if sent.get("version", there["version"]) != there["version"]:
            return 409, {"code": "conflict"}
        self.things[path] = {**there, **sent, "version": there["version"] + 1}
        self._did(path, mark)
        return 200, self.things[path]

    def _did(self, path: str, mark: str) -> None:
        self.done[mark] += 1
        self.steps.append((path, mark))


@dataclass
class History:
    """One run of clients against a gateway.

    Attributes:
        begun: Calls that the gateway began, with the target of each.
        told: Answers that the gateway gave, by target and status.
    """

    chance: random.Random
    api: Api
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    begun: list[tuple[Flight, str]] = field(default_factory=list)
    told: list[tuple[str, int]] = field(default_factory=list)

    def watch(self, gateway: Gateway) -> None:
        """Note which calls the gateway begins, and which answers it gives."""
        proxy = gateway._proxy
        begin, deliver = proxy._begin, proxy._deliver

        def noted_begin(call: Any) -> Flight:
            flight = begin(call)
            self.begun.append((flight, call.target))
            return flight

        async def noted_deliver(call: Any, ending: Any, send: Any) -> None:
            self.told.append((call.target, ending.status))
            await deliver(call, ending, send)

        proxy._begin = noted_begin  # type: ignore[method-assign]
        proxy._deliver = noted_deliver  # type: ignore[method-assign]

    def write(self, mark: str) -> Write:
        method = self.chance.choice(("POST", "PUT", "PUT", "PATCH", "DELETE"))
        path = self.chance.choice((QUEUES, PUBLISH) if method == "POST" else (*OBJECTS, CHILD))
        return Write(mark=mark, method=method, path=path, is_guarded=self.chance.random() < 0.5)

    async def client(self, name: str, session: aiohttp.ClientSession) -> None:
        """Write, leave at some moment now and then, and come back as an SDK does."""
        for number in range(CALLS):
            write = self.write(f"{name}{number}")
            body = self._body(write)
            for _ in range(3):
                if not await self._call(session, write, body, leaves=self.chance.random() < 0.4):
                    break

    def _body(self, write: Write) -> dict[str, Any] | None:
        if write.method == "DELETE":
            return None
        there = self.api.things.get(write.path)
        return {"mark": write.mark} | ({"version": there["version"]} if there and write.is_guarded else {})

    async def _call(self, session: aiohttp.ClientSession, write: Write, body: Any, *, leaves: bool) -> bool:
        """Return whether the client is going to send the same again."""
        call = Call(write=write, began=len(self.api.steps))
        self.calls.append(call)
        came = self.api.came[write.mark] = asyncio.Event()
        task = asyncio.create_task(self._send(session, call, body))
        if leaves:
            left = asyncio.create_task(self._moment(came))
            await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
            left.cancel()
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError):
            await task
        call.ended = len(self.api.steps)
        return call.status in {0, 429, 503}

    async def _moment(self, came: asyncio.Event) -> None:
        if self.chance.random() < 0.7:
            await came.wait()
        await asyncio.sleep(self.chance.random() * 1.5)

    async def _send(self, session: aiohttp.ClientSession, call: Call, body: Any) -> None:
        async with session.request(call.write.method, self.url + call.write.target, json=body) as answer:
            await answer.read()
            call.status = answer.status

    def judge(self) -> None:
        """Check what was told against what was done."""
        for write in {call.write.mark: call.write for call in self.calls}.values():
            self._judge_write(write)
        for call in self.calls:
            if 200 <= call.status < 300 and call.write.method != "POST":
                self._judge_success(call)

    def _judge_write(self, write: Write) -> None:
        done = self.api.done[write.mark]
        told = [status for target, status in self.told if target == write.target]
        good, unknown = sum(200 <= each < 300 for each in told), told.count(UNKNOWN)
        begun = sum(1 for _, target in self.begun if target == write.target)
        calls = sum(1 for call in self.calls if call.write == write)
        unheard = max(min(begun, calls) - len(told), 0)  # begun for a client that left, and none came back for it
        seen = f"{write}: done {done}, begun {begun}, told {told}"
        assert not done or good or unknown or unheard, f"told to have failed, and done. {seen}"
        if write.method == "POST":
            assert good <= done <= good + unknown + unheard, seen
        assert not (write.is_guarded and write.method in {"PUT", "PATCH"} and done > begun), seen

    def _judge_success(self, call: Call) -> None:
        """At some instant between its beginning and its answer the object showed the write."""
        shows = "" if call.write.method == "DELETE" else call.write.mark
        states = [mark for path, mark in self.api.steps[: call.began] if path == call.write.path][-1:]
        states += [mark for path, mark in self.api.steps[call.began : call.ended] if path == call.write.path]
        assert shows in states, f"{call} was told to have succeeded, and the object showed {states}"


async def run_history(seed: int, *, middle: str = "") -> History:
    """Run one history; in its middle the gateway may `close`, or the run be `fenced`."""
    chance = random.Random(seed)
    history = History(chance, Api(random.Random(-seed - 1)))
    runner = web.ServerRunner(web.Server(history.api.serve))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    upstream = f"http://{host}:{port}"
    credentials = Credentials(client_id="id", secret=Secret("s"))
    gateway = Gateway(Terms(api_url=upstream, login_url=upstream, credentials=credentials), clock=_FastClock())
    address = await gateway.start("127.0.0.1")
    history.watch(gateway)
    fenced = asyncio.Event()
    history.url = address.url + gateway.add_run("r1", Priority.APPLY, "tok", lambda _: not fenced.is_set())
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout()) as session:
        clients = [asyncio.create_task(history.client(name, session)) for name in "abcdefgh"[:CLIENTS]]
        async with asyncio.timeout(60.0 * SPEED):
            if middle:
                await asyncio.sleep(chance.random() * 8.0)
                await (gateway.aclose() if middle == "close" else _end(fenced))
            await asyncio.gather(*clients)
            await asyncio.wait({flight.task for flight, _ in history.begun})
            if middle != "close":
                await gateway.aclose()
    await runner.cleanup()
    return history


async def _end(fenced: asyncio.Event) -> None:
    fenced.set()


def run(work: Coroutine[Any, Any, History]) -> History:
    with asyncio.Runner(loop_factory=_FastLoop) as runner:
        return runner.run(work)


@pytest.mark.promise("P3", "P8")
@pytest.mark.parametrize("seed", [9, 11, 16])
def test_what_clients_were_told_of_their_writes_is_what_the_api_did(seed: int) -> None:
    run(run_history(seed)).judge()


@pytest.mark.promise("P8")
@pytest.mark.parametrize("middle", ["close", "fenced"])
def test_nobody_waits_for_ever_when_the_gateway_or_the_run_ends_in_the_middle(middle: str) -> None:
    run(run_history(4, middle=middle)).judge()

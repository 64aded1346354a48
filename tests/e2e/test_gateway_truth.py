"""What the gateway says of a write is true: after lost answers, slow ones, and clients that left and came back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from interlock.gateway.oauth import Credentials, Secret
from interlock.gateway.service import Gateway, Terms
from interlock.lock import Priority

pytestmark = pytest.mark.e2e

QUEUE = "/api/v2/routing/queues/q1"


@dataclass
class Api:
    """A small API under the test's control: objects by path, with versions, and answers that get lost.

    Attributes:
        things: What there is.
        log: Every call, method and path.
        lose: Answers still to be lost; what they are about is done first.
        drop: Calls still to be dropped before anything is done.
        refuse: Writes still to be refused with 429, nothing done.
        late: Writes still to be cut and done nevertheless, right after their object is read the next time.
        hold: Writes wait for it before they are answered; None for at once.
    """

    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    lose: int = 0
    drop: int = 0
    refuse: int = 0
    late: int = 0
    hold: asyncio.Event | None = None
    _due: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def writes(self, method: str) -> int:
        return sum(1 for each, _ in self.log if each == method)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/oauth/token":
            return web.json_response({"access_token": "t", "token_type": "bearer", "expires_in": 3600})
        self.log.append((request.method, request.path))
        if self._is_hit(request, "drop"):
            return self._cut(request)
        sent = await request.json() if request.can_read_body else {}
        if self._is_hit(request, "late"):
            self._due.append((request.method, request.path, sent))
            return self._cut(request)
        is_refused = self._is_hit(request, "refuse")
        status, document = (429, {}) if is_refused else self._do(request.method, request.path, sent)
        if request.method != "GET" and self.hold is not None:
            await self.hold.wait()
        if self._is_hit(request, "lose"):
            return self._cut(request)
        answer = web.json_response(document, status=status)
        while request.method == "GET" and self._due:
            self._do(*self._due.pop())
        return answer

    def _is_hit(self, request: web.BaseRequest, what: str) -> bool:
        left = getattr(self, what)
        if request.method == "GET" or not left:
            return False
        setattr(self, what, left - 1)
        return True

    def _cut(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def _do(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        there = self.things.get(path)
        if method == "POST":
            number = f"q{len(self.log)}"
            self.things[f"{path}/{number}"] = made = {**sent, "id": number, "version": 1}
            return 200, made
        if there is None:
            return 404, {"code": "not.found"}
        if method == "GET":
            return 200, there
        if method == "DELETE":
            del self.things[path]
            return 200, {}
        if sent.get("version", there["version"]) != there["version"]:
            return 409, {"code": "conflict"}
        there.update({**sent, "version": there["version"] + 1})
        return 200, there


@dataclass
class Site:
    api: Api
    url: str
    client: aiohttp.ClientSession
    gateway: Gateway

    async def call(self, method: str, document: Any = None, path: str = QUEUE) -> tuple[int, Any]:
        async with self.client.request(method, self.url + path, json=document) as answer:
            return answer.status, await answer.json(content_type=None) if answer.status != 204 else None

    async def leave(self, method: str, document: Any = None, path: str = QUEUE) -> None:
        """Call, and go away when the API has done it but not answered yet; then let it answer."""
        self.api.hold = hold = asyncio.Event()
        before = len(self.api.log)
        call = asyncio.create_task(self.call(method, document, path))
        async with asyncio.timeout(30.0):
            while len(self.api.log) == before:  # noqa: ASYNC110 - the API has no event for it
                await asyncio.sleep(0.002)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        async with asyncio.timeout(30.0):
            while not self.gateway.stats().abandoned_writes:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        self.api.hold = None
        hold.set()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    api = Api(things={QUEUE: {"id": "q1", "name": "old", "on": False, "version": 1}})
    runner = web.ServerRunner(web.Server(api.serve))
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    host, port = runner.addresses[0][:2]
    upstream = f"http://{host}:{port}"
    credentials = Credentials(client_id="id", secret=Secret("s"))
    gateway = Gateway(Terms(api_url=upstream, login_url=upstream, credentials=credentials))
    address = await gateway.start("127.0.0.1")
    url = address.url + gateway.add_run("r1", Priority.APPLY, "tok", lambda _: True)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:
        yield Site(api, url, client, gateway)
    await gateway.aclose()
    await runner.cleanup()


@pytest.mark.promise("P3")
async def test_on_off_on_leaves_it_on_though_the_first_client_gave_up(site: Site) -> None:
    await site.leave("PUT", {"on": True})
    assert (await site.call("PUT", {"on": False}))[0] == 200
    assert (await site.call("PUT", {"on": True}))[0] == 200
    assert site.api.things[QUEUE]["on"] is True
    assert site.api.writes("PUT") == 3


@pytest.mark.promise("P3")
async def test_a_write_to_an_object_that_was_deleted_since_is_not_said_to_be_done(site: Site) -> None:
    await site.leave("PUT", {"on": True})
    assert (await site.call("DELETE"))[0] == 200
    assert (await site.call("PUT", {"on": True}))[0] == 404


async def test_the_repetition_of_a_client_that_gave_up_gets_the_first_answer(site: Site) -> None:
    await site.leave("PUT", {"on": True, "version": 1})
    status, document = await site.call("PUT", {"on": True, "version": 1})
    assert (status, document["version"]) == (200, 2)
    assert site.api.writes("PUT") == 1


@pytest.mark.promise("P8")
async def test_the_repetition_of_an_overtaken_deletion_is_told_that_it_was_done_and_a_new_one_what_is_so(
    site: Site,
) -> None:
    await site.leave("DELETE")
    assert (await site.call("PUT", {"on": True}))[0] == 404
    assert (await site.call("DELETE"))[0] == 204
    assert (await site.call("DELETE"))[0] == 404


@pytest.mark.promise("P8")
async def test_a_deletion_that_found_nothing_is_not_said_to_be_done_by_its_repetition(site: Site) -> None:
    site.api.things.clear()
    await site.leave("DELETE")
    assert (await site.call("PUT", {"on": True}))[0] == 404
    assert (await site.call("DELETE"))[0] == 404


@pytest.mark.promise("P3")
async def test_a_removal_of_several_objects_overtakes_a_write_to_one_of_them(site: Site) -> None:
    await site.leave("PUT", {"on": True})
    await site.call("POST", {"ids": ["q1"]}, "/api/v2/routing/queues/bulk/remove")
    site.api.things.clear()
    assert (await site.call("PUT", {"on": True}))[0] == 404


async def test_a_long_answer_is_kept_for_a_client_that_gave_up(site: Site) -> None:
    site.api.things[QUEUE]["description"] = "x" * 3_000_000  # more than the gateway holds: the rest is still coming
    await site.leave("PUT", {"on": True, "version": 1})
    status, document = await site.call("PUT", {"on": True, "version": 1})
    assert (status, document["version"], len(document["description"])) == (200, 2, 3_000_000)
    assert site.api.writes("PUT") == 1


@pytest.mark.promise("P8")
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_versioned_write_whose_answer_was_lost_is_said_to_be_done(site: Site, method: str) -> None:
    site.api.lose = 1
    status, document = await site.call(method, {"name": "new", "version": 1})
    assert (status, document["name"], document["version"]) == (200, "new", 2)
    assert site.api.writes(method) == 1


@pytest.mark.promise("P8")
async def test_a_deletion_whose_answer_was_lost_is_said_to_be_done(site: Site) -> None:
    site.api.lose = 1
    assert (await site.call("DELETE"))[0] == 204
    assert site.api.writes("DELETE") == 1


@pytest.mark.promise("P8")
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_write_that_was_lost_before_it_was_done_is_sent_again(site: Site, method: str) -> None:
    site.api.drop = 1
    assert (await site.call(method, None if method == "DELETE" else {"name": "new", "version": 1}))[0] == 200
    assert site.api.writes(method) == 2


@pytest.mark.promise("P8")
async def test_nobody_is_told_success_or_failure_when_somebody_else_changed_the_object(site: Site) -> None:
    site.api.lose = 1
    site.api.hold = asyncio.Event()
    call = asyncio.create_task(site.call("PUT", {"name": "new", "version": 1}))
    async with asyncio.timeout(30.0):
        while not site.api.writes("PUT"):  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    site.api.things[QUEUE].update({"name": "another", "version": 3})
    site.api.hold.set()
    status, document = await call
    assert status == 424
    assert document["code"] == "interlock.outcome.unknown"
    assert site.api.writes("PUT") == 1


@pytest.mark.promise("P8")
async def test_a_write_that_took_longer_than_the_gateway_waits_is_said_to_be_done(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.gateway.proxy.REPLY_S", 0.3)
    site.api.hold = asyncio.Event()
    status, document = await site.call("PUT", {"on": True})
    site.api.hold.set()
    assert (status, document["on"]) == (200, True)
    assert site.api.writes("PUT") == 1


async def test_a_client_that_logs_out_does_not_end_the_token_that_all_share(site: Site) -> None:
    assert (await site.call("DELETE", path="/api/v2/tokens/me"))[0] == 204
    assert site.api.writes("DELETE") == 0


async def test_a_placeholder_outlives_a_restart_of_the_gateway(site: Site) -> None:
    upstream = site.gateway.terms.api_url
    credentials = Credentials(client_id="id", secret=Secret("s"))
    token = ""
    for _ in range(2):
        gateway = Gateway(Terms(api_url=upstream, login_url=upstream, credentials=credentials, open_login=True))
        address = await gateway.start("127.0.0.1")
        if not token:
            form = {"grant_type": "client_credentials"}
            async with site.client.post(f"{address.url}/oauth/token", data=form) as answer:
                token = (await answer.json())["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        async with site.client.get(address.url + QUEUE, headers=headers) as answer:
            assert answer.status == 200
        await gateway.aclose()


@pytest.mark.promise("P3", "P8")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("DELETE", QUEUE), ("POST", "/api/v2/routing/queues")),
        (("PUT", QUEUE), ("PATCH", f"{QUEUE}/members")),
        (("POST", "/api/v2/routing/queues"), ("DELETE", "/api/v2/routing/queues")),
        (("POST", "/api/v2/flows/actions/publish"), ("POST", "/api/v2/flows/actions/publish")),
    ],
)
async def test_two_writes_at_once_that_touch_each_other_are_each_sent_once(
    site: Site, first: tuple[str, str], second: tuple[str, str]
) -> None:
    """Their own clients wait for them: whatever overtook a write, nobody repeats one in its name."""
    site.api.hold = asyncio.Event()
    calls = []
    for method, path in (first, second):
        before = len(site.api.log)
        body = None if method == "DELETE" else {"name": method}
        calls.append(asyncio.create_task(site.call(method, body, path)))
        async with asyncio.timeout(30.0):
            while len(site.api.log) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
    site.api.hold.set()
    await asyncio.gather(*calls)
    assert [(method, path) for method, path in site.api.log if method != "GET"] == [first, second]


@pytest.mark.promise("P8")
@pytest.mark.parametrize(("method", "status"), [("PUT", 200), ("PATCH", 200), ("DELETE", 204)])
async def test_a_lost_write_that_the_api_does_after_its_object_was_looked_at_is_said_to_be_done(
    site: Site, method: str, status: int
) -> None:
    """Its repetition meets its own work: the conflict, or the missing object, is no failure."""
    site.api.late = 1
    answer = await site.call(method, None if method == "DELETE" else {"name": "new", "version": 1})
    assert answer[0] == status
    assert site.api.writes(method) == 2


@pytest.mark.promise("P8")
async def test_a_repetition_that_came_before_its_write_was_sent_again_is_not_sent_once_more(site: Site) -> None:
    """The API refused the abandoned one, so what goes out afterwards is the repetition, whatever crosses it."""
    site.api.refuse = 1
    await site.leave("PUT", {"on": True})
    again = asyncio.create_task(site.call("PUT", {"on": True}))
    async with asyncio.timeout(30.0):
        while not site.gateway.stats().adopted_writes:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    other = asyncio.create_task(site.call("PUT", {"on": False}))
    assert {(await again)[0], (await other)[0]} == {200}
    assert site.api.writes("PUT") == 3


@pytest.mark.promise("P8")
async def test_a_client_that_leaves_as_its_answer_comes_gets_that_answer_when_it_comes_back(site: Site) -> None:
    proxy = site.gateway._proxy
    send, leaves = proxy._upstream.send, asyncio.Event()

    async def send_and_leave(*args: Any, **named: Any) -> Any:
        reply = await send(*args, **named)
        leaves.set()
        return reply

    proxy._upstream.send = send_and_leave  # type: ignore[method-assign]
    path = f"/{site.url.split('/', 3)[3]}/api/v2/routing/queues"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
    }
    told: list[Any] = []

    def connection() -> Any:
        parts = iter([{"type": "http.request", "body": b"{}", "more_body": False}])

        async def receive() -> Any:
            part = next(parts, None)
            if part is None:
                await leaves.wait()
            return part or {"type": "http.disconnect"}

        return receive

    async def tell(message: Any) -> None:
        told.append(message)

    await proxy(scope, connection(), tell)
    assert not told
    leaves.clear()
    await proxy(scope, connection(), tell)
    assert told[0]["status"] == 200
    assert site.api.writes("POST") == 1

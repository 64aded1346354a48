from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from interlock.backend.asgi import Service, create_app
from interlock.backend.gate import RunGate, RunGates
from interlock.backend.locking import HOLD_S_MIN, RECONNECT_S, RETURN_S
from interlock.coordinator.archive import StateArchive
from interlock.coordinator.local import LocalCoordinator
from interlock.errors import BackendUnavailable, InterlockError
from interlock.ids import RandomIds
from interlock.lock import Broken, Requested
from interlock.rights import Role
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.store.records import Record
from interlock.store.refusals import StoreDenied, StoreUnfit
from interlock.terraform.lockinfo import LockInfo, render_lock_info
from interlock.testing.clock import FakeClock, settle
from interlock.testing.ids import CountingIds

TOKEN = "server-token"
PATH = "/state/prod/routing"


def state(serial: int, *names: str, lineage: str = "l") -> bytes:
    rows = [
        {"mode": "managed", "type": "t", "name": name, "provider": "provider.p", "instances": [{"attributes": {}}]}
        for name in names
    ]
    return json.dumps({"version": 4, "serial": serial, "lineage": lineage, "resources": rows}).encode()


def lock(name: str, version: str = "1.15.0") -> bytes:
    return render_lock_info(LockInfo(id=name, operation="OperationTypeApply", who=f"{name}@host", version=version))


@dataclass
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def data(self) -> Any:
        return json.loads(self.body)


class Client:
    """One HTTP request against the application, without a socket; the client may hang up at any time."""

    def __init__(self, app: Any, method: str, path: str, body: bytes, headers: dict[str, str], query: str) -> None:
        self.reply = Reply()
        self._hung_up = asyncio.Event()
        self._chunks = [body[:5], body[5:]]
        self.breaks_on_send = False
        self.breaks_after_status = False
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    def hang_up(self) -> None:
        self._hung_up.set()

    async def _receive(self) -> dict[str, Any]:
        if self._chunks:
            chunk = self._chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks)}
        await self._hung_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.breaks_on_send or (self.breaks_after_status and self.reply.status):
            raise OSError("connection reset")
        if message["type"] == "http.response.start":
            self.reply.status = message["status"]
            self.reply.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.reply.body += message.get("body", b"")


class Records(MemoryRecords):
    """A store that may be busy for a while, or lose replies."""

    def __init__(self, *, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.free = asyncio.Event()
        self.free.set()
        self.lose_replies = 0
        self.fail_gets = 0
        self.fail_tokens = False
        self.trouble: InterlockError | None = None

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        await self.free.wait()
        version = await super().swap(key, expected=expected, value=value)
        if self.lose_replies:
            self.lose_replies -= 1
            self.fail_gets = 2
            raise BackendUnavailable("the reply was lost", fix="try again")
        return version

    async def get(self, key: str) -> Record | None:
        if self.fail_gets:
            self.fail_gets -= 1
            raise BackendUnavailable("no answer", fix="try again")
        if self.trouble is not None:
            raise self.trouble
        if self.fail_tokens and key.startswith("token/"):
            raise BackendUnavailable("no answer", fix="try again")
        return await super().get(key)


class Site:
    def __init__(self) -> None:
        self.clock = FakeClock()
        records, blobs, ids = Records(clock=self.clock), MemoryBlobs(), CountingIds()
        self.records = records
        self.coordinator = LocalCoordinator(records, self.clock, ids)
        self.archive = StateArchive(self.coordinator, records, blobs, self.clock)
        self.runs = RunGates(ids)
        self.blobs = blobs
        self.book = TokenBook(records, self.clock, RandomIds())
        self.about = Service(ids, check=lambda: records.get("ready"), numbers=lambda: {"interlock_gaps_total": 3.0})
        self.app = create_app(
            self.coordinator,
            self.archive,
            clock=self.clock,
            ids=ids,
            tokens=BookTokens(self.book, SingleToken(TOKEN)),
            runs=self.runs,
            about=self.about,
            limit_bytes=10_000,
        )

    def start(
        self,
        method: str,
        path: str = PATH,
        body: bytes = b"",
        *,
        query: str = "",
        token: str | None = TOKEN,
        **more: str,
    ) -> Client:
        if method == "LOCK" and not query:
            query = "wait=0"  # most tests want the answer at once
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        if token is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(f"ann:{token}".encode()).decode()
        return Client(self.app, method, path, body, headers, query)

    async def ask(self, method: str, path: str = PATH, body: bytes = b"", **more: Any) -> Reply:
        client = self.start(method, path, body, **more)
        await asyncio.wait_for(client.task, 10)
        return client.reply

    @contextmanager
    def busy_store(self) -> Iterator[None]:
        self.records.free.clear()
        yield
        self.records.free.set()

    async def hold(self, ticket: str = "run-1") -> int:
        request = Requested(ticket=ticket, run=ticket, who="bob", lease_s=60, patience_s=40)
        standing = await self.coordinator.request("prod/routing", request)
        assert standing.token
        return standing.token

    async def holders(self) -> list[str]:
        return [holder.ticket for holder in (await self.coordinator.view("prod/routing")).lock.holders]

    async def waiters(self) -> list[str]:
        return [waiter.ticket for waiter in (await self.coordinator.view("prod/routing")).lock.waiters]


@pytest.fixture
def site() -> Site:
    return Site()


async def test_a_whole_run_of_a_plain_terraform(site: Site) -> None:
    assert (await site.ask("GET")).status == 204
    assert (await site.ask("LOCK", body=lock("a"))).status == 200
    assert (await site.ask("POST", body=state(1, "x"), query="ID=a")).status == 200
    assert (await site.ask("UNLOCK", body=lock("a"))).status == 200
    read = await site.ask("GET")
    assert (read.status, read.body) == (200, state(1, "x"))
    [version] = await site.archive.history("prod/routing")
    assert (version.who, version.token, version.serial) == ("ann", 1, 1)


async def test_lock_and_unlock_of_a_state_that_is_known_read_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    async def get(key: str) -> Record | None:
        read.append(key)
        return await Records.get(site.records, key)

    monkeypatch.setattr(site.records, "get", get)
    await site.ask("LOCK", body=lock("a"))
    read.clear()
    assert (await site.ask("UNLOCK", body=lock("a"))).status == 200
    assert (await site.ask("LOCK", body=lock("b"))).status == 200
    assert (await site.ask("LOCK", body=lock("c"), query="wait=0")).status == 423
    assert (await site.ask("UNLOCK", body=lock("b"))).status == 200
    assert read == []
    assert (await site.ask("UNLOCK", body=lock("b"))).status == 200
    assert len(read) == 1  # what writes nothing is believed only on a record that was read for it


async def test_locking_and_unlocking_may_be_repeated(site: Site) -> None:
    for _ in range(2):
        assert (await site.ask("LOCK", body=lock("a"))).status == 200
    for _ in range(2):
        assert (await site.ask("POST", body=state(1), query="ID=a")).status == 200
    for _ in range(2):
        assert (await site.ask("UNLOCK", body=lock("a"))).status == 200


async def test_a_second_client_is_told_who_holds(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    refused = await site.ask("LOCK", body=lock("b"))
    assert refused.status == 423
    assert (refused.data["ID"], refused.data["Who"]) == ("a", "a@host")
    assert "you are number 1 in the queue" in refused.data["Info"]
    old = await site.ask("LOCK", body=lock("c", version="1.11.4"))
    assert old.data["ID"].startswith("a (held by a@host, since ")


@pytest.mark.promise("P2")
async def test_polling_clients_keep_their_place_and_a_free_lock_goes_to_whoever_is_there(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    for name in ("b", "c"):
        await site.ask("LOCK", body=lock(name))
    await site.ask("UNLOCK", body=lock("a"))
    assert await site.holders() == [], "nobody is granted who does not ask"
    assert (await site.ask("LOCK", body=lock("c"))).status == 200
    assert "number 1" in (await site.ask("LOCK", body=lock("b"))).data["Info"]


@pytest.mark.promise("P2")
async def test_a_refused_client_that_tries_again_under_new_ids_gets_the_lock_when_it_is_free(site: Site) -> None:
    await site.ask("LOCK", body=lock("other"))
    for n in range(5):
        refused = await site.ask("LOCK", body=lock(f"try{n}"))
        assert (refused.status, refused.data["Who"]) == (423, "other@host")
        site.clock.pass_time(3)
    await site.ask("UNLOCK", body=lock("other"))
    assert (await site.ask("LOCK", body=lock("try5"))).status == 200


async def test_a_lock_request_is_held_for_seconds_by_default_and_then_refused(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    waiting = site.start("LOCK", body=lock("b"), query="other=1")
    await settle()
    await site.clock.advance(HOLD_S_MIN - 0.1)
    assert not waiting.task.done()
    await site.clock.advance(0.2)
    await asyncio.wait_for(waiting.task, 5)
    assert (waiting.reply.status, waiting.reply.data["Who"]) == (423, "a@host")


async def test_a_lock_request_is_held_on_while_the_queue_moves(site: Site) -> None:
    names = [f"h{n}" for n in range(6)]
    await site.ask("LOCK", body=lock(names[0]))
    for name in names[1:]:
        site.start("LOCK", body=lock(name), query="other=1")
        await settle()
    waiting = site.start("LOCK", body=lock("last"), query="other=1")
    await settle()
    for name in names:
        await site.clock.advance(HOLD_S_MIN - 1)
        assert not waiting.task.done()
        await site.ask("UNLOCK", body=lock(name))
    await asyncio.wait_for(waiting.task, 5)
    assert waiting.reply.status == 200


async def test_a_lock_request_is_never_held_until_a_proxy_would_cut_it(site: Site) -> None:
    for name in ("a", "b"):
        await site.ask("LOCK", body=lock(name))
    waiting = site.start("LOCK", body=lock("c"), query="other=1")
    for n in range(30):  # the queue moves all the time
        await site.ask("LOCK", body=lock(f"in-front{n}"))
        await site.coordinator.bump("prod/routing", f"in-front{n}")
        await site.clock.advance(2)
    assert waiting.reply.status == 423
    assert site.clock.monotonic() < 61


async def test_a_held_request_of_one_that_comes_back_is_held_longer(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    await site.ask("LOCK", body=lock("b"))
    site.clock.pass_time(7)
    waiting = site.start("LOCK", body=lock("b"), query="other=1")
    await settle()
    await site.clock.advance(13.9)
    assert not waiting.task.done()
    await site.clock.advance(0.2)
    assert waiting.reply.status == 423


async def test_a_held_request_is_answered_when_its_turn_comes(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    waiting = site.start("LOCK", body=lock("b"), query="wait=10m")
    await settle()
    assert not waiting.task.done()
    await site.ask("UNLOCK", body=lock("a"))
    await asyncio.wait_for(waiting.task, 5)
    assert waiting.reply.status == 200
    assert await site.holders() == ["b"]


async def test_a_held_request_ends_with_its_wait_and_keeps_its_place(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    waiting = site.start("LOCK", body=lock("b"), query="wait=30s")
    await settle()
    await site.clock.advance(31)
    await asyncio.wait_for(waiting.task, 5)
    assert waiting.reply.status == 423
    await site.ask("UNLOCK", body=lock("a"))
    assert (await site.holders(), await site.waiters()) == ([], ["b"])


@pytest.mark.promise("P1", "P2")
async def test_a_server_that_begins_grants_nobody_who_listened_to_the_one_before(site: Site) -> None:
    token = await site.hold("run-1")
    listened = Requested(ticket="b", run="", who="ann", lease_s=86_400, patience_s=40, lock_id="b", attempt="b1")
    await site.coordinator.request("prod/routing", listened)  # its server was killed; it may have given up since
    async with site.app.router.lifespan_context(site.app):
        await site.coordinator.release("prod/routing", ticket="run-1", token=token)
        assert (await site.holders(), await site.waiters()) == ([], ["b"])
        assert (await site.ask("LOCK", body=lock("b"))).status == 200, "when it speaks again, it is its turn"
        assert await site.holders() == ["b"]


@pytest.mark.promise("P1", "P2")
async def test_a_server_that_ends_sends_those_who_wait_away_and_keeps_their_places(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    waiting = [site.start("LOCK", body=lock(name), query="wait=10m") for name in ("b", "c")]
    await settle()
    site.about.ending.set()
    for each in waiting:
        await asyncio.wait_for(each.task, 5)
        assert each.reply.status == 503
        assert each.reply.headers["retry-after"] == "2"
    assert await site.waiters() == ["b", "c"]
    await site.clock.advance(RETURN_S - 1)
    site.about.ending.clear()  # the next server, on the same store
    again = [site.start("LOCK", body=lock(name), query="wait=10m") for name in ("c", "b")]
    await settle()
    assert await site.waiters() == ["b", "c"]
    await site.ask("UNLOCK", body=lock("a"))
    await asyncio.wait_for(again[1].task, 5)
    assert await site.holders() == ["b"]


@pytest.mark.promise("P1")
async def test_a_grant_that_crosses_the_end_of_its_server_is_told_or_goes_back(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    waiting = site.start("LOCK", body=lock("b"), query="wait=10m")
    await settle()
    site.about.ending.set()
    await site.ask("UNLOCK", body=lock("a"))
    await asyncio.wait_for(waiting.task, 5)
    told = waiting.reply.status == 200
    assert (await site.holders() == ["b"]) == told
    assert (await site.waiters() == ["b"]) == (not told)


async def test_a_server_that_ends_still_gives_a_free_lock_and_takes_a_write(site: Site) -> None:
    site.about.ending.set()
    assert (await site.ask("LOCK", body=lock("a"))).status == 200
    assert (await site.ask("POST", body=state(1), query="ID=a")).status == 200
    assert (await site.ask("UNLOCK", body=lock("a"))).status == 200


async def test_readiness_ends_before_the_server_and_follows_its_store(site: Site) -> None:
    assert (await site.ask("GET", "/readyz", token=None)).status == 200
    site.records.fail_gets = 1
    assert (await site.ask("GET", "/readyz", token=None)).status == 503
    assert (await site.ask("GET", "/readyz", token=None)).status == 200
    site.about.ending.set()
    assert (await site.ask("GET", "/readyz", token=None)).status == 503
    assert (await site.ask("GET", "/healthz", token=None)).status == 200


async def test_numbers_are_told_as_prometheus_reads_them(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    site.start("LOCK", body=lock("b"), query="wait=10m")
    await settle()
    assert (await site.ask("GET", "/metrics", token=None)).status == 401
    text = (await site.ask("GET", "/metrics")).body.decode()
    assert "# TYPE interlock_held_lock_requests gauge\ninterlock_held_lock_requests 1\n" in text
    assert "# TYPE interlock_gaps_total counter\ninterlock_gaps_total 3\n" in text


ROLES_OF = {  # what each request needs, by the least role that may send it
    ("GET", ""): Role.READER,
    ("LOCK", "OperationTypePlan"): Role.PLANNER,
    ("LOCK", "OperationTypeApply"): Role.RUNNER,
    ("LOCK", ""): Role.RUNNER,
    ("UNLOCK", "OperationTypePlan"): Role.PLANNER,
    ("UNLOCK", "OperationTypeApply"): Role.RUNNER,
    ("POST", "OperationTypeApply"): Role.RUNNER,
    ("DELETE", "OperationTypeApply"): Role.RUNNER,
}


@pytest.mark.promise("P4")
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("method", "operation"), list(ROLES_OF))
@pytest.mark.parametrize("states", ["prod/*", "dev/*"])
async def test_each_request_needs_its_right_on_its_state(
    site: Site, role: Role, method: str, operation: str, states: str
) -> None:
    _, text = await site.book.create(role, states=states, by="ann")
    info = render_lock_info(LockInfo(id="a", operation=operation, who="a@host", version="1.15.0"))
    if method != "LOCK":
        assert (await site.ask("LOCK", body=info)).status == 200  # by the server's own token
    before = await site.coordinator.view("prod/routing")
    body = state(1) if method == "POST" else info
    reply = await site.ask(method, body=body, query="" if method == "LOCK" else "ID=a", token=text.whole())
    order = list(Role)
    is_allowed = states == "prod/*" and order.index(role) >= order.index(ROLES_OF[method, operation])
    assert (reply.status in {200, 204}) == is_allowed
    if not is_allowed:
        assert reply.status == 403
        after = await site.coordinator.view("prod/routing")
        assert (after.lock, after.head) == (before.lock, before.head), "nothing has changed"


async def test_a_token_is_refused_from_the_request_after_it_was_revoked(site: Site) -> None:
    token, text = await site.book.create(Role.RUNNER, by="ann")
    assert (await site.ask("LOCK", body=lock("a"), token=text.whole())).status == 200
    await site.book.revoke(token.id)
    for method, body in (("GET", b""), ("POST", state(1)), ("UNLOCK", lock("a"))):
        assert (await site.ask(method, body=body, query="ID=a", token=text.whole())).status == 401
    assert await site.holders() == ["a"]


@pytest.mark.promise("P4")
@pytest.mark.parametrize("end", ["revoked", "expired"])
async def test_a_token_that_ends_while_its_lock_request_waits_is_granted_nothing(site: Site, end: str) -> None:
    token, text = await site.book.create(Role.RUNNER, by="ann", lifetime=timedelta(minutes=5))
    await site.ask("LOCK", body=lock("a"))
    waiting = site.start("LOCK", body=lock("b"), query="wait=1h", token=text.whole())
    await settle()
    later = site.start("LOCK", body=lock("c"), query="wait=1h")
    await settle()
    if end == "revoked":
        await site.book.revoke(token.id)
    else:
        site.clock.pass_time(301)
    await site.ask("UNLOCK", body=lock("a"))
    await asyncio.wait_for(waiting.task, 5)
    assert waiting.reply.status == 401
    assert end in waiting.reply.data["why"]
    await site.clock.advance(RECONNECT_S + 0.1)
    await asyncio.wait_for(later.task, 5)
    assert later.reply.status == 200
    assert await site.holders() == ["c"]


@pytest.mark.promise("P4")
async def test_a_grant_is_told_though_its_token_cannot_be_asked_for_again(site: Site) -> None:
    _, text = await site.book.create(Role.RUNNER, by="ann")
    await site.ask("LOCK", body=lock("a"))
    waiting = site.start("LOCK", body=lock("b"), query="wait=1h", token=text.whole())
    await settle()
    site.records.fail_tokens = True
    await site.ask("UNLOCK", body=lock("a"))
    await asyncio.wait_for(waiting.task, 5)
    assert waiting.reply.status == 200
    assert await site.holders() == ["b"]


@pytest.mark.parametrize("trouble", [StoreDenied("the database refused us"), StoreUnfit("a table is missing")])
async def test_what_the_store_refuses_of_the_server_is_not_told_to_its_clients_as_their_own_mistake(
    site: Site, trouble: InterlockError
) -> None:
    _, text = await site.book.create(Role.RUNNER, by="ann")
    site.records.trouble = trouble
    for token in (TOKEN, text.whole()):
        for method, body in (("GET", b""), ("LOCK", lock("a")), ("POST", state(1)), ("UNLOCK", lock("a"))):
            reply = await site.ask(method, body=body, query="ID=a", token=token)
            assert reply.status == 503
            assert "WWW-Authenticate" not in reply.headers


@pytest.mark.promise("P2")
async def test_a_planner_takes_nobody_out_of_the_queue_who_wants_to_apply(site: Site) -> None:
    _, text = await site.book.create(Role.PLANNER, by="ann")
    await site.ask("LOCK", body=lock("a"))
    await site.ask("LOCK", body=lock("b"))
    assert (await site.ask("UNLOCK", body=lock("b"), token=text.whole())).status == 403
    assert await site.waiters() == ["b"]


async def test_while_tokens_cannot_be_asked_for_nobody_is_let_in(site: Site) -> None:
    _, text = await site.book.create(Role.ADMIN, by="ann")
    site.records.fail_gets = 1
    assert (await site.ask("GET", token=text.whole())).status == 503
    assert (await site.ask("GET", token=text.whole())).status == 204


async def test_a_client_that_hangs_up_leaves_the_queue(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    gone = site.start("LOCK", body=lock("gone"), query="wait=10m")
    await settle()
    next_one = site.start("LOCK", body=lock("c"), query="wait=10m")
    await settle()
    gone.hang_up()
    await asyncio.wait_for(gone.task, 5)
    await site.ask("UNLOCK", body=lock("a"))
    await settle()
    await asyncio.wait_for(next_one.task, 5)
    assert next_one.reply.status == 200
    assert await site.waiters() == ["gone"], "its place is kept for a retry"
    await site.clock.advance(RECONNECT_S + 1)
    assert await site.waiters() == []


async def test_a_client_whose_connection_broke_keeps_its_place_when_it_comes_back(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    broken = site.start("LOCK", body=lock("b"), query="wait=10m")
    await settle()
    site.start("LOCK", body=lock("c"), query="wait=10m")
    await settle()
    broken.hang_up()
    await asyncio.wait_for(broken.task, 5)
    site.clock.pass_time(1)
    again = site.start("LOCK", body=lock("b"), query="wait=10m")
    await settle()
    await site.ask("UNLOCK", body=lock("a"))
    await asyncio.wait_for(again.task, 5)
    assert again.reply.status == 200


async def test_a_client_that_hangs_up_as_its_turn_comes_strands_nothing(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    waiting = site.start("LOCK", body=lock("b"), query="wait=10m")
    await settle()
    waiting.hang_up()
    await site.coordinator.release("prod/routing", lock_id="a")
    await asyncio.wait_for(waiting.task, 5)
    await site.clock.advance(RECONNECT_S + 1)
    assert (await site.holders(), await site.waiters()) == ([], [])


async def test_a_grant_that_cannot_be_sent_goes_back_and_its_client_may_come_again(site: Site) -> None:
    client = site.start("LOCK", body=lock("a"))
    client.breaks_on_send = True
    with pytest.raises(OSError, match="reset"):
        await asyncio.wait_for(client.task, 5)
    assert await site.holders() == []
    assert (await site.ask("LOCK", body=lock("a"))).status == 200


@pytest.mark.promise("P4")
async def test_a_grant_whose_status_was_sent_is_not_called_off_when_the_rest_fails(site: Site) -> None:
    client = site.start("LOCK", body=lock("a"))
    client.breaks_after_status = True
    with pytest.raises(OSError, match="reset"):
        await asyncio.wait_for(client.task, 5)
    assert client.reply.status == 200
    assert await site.holders() == ["a"]


@pytest.mark.promise("P4")
@pytest.mark.parametrize("query", ["wait=0", "wait=10m", "other=1"])
async def test_a_late_copy_of_a_lock_request_takes_nothing_from_its_holder(site: Site, query: str) -> None:
    assert (await site.ask("LOCK", body=lock("a"), query=query)).status == 200
    copy = site.start("LOCK", body=lock("a"), query=query)
    copy.hang_up()
    await asyncio.wait_for(copy.task, 5)
    assert (await site.ask("LOCK", body=lock("b"))).status == 423
    assert (await site.ask("POST", body=state(1, "x"), query="ID=a")).status == 200


@pytest.mark.promise("P1")
async def test_a_connection_that_breaks_while_the_store_is_busy_undoes_nothing_of_the_retry(site: Site) -> None:
    with site.busy_store():
        broken = site.start("LOCK", body=lock("a"))
        await settle()
        broken.hang_up()
        again = site.start("LOCK", body=lock("a"))
        await settle()
    await asyncio.wait_for(asyncio.gather(broken.task, again.task), 5)
    assert again.reply.status == 200
    assert (await site.ask("LOCK", body=lock("c"))).status == 423
    assert await site.holders() == ["a"]


async def test_a_client_that_hung_up_while_the_store_was_busy_is_not_granted(site: Site) -> None:
    with site.busy_store():
        gone = site.start("LOCK", body=lock("a"))
        await settle()
        gone.hang_up()
        await settle()
    await asyncio.wait_for(gone.task, 5)
    assert await site.holders() == []
    assert (await site.ask("LOCK", body=lock("b"))).status == 200


@pytest.mark.promise("P1")
async def test_of_two_held_requests_of_one_id_either_may_close_around_a_hand_over(site: Site) -> None:
    for closes in (0, 1):
        await site.ask("LOCK", body=lock(f"before{closes}"))
        name = f"twice{closes}"
        both = [site.start("LOCK", body=lock(name), query="wait=10m") for _ in range(2)]
        await settle()
        both[closes].hang_up()
        await site.ask("UNLOCK", body=lock(f"before{closes}"))
        await asyncio.wait_for(asyncio.gather(*(client.task for client in both)), 5)
        assert both[1 - closes].reply.status == 200
        assert await site.holders() == [name]
        await site.ask("UNLOCK", body=lock(name))


async def test_a_request_whose_store_failed_leaves_no_grant_that_nobody_knows_of(site: Site) -> None:
    site.records.lose_replies = 1  # the lock hears it, the server hears nothing
    asking = site.start("LOCK", body=lock("a"))
    await site.clock.advance(2)
    assert asking.task.done()
    assert asking.reply.status == 503
    assert await site.holders() == []
    assert (await site.ask("LOCK", body=lock("a"))).status == 200


async def test_a_lock_that_ended_is_not_taken_again_by_a_late_request(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    await site.ask("UNLOCK", body=lock("a"))
    assert (await site.ask("LOCK", body=lock("a"))).status == 410


async def test_a_zombies_write_is_refused_and_kept(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    broken = Broken(ticket="a", token=1, by="recovery", reason="gone")
    await site.coordinator.break_("prod/routing", broken)
    refused = await site.ask("POST", body=state(1, "x"), query="ID=a")
    assert (refused.status, refused.data["error"]) == (409, "lease-lost")
    [entry] = await site.archive.quarantined("prod/routing")
    assert (entry.reason, entry.who) == ("fenced", "ann")
    assert (await site.ask("UNLOCK", body=lock("a"))).status == 409


async def test_a_write_without_a_lock_is_refused_and_kept(site: Site) -> None:
    refused = await site.ask("POST", body=state(1, "x"))
    assert refused.status == 409
    assert "-lock=false" in refused.data["why"]
    assert [entry.reason for entry in await site.archive.quarantined("prod/routing")] == ["no-lock"]


async def test_force_unlock_without_an_id_is_refused_and_names_the_way(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    refused = await site.ask("UNLOCK")
    assert refused.status == 423
    assert "interlock force-unlock prod/routing" in refused.data["fix"]
    assert await site.holders() == ["a"]


async def test_unlocking_under_another_id_is_refused(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    assert (await site.ask("UNLOCK", body=lock("b"))).status == 409
    assert await site.holders() == ["a"]


async def test_a_state_is_deleted_only_under_a_lock(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    await site.ask("POST", body=state(1), query="ID=a")
    assert (await site.ask("DELETE")).status == 409
    assert (await site.ask("DELETE", query="ID=a")).status == 200
    assert (await site.ask("GET")).status == 204
    assert len(await site.archive.history("prod/routing")) == 2


async def test_wrong_credentials_are_refused_before_anything_else(site: Site) -> None:
    for token in (None, "", "wrong", TOKEN + "x"):
        reply = await site.ask("LOCK", body=lock("a"), token=token)
        assert reply.status == 401
        assert TOKEN not in reply.body.decode()
    assert (await site.ask("GET", token=None, Authorization="Basic ???")).status == 401
    assert (await site.ask("GET", token=None, Authorization=f"Bearer {TOKEN}")).status == 204
    assert await site.holders() == []


@pytest.mark.parametrize("path", ["/state/", "/state/a//b", "/state/..%2f", "/state/" + "x" * 300])
async def test_odd_state_names_are_refused(site: Site, path: str) -> None:
    assert (await site.ask("GET", path)).status == 400


async def test_bad_requests_are_refused_without_a_trace(site: Site) -> None:
    assert (await site.ask("LOCK", body=b"{")).status == 400
    assert (await site.ask("LOCK", body=lock("a"), query="wait=soon")).status == 400
    assert (await site.ask("LOCK", body=b"x" * 70_000)).status == 413
    assert (await site.ask("PATCH")).status == 405
    await site.ask("LOCK", body=lock("a"))
    assert (await site.ask("POST", body=b"x" * 10_001, query="ID=a")).status == 413
    assert (await site.ask("POST", body=b"x", query="ID=a", content_length="99999")).status == 413
    wrong = base64.b64encode(hashlib.md5(b"else", usedforsecurity=False).digest()).decode()
    assert (await site.ask("POST", body=state(1), query="ID=a", Content_MD5=wrong)).status == 400
    assert (await site.ask("GET")).status == 204


async def test_a_state_that_cannot_be_read_is_never_shown_as_absent(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    await site.ask("POST", body=state(1), query="ID=a")
    [version] = await site.archive.history("prod/routing")
    await site.blobs.delete(version.blob)
    assert (await site.ask("GET")).status == 503


async def test_the_health_check_needs_no_token(site: Site) -> None:
    assert (await site.ask("GET", "/healthz", token=None)).data == {"status": "ok"}


async def test_without_tokens_the_plain_addresses_are_closed(site: Site) -> None:
    site.app = create_app(site.coordinator, site.archive, clock=site.clock, ids=CountingIds())
    assert (await site.ask("GET")).status == 401


# -- supervised runs --------------------------------------------------------------------------------------------------


class Supervised:
    def __init__(self, site: Site, **more: Any) -> None:
        self.gate = RunGate(site.coordinator, site.archive, state="prod/routing", run="run-1", who="bob", **more)
        self.secret = site.runs.open(self.gate)
        self.path = f"/run/{self.secret}/state"
        self._site = site

    async def ask(self, method: str, body: bytes = b"", query: str = "") -> Reply:
        return await self._site.ask(method, self.path, body, query=query, token=None)


async def test_a_run_binds_terraforms_lock_to_its_grant(site: Site) -> None:
    run = Supervised(site)
    token = await site.hold()
    run.gate.admit(ticket="run-1", token=token)
    for _ in range(2):
        assert (await run.ask("LOCK", lock("tf"))).status == 200
    assert (await run.ask("POST", state(1, "x"), "ID=tf")).status == 200
    assert (await run.ask("UNLOCK", lock("tf"))).status == 200
    assert await site.holders() == ["run-1"], "the grant is the supervisor's to give back"
    assert (await run.ask("LOCK", lock("tf2"))).status == 200
    accepted = run.gate.accepted()
    assert accepted is not None
    assert (accepted.serial, accepted.run, accepted.token) == (1, "run-1", token)


async def test_a_run_binds_terraforms_lock_under_its_own_token(site: Site) -> None:
    await site.hold("before")
    await site.coordinator.release("prod/routing", "before")
    run = Supervised(site)
    token = await site.hold()
    run.gate.admit(ticket="run-1", token=token)
    assert token == 2
    assert (await run.ask("LOCK", lock("tf"))).status == 200
    assert (await run.ask("UNLOCK", lock("tf"))).status == 200


async def test_before_it_is_admitted_a_run_only_reads(site: Site) -> None:
    run = Supervised(site)
    assert (await run.ask("GET")).status == 204
    assert (await run.ask("LOCK", lock("tf"))).status == 423
    assert (await run.ask("POST", state(1), "ID=tf")).status == 409
    assert run.gate.accepted() is None
    assert run.gate.refused() is not None


async def test_a_run_may_delete_only_what_its_plan_deletes(site: Site) -> None:
    run = Supervised(site)
    run.gate.admit(ticket="run-1", token=await site.hold())
    await run.ask("LOCK", lock("tf"))
    await run.ask("POST", state(1, "x", "y"), "ID=tf")
    run.gate.allow_deletions(frozenset({"t.x"}))
    refused = await run.ask("POST", state(2), "ID=tf")
    assert refused.status == 409
    assert "t.y" in refused.data["why"]
    assert (await run.ask("POST", state(2, "y"), "ID=tf")).status == 200
    assert run.gate.refused() is None


async def test_a_fenced_run_is_refused_everything_but_reading(site: Site) -> None:
    run = Supervised(site)
    token = await site.hold()
    run.gate.admit(ticket="run-1", token=token)
    await run.ask("LOCK", lock("tf"))
    await site.coordinator.break_("prod/routing", Broken(ticket="run-1", token=token, by="r", reason="gone"))
    assert (await run.ask("POST", state(1), "ID=tf")).status == 409
    assert (await run.ask("LOCK", lock("tf"))).status == 409
    assert (await run.ask("UNLOCK", lock("tf"))).status == 409
    assert (await run.ask("GET")).status == 204
    assert [entry.run for entry in await site.archive.quarantined("prod/routing")] == ["run-1"]


async def test_a_plan_writes_nothing(site: Site) -> None:
    run = Supervised(site, read_only=True)
    run.gate.admit(ticket="run-1", token=await site.hold())
    await run.ask("LOCK", lock("tf"))
    assert (await run.ask("POST", state(1), "ID=tf")).status == 403
    run.gate.permit_writes()
    assert (await run.ask("POST", state(1), "ID=tf")).status == 200


async def test_another_terraform_at_the_address_of_a_run_is_refused(site: Site) -> None:
    run = Supervised(site)
    run.gate.admit(ticket="run-1", token=await site.hold())
    await run.ask("LOCK", lock("tf"))
    assert (await run.ask("LOCK", lock("other"))).status == 423
    assert (await run.ask("POST", state(1), "ID=other")).status == 409
    assert (await run.ask("UNLOCK", lock("other"))).status == 423
    assert [entry.reason for entry in await site.archive.quarantined("prod/routing")] == ["other-lock-id"]


@pytest.mark.promise("P3")
async def test_what_a_terraform_that_was_cut_off_writes_after_its_unlock_is_stored_under_the_grant(site: Site) -> None:
    run = Supervised(site)
    token = await site.hold()
    run.gate.admit(ticket="run-1", token=token)
    await run.ask("LOCK", lock("tf"))
    await run.ask("UNLOCK", lock("tf"))
    assert (await run.ask("POST", state(1), "ID=stranger")).status == 409
    assert (await run.ask("POST", state(1), "ID=tf")).status == 200
    assert run.gate.refused() is None
    await run.ask("LOCK", lock("next"))
    assert (await run.ask("POST", state(2), "ID=tf")).status == 409
    await run.ask("UNLOCK", lock("next"))
    await site.coordinator.break_("prod/routing", Broken(ticket="run-1", token=token, by="r", reason="gone"))
    assert (await run.ask("POST", state(3), "ID=tf")).status == 409
    assert len(await site.archive.quarantined("prod/routing")) == 3


async def test_the_lock_of_a_run_does_not_open_the_plain_address(site: Site) -> None:
    run = Supervised(site)
    run.gate.admit(ticket="run-1", token=await site.hold())
    await run.ask("LOCK", lock("tf"))
    assert (await site.ask("LOCK", body=lock("tf"))).status == 423
    assert (await site.ask("POST", body=state(1), query="ID=tf")).status == 409
    assert (await site.ask("UNLOCK", body=lock("tf"))).status == 423
    assert await site.holders() == ["run-1"]


async def test_a_pinned_state_is_read_until_the_run_writes(site: Site) -> None:
    run = Supervised(site)
    run.gate.admit(ticket="run-1", token=await site.hold())
    run.gate.pin(state(7, "pinned"))
    assert (await run.ask("GET")).body == state(7, "pinned")
    await run.ask("POST", state(8, "x"))
    assert (await run.ask("GET")).body == state(8, "x")


async def test_a_closed_gate_answers_nobody(site: Site) -> None:
    run = Supervised(site)
    site.runs.close(run.secret)
    site.runs.close(run.secret)
    assert (await run.ask("GET")).status == 401
    assert (await site.ask("GET", "/run/guess/state", token=None)).status == 401


@pytest.mark.promise("P4")
async def test_a_deletion_that_names_no_lock_is_refused_for_that_also_while_its_client_holds(site: Site) -> None:
    await site.ask("LOCK", body=lock("a"))
    await site.ask("POST", body=state(1), query="ID=a")
    refused = await site.ask("DELETE")
    assert refused.status == 409
    assert b"names no lock" in refused.body
    assert (await site.ask("GET")).body == state(1)

"""Tests of who may read and write which record of a book, and of the audit log, at a server."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette

from interlock.audit.log import AuditLog
from interlock.coordinator.names import key_of
from interlock.creations import Creation, Place
from interlock.drift.finding import Scan, encode_scan
from interlock.gateway.identity import known_key
from interlock.gateway.ledger import Account, Ledger, Slice, to_bytes
from interlock.gateway.takings import SERVERS
from interlock.home.known import KnownState
from interlock.ids import RandomIds
from interlock.rights import Role
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.server.api.audit import audit_endpoints
from interlock.server.api.books import book_endpoints
from interlock.server.api.serving import api_routes
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.store.opening import MemoryStore
from interlock.testing.asking import Answered, ask
from interlock.testing.clock import FakeClock

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Desk:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = MemoryRecords(clock=self.clock)
        self.blobs = MemoryBlobs()
        store = MemoryStore(records=self.records, blobs=self.blobs, clock=self.clock)
        self.log = AuditLog(self.records, self.clock)
        self.book = TokenBook(self.records, self.clock, RandomIds())
        tokens = BookTokens(self.book, SingleToken("the-own-token-of-this-server"))
        self.own_clients: frozenset[str] = frozenset()
        rows = [*book_endpoints(store, self._clients), *audit_endpoints(self.log, self.records)]
        self.app = Starlette(routes=list(api_routes(rows, tokens=tokens, ending=asyncio.Event())))

    async def _clients(self) -> frozenset[str]:
        return self.own_clients

    async def ask(self, method: str, path: str, role: Role, states: str, **more: Any) -> Answered:
        _, text = await self.book.create(role, states=states, by="test")
        headers = {"authorization": f"Bearer {text.whole()}"}
        return await ask(self.app, method, f"/api/v1{path}", headers=headers, **more)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def swap(key: str, value: bytes | None, expected: int | None = None) -> dict[str, Any]:
    spelled = None if value is None else base64.b64encode(value).decode()
    return {"key": key, "value": spelled, "expected": expected}


def made(state: str) -> bytes:
    creation = Creation(key="made/r/1", run="r", state=state, place=Place(client="c"), path="/p", at=NOW)
    return msgspec.json.encode(creation)


KNOWN = msgspec.json.encode(KnownState(queue="prod/a", address="interlock:prod/a", seen_at=NOW))


@pytest.mark.promise("P4")
@pytest.mark.parametrize(
    "key", [key_of("prod/a"), "token/abc", "audit/000000000001", "quarantine/x", "elsewhere/state/x", "chain/x", "x"]
)
async def test_nothing_that_decides_is_read_or_written_as_a_record(desk: Desk, key: str) -> None:
    await desk.records.swap(key, expected=None, value=b"{}")
    for method, path, more in (
        ("GET", f"/books?key={key}", {}),
        ("GET", f"/books/all?prefix={key}", {}),
        ("POST", "/books", {"sends": swap(key, b"forged", 1)}),
    ):
        assert (await desk.ask(method, path, Role.ADMIN, "**", **more)).status == 404
    record = await desk.records.get(key)
    assert record is not None
    assert record.value == b"{}"


@pytest.mark.parametrize(
    ("key", "value"), [("known/prod/a", KNOWN), ("drift/prod/a", b"{}"), ("made/r/1", made("prod/a"))]
)
async def test_a_record_is_written_and_read_with_rights_on_the_state_that_it_is_about(
    desk: Desk, key: str, value: bytes
) -> None:
    for role, states in ((Role.READER, "prod/**"), (Role.RUNNER, "test/**")):
        assert (await desk.ask("POST", "/books", role, states, sends=swap(key, value))).status == 403
    written = await desk.ask("POST", "/books", Role.PLANNER, "prod/**", sends=swap(key, value))
    assert written.json()["version"]
    assert (await desk.ask("GET", f"/books?key={key}", Role.READER, "prod/**")).json()["key"] == key
    assert (await desk.ask("GET", f"/books?key={key}", Role.ADMIN, "test/**")).status == 403
    listed = await desk.ask("GET", f"/books/all?prefix={key.partition('/')[0]}/", Role.ADMIN, "test/**")
    assert listed.json()["records"] == []


async def test_nobody_takes_a_record_of_another_state_by_saying_that_it_is_of_theirs(desk: Desk) -> None:
    await desk.records.swap("made/r/1", expected=None, value=made("prod/a"))
    for value in (made("test/a"), None):
        forged = await desk.ask("POST", "/books", Role.RUNNER, "test/**", sends=swap("made/r/1", value, 1))
        assert forged.status == 403


async def test_a_lost_swap_tells_what_is_there(desk: Desk) -> None:
    await desk.records.swap("drift/prod/a", expected=None, value=b"{}")
    answer = await desk.ask("POST", "/books", Role.RUNNER, "**", sends=swap("drift/prod/a", b"[]", 7))
    assert answer.json()["version"] is None
    assert answer.json()["current"]["version"] == 1


@pytest.mark.promise("P7")
async def test_each_answer_tells_the_time_by_which_budgets_are_kept(desk: Desk) -> None:
    now_s = desk.clock.now().timestamp()
    sent = swap("drift/prod/a", b"{}")
    told = [(await desk.ask("POST", "/books", Role.RUNNER, "**", sends=sent)).json() for _ in range(2)]
    told.append((await desk.ask("GET", "/books?key=drift/prod/a", Role.READER, "**")).json())
    assert [each["now_s"] for each in told] == [now_s] * 3


ORGANISATION = "gateway/0123456789abcdef"


def ledger(*slices: Slice) -> bytes:
    accounts = {"org": Account(allowed=300, window_s=60.0, slices=slices)} if slices else {}
    return to_bytes(Ledger(accounts=accounts))


def drawn_by(owner: str) -> Slice:
    return Slice(owner=owner, amount=15, free_at_s=NOW.timestamp() + 120.0)


async def test_budgets_are_drawn_from_on_behalf_of_a_state(desk: Desk) -> None:
    sent = swap(ORGANISATION, ledger())
    assert (await desk.ask("POST", "/books", Role.RUNNER, "prod/**", sends=sent)).status == 403
    assert (await desk.ask("POST", "/books?state=test", Role.RUNNER, "prod/**", sends=sent)).status == 403
    assert (await desk.ask("POST", "/books?state=prod/a", Role.READER, "prod/**", sends=sent)).status == 403
    assert (await desk.ask("POST", "/books?state=prod/a", Role.PLANNER, "prod/**", sends=sent)).status == 200


@pytest.mark.promise("P7")
@pytest.mark.parametrize("role", [Role.PLANNER, Role.RUNNER, Role.ADMIN])
async def test_whoever_draws_from_a_budget_leaves_what_the_servers_gateway_drew(desk: Desk, role: Role) -> None:
    servers, runs = drawn_by(f"{SERVERS}a/1"), drawn_by("run/1")
    await desk.records.swap(ORGANISATION, expected=None, value=ledger(servers))
    path = "/books?state=prod/a"
    for value in (ledger(), ledger(runs), b"{}", b"nonsense", None):
        refused = await desk.ask("POST", path, role, "**", sends=swap(ORGANISATION, value, 1))
        assert refused.status in {400, 403}, (value, refused.body)
    kept = await desk.records.get(ORGANISATION)
    assert kept is not None
    assert kept.value == ledger(servers)
    stale = await desk.ask("POST", path, role, "**", sends=swap(ORGANISATION, ledger(runs), 9))
    assert stale.json()["current"]["version"] == 1, "it was made from another record: it is made anew, not refused"
    shared = await desk.ask("POST", path, role, "**", sends=swap(ORGANISATION, ledger(servers, runs), 1))
    assert shared.json()["version"] is not None


@pytest.mark.promise("P7")
async def test_an_oauth_client_never_moves_and_the_servers_own_are_the_servers_word(desk: Desk) -> None:
    own, other = (known_key("https://api.mypurecloud.de", client) for client in ("the-servers", "a-runs"))
    desk.own_clients = frozenset({own})
    path, here, there = "/books?state=prod/a", b'{"organisation":"here"}', b'{"organisation":"there"}'
    assert (await desk.ask("POST", path, Role.ADMIN, "**", sends=swap(own, here))).status == 403
    assert (await desk.ask("POST", path, Role.PLANNER, "**", sends=swap(other, b"{}"))).status == 400
    assert (await desk.ask("POST", path, Role.PLANNER, "**", sends=swap(other, here))).json()["version"]
    assert (await desk.ask("POST", path, Role.PLANNER, "**", sends=swap(other, there, 1))).status == 403


@pytest.mark.promise("P10")
async def test_of_stored_bytes_only_scans_can_be_read_or_deleted(desk: Desk) -> None:
    state = await desk.blobs.put(b'{"version": 4, "serial": 1}')
    scan = encode_scan(Scan(run="r", state="prod/a", at=NOW))
    kept = (await desk.ask("POST", "/scans", Role.PLANNER, "prod/**", body=scan)).json()["digest"]
    for method in ("GET", "DELETE"):
        assert (await desk.ask(method, f"/scans?blob={state}", Role.ADMIN, "**")).status == 404
        assert (await desk.ask(method, f"/scans?blob={kept}", Role.RUNNER, "test/**")).status == 403
    assert await desk.blobs.has(state)
    assert (await desk.ask("GET", f"/scans?blob={kept}", Role.READER, "prod/**")).body == scan
    assert (await desk.ask("DELETE", f"/scans?blob={kept}", Role.PLANNER, "prod/**")).status == 204


def act(once: str = "one", subject: str = "interlock:prod/a") -> dict[str, Any]:
    return {"once": once, "action": "force-unlock", "subject": subject, "by": "anna@laptop", "facts": {}}


async def test_a_decision_is_written_down_with_the_tokens_own_name(desk: Desk) -> None:
    answer = await desk.ask("POST", "/audit", Role.RUNNER, "prod/**", sends=act())
    (entry,) = await desk.log.entries()
    assert entry.by.startswith("anna@laptop as token (")
    assert entry.facts["told_by_client"] is True
    assert answer.json()["head"]["number"] == 1
    assert (await desk.ask("POST", "/audit", Role.RUNNER, "test/**", sends=act("two"))).status == 403
    assert (await desk.ask("POST", "/audit", Role.READER, "**", sends=act("two"))).status == 403


@pytest.mark.promise("P3")
async def test_a_decision_that_is_told_again_is_written_down_once(desk: Desk) -> None:
    _, text = await desk.book.create(Role.RUNNER, by="test")
    headers = {"authorization": f"Bearer {text.whole()}"}
    for once in ("one", "one", "two"):
        assert (await ask(desk.app, "POST", "/api/v1/audit", headers=headers, sends=act(once))).status == 200
    assert [entry.number for entry in await desk.log.entries()] == [1, 2]


async def test_decisions_about_states_of_others_are_not_told(desk: Desk) -> None:
    for subject in ("interlock:prod/a", "interlock:test/a", "s3://bucket/key"):
        await desk.log.append("state-pushed", subject=subject, by="x", facts={})
    seen = (await desk.ask("GET", "/audit", Role.READER, "prod/**")).json()["entries"]
    assert [entry["subject"] for entry in seen] == ["interlock:prod/a"]
    assert len((await desk.ask("GET", "/audit", Role.READER, "**")).json()["entries"]) == 3

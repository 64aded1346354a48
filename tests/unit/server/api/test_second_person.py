"""Two persons at a server, for clients of any kind: what one alone may not do, its endpoints refuse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock.api.locks import told_event
from interlock.api.versions import ByGrant, Grant, WriteAsked, line_of
from interlock.backend.asgi import Service
from interlock.compose.gateways import open_doors
from interlock.compose.serving import open_exchange, server_app
from interlock.ids import RandomIds
from interlock.lock import Broken, Event, Released, Requested, Withdrawn
from interlock.policy import Policy
from interlock.rights import Binding, Role
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.state.history import VersionKind
from interlock.testing.asking import Answered, ask
from interlock.testing.home import memory_home

STATE = "prod/routing"
_WAY = f"?state={STATE}"
Client = dict[str, str]


def document(serial: int, *names: str, lineage: str = "l") -> bytes:
    rows = [
        {"mode": "managed", "type": "t", "name": name, "provider": "provider.p", "instances": [{"attributes": {}}]}
        for name in names
    ]
    return json.dumps({"version": 4, "serial": serial, "lineage": lineage, "resources": rows}).encode()


class Desk:
    """A server whose policies want two persons, and clients that speak to its API by themselves."""

    def __init__(self, folder: Path) -> None:
        self.home = memory_home(folder, ids=RandomIds())
        self.book = TokenBook(self.home.store.records, self.home.clock, RandomIds())
        self.app: Any = None

    async def wants(self, **said: Any) -> None:
        await self.home.policies.replace((Policy(name="production", states="prod/**", **said),))

    async def person(self, name: str, role: Role = Role.OPERATOR) -> Client:
        accounts = (f"name:{name}",)
        _, text = await self.book.create(role, states="**", by="test", note=name, accounts=accounts)
        return {"authorization": f"Bearer {text.whole()}"}

    async def login(self, sub: str) -> Client:
        until = self.home.clock.now() + timedelta(hours=12)
        bound = Binding(rule="ops", job=f"person {sub}", until=until, account=f"person:{sub}")
        lasts = timedelta(hours=12)
        _, text = await self.book.issue(Role.OPERATOR, state="prod/**", binding=bound, by="ops", lifetime=lasts)
        return {"authorization": f"Bearer {text.whole()}"}

    async def post(self, who: Client, path: str, sends: object) -> Answered:
        body = sends if isinstance(sends, bytes) else msgspec.json.encode(sends)
        return await ask(self.app, "POST", f"/api/v1{path}", headers=who, body=body)

    async def tell(self, who: Client, event: Event) -> Answered:
        return await self.post(who, f"/locks/events{_WAY}", told_event(event))

    async def hold(self, who: Client, ticket: str, *, run: str = "") -> Grant:
        wish = Requested(ticket=ticket, run=run, who="me", lease_s=60.0, patience_s=60.0, attempt=f"of {ticket}")
        assert (await self.tell(who, wish)).status == 200
        holder = next(each for each in (await self.home.coordinator.view(STATE)).lock.holders if each.ticket == ticket)
        return Grant(ticket=ticket, token=holder.token, run=run)

    async def write(self, who: Client, grant: Grant, body: bytes, **more: Any) -> Answered:
        return await self.post(who, f"/versions{_WAY}", line_of(WriteAsked(grant=grant, **more)) + body)

    async def approve(self, who: Client, refused: Answered) -> None:
        """Approve what a refusal names, as its next command says."""
        told = refused.json()
        assert (refused.status, told["code"], told["exit_status"]) == (403, "policy-gate", 41), told
        request = told["facts"]["approval"]
        assert told["next"].startswith(f"interlock approve {request} --reason")
        said = {"verdict": "approve", "reason": "seen"}
        assert (await self.post(who, f"/approvals/decide?id={request}", said)).status == 200

    async def serials(self) -> list[int]:
        return [each.serial for each in await self.home.archive.history(STATE)]

    async def actions(self) -> list[str]:
        return [entry.action for entry in await self.home.audit.entries()]


@asynccontextmanager
async def opened_desk(folder: Path) -> AsyncIterator[Desk]:
    made = Desk(folder)
    tokens = BookTokens(made.book, SingleToken("the-own-token-of-this-server"))
    async with open_doors(made.home) as doors:
        about = Service(made.home.ids)
        made.app = server_app(made.home, about, tokens, doors, open_exchange(made.home, []), is_https=False)
        yield made


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened_desk(tmp_path) as made:
        yield made


async def _two_versions(desk: Desk, anna: Client | None = None) -> tuple[Client, Grant]:
    """Return a client of its own that holds the state, which it has written twice."""
    anna = anna or await desk.person("anna")
    run = await desk.hold(anna, "r1", run="r1")
    for serial, names in ((1, ("a",)), (2, ("a", "b"))):
        assert (await desk.write(anna, run, document(serial, *names))).status == 200
    await desk.tell(anna, Released(ticket="r1", token=run.token))
    return anna, await desk.hold(anna, "by-hand")


@pytest.mark.promise("P5")
async def test_no_client_restores_a_version_alone_and_the_word_of_another_is_good_once(desk: Desk) -> None:
    await desk.wants(two_persons=True)
    anna, grant = await _two_versions(desk)
    restore = f"/versions/restore{_WAY}"
    refused = await desk.post(anna, restore, ByGrant(grant=grant, number=1))
    assert refused.status == 403, refused.body
    assert await desk.serials() == [2, 1], "nothing was changed"
    request = refused.json()["facts"]["approval"]
    own = await desk.post(anna, f"/approvals/decide?id={request}", {"verdict": "approve", "reason": "mine"})
    assert own.status == 403
    again = await desk.post(anna, restore, ByGrant(grant=grant, number=1))
    assert again.json()["facts"]["approval"] == request, "it is asked for once"
    await desk.approve(await desk.person("bob"), refused)
    assert (await desk.post(anna, restore, ByGrant(grant=grant, number=1))).status == 200
    assert await desk.serials() == [3, 2, 1]
    used = await desk.home.approvals.get(request)
    assert used.used_by, "the server uses it itself"
    assert "approval-used" in await desk.actions()
    twice = await desk.post(anna, restore, ByGrant(grant=grant, number=1))
    assert (twice.status, twice.json()["code"]) == (403, "policy-gate")
    assert twice.json()["facts"]["approval"] != request


@pytest.mark.promise("P5")
async def test_who_logs_in_a_second_time_is_no_second_person(desk: Desk) -> None:
    await desk.wants(two_persons=True)
    anna, grant = await _two_versions(desk, await desk.login("anna"))
    refused = await desk.post(anna, f"/versions/restore{_WAY}", ByGrant(grant=grant, number=1))
    request = refused.json()["facts"]["approval"]
    said = {"verdict": "approve", "reason": "mine"}
    own = await desk.post(await desk.login("anna"), f"/approvals/decide?id={request}", said)
    assert own.status == 403, own.body
    await desk.approve(await desk.login("bob"), refused)
    assert (await desk.post(anna, f"/versions/restore{_WAY}", ByGrant(grant=grant, number=1))).status == 200


@pytest.mark.promise("P5")
@pytest.mark.parametrize("more", [{"force": True}, {"kind": VersionKind.PUSH}, {}])
async def test_no_client_replaces_a_state_by_hand_alone(desk: Desk, more: dict[str, Any]) -> None:
    await desk.wants(two_persons=True)
    anna, grant = await _two_versions(desk)
    pushed = document(3, "other")
    refused = await desk.write(anna, grant, pushed, **more)
    assert refused.status == 403, refused.body
    assert await desk.serials() == [2, 1]
    await desk.approve(await desk.person("bob"), refused)
    other = await desk.write(anna, grant, document(3, "another"), **more)
    assert other.status == 403, "it was agreed to other bytes"
    assert (await desk.write(anna, grant, pushed, **more)).status == 200
    repeated = await desk.write(anna, grant, pushed, **more)
    assert (repeated.status, repeated.json()["repeated"]) == (200, True), "the answer to the first one was lost"
    assert (await desk.write(anna, grant, document(4, "c"), **more)).status == 403


@pytest.mark.promise("P5")
async def test_what_was_agreed_to_is_not_good_over_another_version(desk: Desk) -> None:
    await desk.wants(two_persons=True)
    anna, grant = await _two_versions(desk)
    pushed = document(9, "other")
    refused = await desk.write(anna, grant, pushed, force=True)
    await desk.approve(await desk.person("bob"), refused)
    await desk.tell(anna, Released(ticket="by-hand", token=grant.token))
    run = await desk.hold(anna, "r2", run="r2")
    assert (await desk.write(anna, run, document(3, "a", "b", "c"))).status == 200
    await desk.tell(anna, Released(ticket="r2", token=run.token))
    grant = await desk.hold(anna, "by-hand-2")
    anew = await desk.write(anna, grant, pushed, force=True)
    assert (anew.status, anew.json()["facts"]["approval"]) != (403, refused.json()["facts"]["approval"])
    assert anew.status == 403


async def test_a_run_stores_what_it_made_without_a_second_person(desk: Desk) -> None:
    await desk.wants(two_persons=True)
    anna, grant = await _two_versions(desk)
    await desk.tell(anna, Released(ticket="by-hand", token=grant.token))
    run = await desk.hold(anna, "r2", run="r2")
    assert (await desk.write(anna, run, document(3, "a"), kind=VersionKind.PUSH)).status == 200, "what was not saved"
    forced = await desk.write(anna, run, document(3, "x"), kind=VersionKind.PUSH, force=True)
    assert forced.status == 403, "no run stores by force"


@pytest.mark.promise("P5")
@pytest.mark.parametrize("way", ["break", "release", "withdraw"])
async def test_no_client_ends_the_grant_of_another_alone(desk: Desk, way: str) -> None:
    await desk.wants(two_persons=True)
    anna, bob = await desk.person("anna"), await desk.person("bob")
    held = await desk.hold(anna, "r1", run="r1")
    assert held.token is not None
    ways: dict[str, Event] = {
        "break": Broken(ticket="r1", token=held.token, by="me", reason="it is gone"),
        "release": Released(ticket="r1", token=held.token),
        "withdraw": Withdrawn(ticket="r1", attempt="of r1"),
    }
    event = ways[way]
    refused = await desk.tell(bob, event)
    assert refused.status == 403, refused.body
    assert (await desk.home.coordinator.view(STATE)).lock.holders, "it holds"
    await desk.approve(anna, refused)
    assert (await desk.tell(bob, event)).status == 200
    again = await desk.hold(anna, "r2", run="r2")
    assert again.token is not None
    later = await desk.tell(bob, Broken(ticket="r2", token=again.token, by="me", reason="it is gone"))
    assert later.status == 403, "it was agreed to for another grant"


async def test_who_began_a_grant_ends_it_alone(desk: Desk) -> None:
    await desk.wants(two_persons=True)
    anna = await desk.person("anna")
    held = await desk.hold(anna, "r1", run="r1")
    assert held.token is not None
    assert (await desk.tell(anna, Broken(ticket="r1", token=held.token, by="me", reason="mine"))).status == 200


async def test_where_no_policy_wants_two_persons_one_is_enough(desk: Desk) -> None:
    await desk.wants(approvals=1)
    anna, grant = await _two_versions(desk)
    assert (await desk.post(anna, f"/versions/restore{_WAY}", ByGrant(grant=grant, number=1))).status == 200
    assert (await desk.write(anna, grant, document(9, "z"), force=True)).status == 200
    bob = await desk.person("bob")
    assert (await desk.tell(bob, Released(ticket="by-hand", token=grant.token))).status == 200


@pytest.mark.promise("P5")
async def test_the_word_that_a_command_of_ours_used_up_just_before_is_good_for_its_act(desk: Desk) -> None:
    """Our own commands ask and use first, in the same words."""
    from interlock.policy.approval import Decision, Kind, Verdict
    from interlock.policy.policy import join
    from interlock.policy.two_persons import exact_digest, request_for

    await desk.wants(two_persons=True)
    anna, grant = await _two_versions(desk)
    pushed = document(3, "other")
    digest = exact_digest(Kind.RESTORE, STATE, ("push", hashlib.sha256(pushed).hexdigest(), 2))
    now, book = desk.home.clock.now(), desk.home.approvals
    policies = join(await desk.home.policies.all(), STATE)
    told = request_for(Kind.RESTORE, STATE, policies, name="q1", digest=digest, what="push", by="anna", now=now)
    await book.ask(told)
    await book.decide("q1", Decision(who="bob", verdict=Verdict.APPROVE, reason="seen", at=now))
    await book.use("q1", by="a-command", digest=digest)
    assert (await desk.write(anna, grant, pushed, kind=VersionKind.PUSH)).status == 200

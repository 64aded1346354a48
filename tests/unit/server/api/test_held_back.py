"""Windows, freezes and approvals hold a plain Terraform at each door of a server, as they hold runs."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.cloud_api import Sent, settle

from interlock.api.locks import told_event
from interlock.api.versions import ByGrant, Grant, WriteAsked, line_of
from interlock.backend.asgi import Service
from interlock.compose.gateways import open_doors
from interlock.compose.serving import open_exchange, server_app
from interlock.existing.terraform_lock import Reference, render_reference
from interlock.ids import RandomIds
from interlock.lock import Event, HeldBack, Priority, Released, Requested, Waiter
from interlock.policy import Freeze, Policy
from interlock.rights.callers import SingleToken
from interlock.terraform.lockinfo import LockInfo, render_lock_info
from interlock.testing.clock import FakeClock
from interlock.testing.home import memory_home

TOKEN = "the-own-token-of-this-server"
STATE = "prod/routing"


def document(serial: int, *names: str) -> bytes:
    rows = [
        {"mode": "managed", "type": "t", "name": name, "provider": "provider.p", "instances": [{"attributes": {}}]}
        for name in names
    ]
    return json.dumps({"version": 4, "serial": serial, "lineage": "l", "resources": rows}).encode()


class Desk:
    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.home = memory_home(folder, clock=self.clock, ids=RandomIds())
        self.app: Any = None

    async def freezes(self, for_s: float | None, reason: str = "Black Friday") -> None:
        end = None if for_s is None else self.clock.now() + timedelta(seconds=for_s)
        await self.says(freezes=(Freeze(reason=reason, end=end),))

    async def says(self, **said: Any) -> None:
        await self.home.policies.replace((Policy(name="production", states="prod/**", **said),))

    def send(self, method: str, path: str, body: bytes = b"") -> Sent:
        basic = base64.b64encode(f"ann:{TOKEN}".encode()).decode()
        return Sent(self.app, method, path, {"Authorization": f"Basic {basic}"}, body)

    def lock(self, name: str, *, wait: str, operation: str = "OperationTypeApply") -> Sent:
        info = LockInfo(id=name, operation=operation, who=f"{name}@host", version="1.15.0")
        return self.send("LOCK", f"/state/{STATE}?wait={wait}", render_lock_info(info))

    async def unlock(self, name: str) -> None:
        sent = self.send("UNLOCK", f"/state/{STATE}?ID={name}")
        await asyncio.wait_for(sent.task, 10)
        assert sent.answered.status == 200

    async def holders(self, state: str = STATE) -> list[str]:
        return [each.ticket for each in (await self.home.coordinator.view(state)).lock.holders]

    async def waiters(self, state: str = STATE) -> tuple[Waiter, ...]:
        return (await self.home.coordinator.view(state)).lock.waiters


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    async with open_doors(made.home) as doors:
        about = Service(made.home.ids)
        exchange = open_exchange(made.home, [])
        made.app = server_app(made.home, about, SingleToken(TOKEN), doors, exchange, is_https=False)
        yield made


async def answered(sent: Sent) -> tuple[int, str]:
    await asyncio.wait_for(sent.task, 10)
    return sent.answered.status, sent.answered.body.decode()


@pytest.mark.promise("P2")
async def test_a_plain_lock_waits_in_its_place_inside_a_freeze_and_is_granted_when_it_ends(desk: Desk) -> None:
    await desk.freezes(20)
    first, second = desk.lock("a", wait="10m"), desk.lock("b", wait="10m")
    await settle()
    assert await desk.holders() == []
    assert [(each.ticket, "Black Friday" in each.held) for each in await desk.waiters()] == [("a", True), ("b", True)]
    plan = desk.lock("p", wait="10m", operation="OperationTypePlan")
    assert (await answered(plan))[0] == 200, "others pass"
    await desk.unlock("p")
    await desk.clock.advance(20.1)
    assert (await answered(first))[0] == 200
    assert await desk.holders() == ["a"]
    assert not second.task.done()
    await desk.unlock("a")
    assert (await answered(second))[0] == 200


@pytest.mark.promise("P2")
async def test_a_plain_lock_that_is_held_back_ends_with_the_reason_and_the_next_opening(desk: Desk) -> None:
    await desk.freezes(3600)
    waiting = desk.lock("a", wait="5s")
    await settle()
    await desk.clock.advance(5.1)
    status, body = await answered(waiting)
    told = json.loads(body)["Info"]
    opens = (desk.clock.now() + timedelta(seconds=3600 - 5.1)).strftime("%H:%M")
    assert (status, "policy production: frozen: Black Friday, until " in told, opens in told) == (423, True, True), told


@pytest.mark.promise("P2")
async def test_a_client_that_polls_is_held_back_and_let_in_at_its_own_questions(desk: Desk) -> None:
    await desk.freezes(10)
    for _ in range(3):
        assert (await answered(desk.lock("a", wait="0")))[0] == 423
        desk.clock.pass_time(3)
    assert len(await desk.waiters()) == 1
    desk.clock.pass_time(2)
    assert (await answered(desk.lock("a", wait="0")))[0] == 200


@pytest.mark.promise("P2")
@pytest.mark.parametrize("wait", ["0", "10m"])
async def test_a_freeze_that_begins_while_a_plain_lock_waits_holds_it_back(desk: Desk, wait: str) -> None:
    assert (await answered(desk.lock("other", wait="0")))[0] == 200
    waiting = desk.lock("a", wait=wait)
    await settle()
    await desk.freezes(None)
    await desk.clock.advance(30.1)
    await desk.unlock("other")
    await settle()
    if wait == "0":
        assert (await answered(desk.lock("a", wait="0")))[0] == 423
    else:
        assert not waiting.task.done()
    assert await desk.holders() == []
    waiting.hang_up()
    await waiting.task


@pytest.mark.promise("P2")
async def test_a_workspace_of_the_cloud_is_held_back_as_well(desk: Desk) -> None:
    state = "prod/app"
    data = {"data": {"type": "workspaces", "attributes": {"name": "app"}}}
    made = desk.send("POST", "/api/v2/organizations/prod/workspaces", json.dumps(data).encode())
    _, body = await answered(made)
    lock = f"/api/v2/workspaces/{json.loads(body)['data']['id']}/actions/lock"
    await desk.freezes(20)
    waiting = desk.send("POST", lock)
    await settle()
    assert [("Black Friday" in each.held) for each in await desk.waiters(state)] == [True]
    await desk.clock.advance(20.1)
    assert (await answered(waiting))[0] == 200
    unlocked = await answered(desk.send("POST", lock.replace("/lock", "/unlock")))
    assert unlocked[0] == 200
    await desk.freezes(7200)
    late = desk.send("POST", lock)
    await settle()
    for _ in range(4):
        await desk.clock.advance(500)
    status, body = await answered(late)
    assert (status, "policy production: frozen: Black Friday, until" in body) == (423, True), body


@pytest.mark.promise("P2")
async def test_a_client_of_the_api_that_joined_before_a_freeze_is_not_granted_inside_it(desk: Desk) -> None:
    async def tell(event: Event) -> None:
        body = msgspec.json.encode(told_event(event))
        assert (await answered(desk.send("POST", f"/api/v1/locks/events?state={STATE}", body)))[0] == 200

    for name in ("r1", "r2"):
        await tell(Requested(ticket=name, run=name, who="me", lease_s=600.0, patience_s=600.0))
    await desk.freezes(60)
    token = (await desk.home.coordinator.view(STATE)).lock.holders[0].token
    await tell(Released(ticket="r1", token=token))
    assert await desk.holders() == []
    await tell(HeldBack(ticket="r2"))
    assert await desk.holders() == [], "it is not for a client to say"
    desk.clock.pass_time(61)
    await tell(HeldBack(ticket="r2"))
    assert await desk.holders() == ["r2"]


@pytest.mark.promise("P6")
async def test_no_plain_client_changes_a_state_under_a_lock_that_it_took_to_plan(desk: Desk) -> None:
    await desk.freezes(None)
    assert (await answered(desk.lock("p", wait="0", operation="OperationTypePlan")))[0] == 200
    status, body = await answered(desk.send("POST", f"/state/{STATE}?ID=p", document(1, "a")))
    assert (status, "to plan" in body) == (409, True), body
    [kept] = await desk.home.archive.quarantined(STATE)
    assert kept.serial == 1, "its bytes are kept"
    first = await answered(desk.send("POST", f"/state/{STATE}?ID=p", document(1)))
    assert first[0] == 200, "the empty state of an interrupted first plan"
    assert (await answered(desk.send("POST", f"/state/{STATE}?ID=p", document(2))))[0] == 409
    assert (await answered(desk.send("DELETE", f"/state/{STATE}?ID=p")))[0] == 409


@pytest.mark.promise("P6")
async def test_no_client_of_the_api_changes_a_state_under_a_grant_to_plan(desk: Desk) -> None:
    async def post(path: str, body: bytes) -> tuple[int, str]:
        return await answered(desk.send("POST", f"/api/v1{path}?state={STATE}", body))

    await desk.freezes(None)
    wish = Requested(ticket="r", run="r", who="me", lease_s=60.0, patience_s=60.0, priority=Priority.PLAN)
    assert (await post("/locks/events", msgspec.json.encode(told_event(wish))))[0] == 200
    token = (await desk.home.coordinator.view(STATE)).lock.holders[0].token
    grant = Grant(ticket="r", token=token, run="r")
    status, body = await post("/versions", line_of(WriteAsked(grant=grant)) + document(1, "a"))
    assert (status, "to plan" in body) == (409, True), body
    assert len(await desk.home.archive.quarantined(STATE)) == 1
    assert (await post("/versions/delete", msgspec.json.encode(ByGrant(grant=grant))))[0] == 409


@pytest.mark.promise("P8")
async def test_a_run_of_ours_that_locks_a_plain_address_asks_for_approval_itself(desk: Desk) -> None:
    await desk.says(approvals=1)
    info = LockInfo(id="a", operation="OperationTypeApply", info=render_reference(Reference(run="0123456789abcdef")))
    lock = desk.send("LOCK", f"/state/{STATE}?wait=0", render_lock_info(info))
    assert (await answered(lock))[0] == 200


@pytest.mark.promise("P8")
async def test_plain_terraform_does_not_apply_where_persons_must_approve(desk: Desk) -> None:
    await desk.says(approvals=1)
    status, body = await answered(desk.lock("a", wait="0"))
    assert status == 423
    assert f"interlock apply {STATE}" in json.loads(body)["Info"], body
    assert (await answered(desk.lock("p", wait="0", operation="OperationTypePlan")))[0] == 200

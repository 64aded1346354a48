"""Requests for approval, policies and the audit log through the API: who may what, and whose word counts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from starlette.applications import Starlette

from interlock.coordinator import Coordinator
from interlock.ids import RandomIds
from interlock.lock import HeldBack, Priority, Requested
from interlock.policy import Freeze, Policy
from interlock.policy.approval import Approval, KeptPlan, Kind
from interlock.rights import Binding, Role
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.server.api.approvals import approval_endpoints
from interlock.server.api.audit import audit_endpoints
from interlock.server.api.holding import hold_of
from interlock.server.api.locks import lock_endpoints
from interlock.server.api.policies import policy_endpoints
from interlock.server.api.serving import api_routes
from interlock.store.blobs import blob_digest
from interlock.testing.asking import Answered, ask
from interlock.testing.home import memory_home

MASTER = "the-own-token-of-this-server"
PLAN = b"a plan file"


class Desk:
    def __init__(self, folder: Path) -> None:
        self.home = memory_home(folder)
        self.book = TokenBook(self.home.store.records, self.home.clock, RandomIds())
        self.coordinator: Coordinator = self.home.coordinator
        rows = [
            *approval_endpoints(self.home),
            *policy_endpoints(self.home.policies, self.home.audit),
            *audit_endpoints(self.home.audit, self.home.store.records),
            *lock_endpoints(self.coordinator, self.coordinator, hold_of(self.home)),
        ]
        tokens = BookTokens(self.book, SingleToken(MASTER))
        self.app = Starlette(routes=list(api_routes(rows, tokens=tokens, ending=asyncio.Event())))

    async def token(self, role: Role, states: str = "prod/**", person: str = "") -> dict[str, str]:
        accounts = (f"name:{person}",) if person else ()
        _, text = await self.book.create(role, states=states, by="test", note=role.value, accounts=accounts)
        return {"authorization": f"Bearer {text.whole()}"}

    async def login(self, sub: str) -> dict[str, str]:
        """Log a person in, as often as they like: each time with a token of its own."""
        until = self.home.clock.now() + timedelta(hours=12)
        bound = Binding(rule="ops", job=f"person {sub} (sub {sub})", until=until, account=f"person:{sub}")
        lasts = timedelta(hours=12)
        _, text = await self.book.issue(Role.OPERATOR, state="prod/**", binding=bound, by="ops", lifetime=lasts)
        return {"authorization": f"Bearer {text.whole()}"}

    async def says(self, **said: Any) -> None:
        await self.home.policies.replace((Policy(name="production", states="prod/**", **said),))

    def request(self, **more: Any) -> Approval:
        now = self.home.clock.now()
        kept = KeptPlan(blob=blob_digest(PLAN), essence="e", operation="apply", directory="/repo")
        asked = Approval(
            id="r1",
            kind=Kind.APPLY,
            state="prod/routing",
            digest="d",
            what="apply",
            asked_by="nobody at all",
            asked_at=now,
            expires_at=now + timedelta(days=300),
            needed=0,
            own_approval=True,
            plan=kept,
        )
        return replace(asked, **more)

    async def call(self, method: str, path: str, who: Mapping[str, str], sends: object = None) -> Answered:
        body = b"" if sends is None else msgspec.json.encode(sends)
        return await ask(self.app, method, f"/api/v1{path}", headers=who, body=body)

    async def asked(self, who: Mapping[str, str], **more: Any) -> Approval:
        answer = await self.call("POST", "/approvals?state=prod/routing", who, self.request(**more))
        assert answer.status == 200, answer.body
        kept = await ask(self.app, "PUT", "/api/v1/approvals/plan?id=r1", headers=who, body=PLAN)
        assert kept.status in {200, 204}, kept.body
        return msgspec.json.decode(msgspec.json.encode(answer.json()["approval"]), type=Approval)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


YES = {"verdict": "approve", "reason": "seen"}


@pytest.mark.promise("P8")
async def test_a_person_who_logs_in_twice_is_one_person(desk: Desk) -> None:
    await desk.says(approvals=2)
    asks, again, ben, cid = [await desk.login(name) for name in ("ann", "ann", "ben", "cid")]
    await desk.asked(asks)
    own = await desk.call("POST", "/approvals/decide?id=r1", again, YES)
    assert (own.status, "they asked for it" in own.json()["detail"]) == (403, True), own.body
    for who, count in ((ben, 1), (await desk.login("ben"), 1), (cid, 2)):
        told = await desk.call("POST", "/approvals/decide?id=r1", who, YES)
        assert told.status == 200, told.body
        assert len((await desk.home.approvals.get("r1")).approvers) == count


@pytest.mark.promise("P8")
async def test_which_account_began_a_job_is_what_its_token_says_and_never_what_the_job_says(desk: Desk) -> None:
    await desk.says(approvals=1)
    forged = {"ordered_by": "github:13", "comments_on": "github", "schema": 1}
    plain = await desk.asked(await desk.token(Role.RUNNER), **forged)
    assert (plain.ordered_by, plain.comments_on, plain.schema) == ("", "", 3)
    until = desk.home.clock.now() + timedelta(hours=1)
    bound = Binding(rule="r", job="github repository_id 74", until=until, account="github:12")
    _, text = await desk.book.issue(
        Role.RUNNER, state="prod/routing", binding=bound, by="r", lifetime=timedelta(minutes=15)
    )
    job = {"authorization": f"Bearer {text.whole()}"}
    told = await desk.call("POST", "/approvals?state=prod/routing", job, desk.request(id="r7", **forged))
    kept = await desk.home.approvals.get(told.json()["approval"]["id"])
    assert (kept.ordered_by, kept.schema) == ("github:12", 3), "a release that would forget it cannot read it"


@pytest.mark.promise("P8")
async def test_a_client_cannot_ask_for_less_than_the_server_wants_nor_in_another_name(desk: Desk) -> None:
    await desk.says(approvals=2, approval_s=3600.0)
    runner = await desk.token(Role.RUNNER)
    kept = await desk.asked(runner)
    assert (kept.needed, kept.own_approval) == (2, False)
    assert kept.asked_by.startswith("runner (")
    assert kept.expires_at - kept.asked_at == timedelta(hours=1)
    again = await desk.call("POST", "/approvals?state=prod/routing", runner, desk.request())
    assert again.status == 200, "the answer to the first one was lost"
    other = await desk.call("POST", "/approvals?state=prod/routing", await desk.token(Role.RUNNER), desk.request())
    assert other.status == 400
    for forged in ({"used_by": "r9"}, {"state": "prod/other"}, {"replaced_by": "r2"}):
        answer = await desk.call("POST", "/approvals?state=prod/routing", runner, desk.request(id="r5", **forged))
        assert answer.status == 400


@pytest.mark.promise("P8")
async def test_the_token_that_asked_cannot_approve_and_others_need_the_right(desk: Desk) -> None:
    await desk.says(approvals=1)
    operator, second = [await desk.token(Role.OPERATOR, person=each) for each in ("ann", "ben")]
    await desk.asked(operator)
    for role, states in ((Role.RUNNER, "prod/**"), (Role.READER, "prod/**")):
        assert (await desk.call("POST", "/approvals/decide?id=r1", await desk.token(role, states), YES)).status == 403
    foreign = await desk.call("POST", "/approvals/decide?id=r1", await desk.token(Role.OPERATOR, "test/**"), YES)
    assert (foreign.status, "there is no request" in str(foreign.json())) == (400, True)
    own = await desk.call("POST", "/approvals/decide?id=r1", operator, YES)
    assert (own.status, own.json()["exit_status"]) == (403, 41)
    assert (await desk.call("POST", "/approvals/decide?id=r1", second, YES)).status == 200
    used = await desk.call("POST", "/approvals/use?id=r1", operator, {"by": "r2", "digest": "d"})
    assert used.json()["approval"]["used_by"] == "r2"
    again = await desk.call("POST", "/approvals/use?id=r1", operator, {"by": "r3", "digest": "d"})
    assert (again.status, again.json()["exit_status"]) == (403, 41)
    actions = [entry.action for entry in await desk.home.audit.entries()]
    assert "approved" in actions


@pytest.mark.promise("P5")
@pytest.mark.parametrize("kind", [Kind.FORCE_UNLOCK, Kind.RESTORE])
async def test_of_two_persons_each_may_do_what_is_asked_for(desk: Desk, kind: Kind) -> None:
    """A planner who asked in another's place was the second person of an operator who then acted alone."""
    await desk.says(two_persons=True)
    asks = desk.request(kind=kind, plan=None)
    for role, status in ((Role.PLANNER, 403), (Role.RUNNER, 403), (Role.OPERATOR, 200)):
        told = await desk.call("POST", "/approvals?state=prod/routing", await desk.token(role), asks)
        assert told.status == status, (role, told.body)


@pytest.mark.promise("P8")
async def test_two_names_for_the_servers_own_token_are_one_person(desk: Desk) -> None:
    import base64

    await desk.says(approvals=1)
    names = [{"authorization": f"Basic {base64.b64encode(f'{n}:{MASTER}'.encode()).decode()}"} for n in ("ann", "ben")]
    await desk.asked(names[0])
    answer = await desk.call("POST", "/approvals/decide?id=r1", names[1], YES)
    assert (answer.status, answer.json()["exit_status"]) == (403, 41)


@pytest.mark.promise("P10")
async def test_a_plan_is_given_to_who_may_apply_and_to_nobody_else(desk: Desk) -> None:
    runner = await desk.token(Role.RUNNER)
    await desk.asked(runner)
    assert (await desk.call("GET", "/approvals/plan?id=r1", runner)).body == PLAN
    for role, states in ((Role.READER, "prod/**"), (Role.PLANNER, "prod/**"), (Role.ADMIN, "test/**")):
        who = await desk.token(role, states)
        assert (await desk.call("GET", "/approvals/plan?id=r1", who)).status in {400, 403}
        listed = (await desk.call("GET", "/approvals", who)).json()["approvals"]
        assert len(listed) == (states == "prod/**")
    other = await desk.token(Role.RUNNER)
    forged = await ask(desk.app, "PUT", "/api/v1/approvals/plan?id=r1", headers=other, body=PLAN)
    assert forged.status == 400
    wrong = await ask(desk.app, "PUT", "/api/v1/approvals/plan?id=r1", headers=runner, body=b"another plan")
    assert wrong.status == 400


async def test_policies_are_set_by_administrators_and_who_did_is_written_down(desk: Desk) -> None:
    admin, operator = await desk.token(Role.ADMIN, "**"), await desk.token(Role.OPERATOR, "**")
    said = {"policies": [{"name": "frozen", "layer": "repository", "freezes": [{"reason": "audit"}]}]}
    assert (await desk.call("PUT", "/policies", operator, said)).status == 403
    assert (await desk.call("PUT", "/policies", admin, said)).status == 200
    (told,) = (await desk.call("GET", "/policies", operator)).json()["policies"]
    assert (told["name"], told["layer"]) == ("frozen", "server")
    assert [(entry.action, entry.by[:5]) for entry in await desk.home.audit.entries()] == [("policies-set", "admin")]


@pytest.mark.parametrize(
    "said",
    [
        {"windows": [{"begin": "25:00"}]},
        {"windows": [{"zone": "Nowhere/At-All"}]},
        {"freezes": [{"reason": "r", "begin": "2026-12-24T00:00:00Z", "end": "2026-12-23T00:00:00Z"}]},
        {"approval_s": 1e300},
        {"approval_s": -1.0},
        {"approvals": -3},
        {"states": "prod/[", "approvals": 1},
        {"programs": [{"name": "p", "tool": "opa", "policies": "rules"}]},
        {"programs": [{"name": "p", "tool": "bash", "policies": "/rules"}]},
    ],
)
async def test_policies_that_no_file_could_say_are_refused_and_the_older_ones_stay(
    desk: Desk, said: dict[str, Any]
) -> None:
    admin = await desk.token(Role.ADMIN, "**")
    assert (await desk.call("PUT", "/policies", admin, {"policies": [{"name": "old"}]})).status == 200
    answer = await desk.call("PUT", "/policies", admin, {"policies": [{"name": "new", **said}]})
    assert answer.status == 400, answer.body
    assert [one.name for one in await desk.home.policies.all()] == ["old"]


@pytest.mark.promise("P2")
async def test_a_freeze_without_a_zone_is_one_in_utc_and_ends_no_request(desk: Desk) -> None:
    admin = await desk.token(Role.ADMIN, "**")
    frozen = {"name": "frozen", "windows": [{"days": ["mon"], "begin": "08:00", "end": "09:00"}],
              "freezes": [{"reason": "audit", "begin": "2000-01-01T00:00:00"}], "approval_s": 3600.0, "wait_s": 60.0,
              "protected_types": ["a_*"], "checks": [{"name": "c", "expression": "true"}]}  # fmt: skip
    assert (await desk.call("PUT", "/policies", admin, {"policies": [frozen]})).status == 200
    told = (await desk.call("GET", "/policies", admin)).json()["policies"][0]
    assert told["freezes"] == [{"reason": "audit", "begin": "2000-01-01T00:00:00Z", "end": None}]
    assert {name: told[name] for name in ("windows", "approval_s", "wait_s", "protected_types")} == {
        "windows": [{"days": ["mon"], "begin": "08:00", "end": "09:00", "zone": "UTC"}],
        **{name: frozen[name] for name in ("approval_s", "wait_s", "protected_types")},
    }
    kept = msgspec.convert({"reason": "kept by an older server", "begin": "2000-01-01T00:00:00"}, Freeze)
    await desk.says(freezes=(kept,))
    assert await hold_of(desk.home)("prod/routing") is not None


@pytest.mark.parametrize(
    ("asked", "ends", "status"), [("9998-01-01", "9999-12-31", 200), ("9998-01-01", "2026-11-30", 400)]
)
async def test_a_request_of_whatever_time_is_taken_or_refused(desk: Desk, asked: str, ends: str, status: int) -> None:
    await desk.home.policies.replace((Policy(name="long", approval_s=1e300),))
    told = {**msgspec.to_builtins(desk.request()), "asked_at": f"{asked}T00:00:00Z", "expires_at": f"{ends}T00:00:00Z"}
    answer = await desk.call("POST", "/approvals?state=prod/routing", await desk.token(Role.RUNNER), told)
    assert answer.status == status, answer.body


@pytest.mark.promise("P2")
async def test_the_server_holds_a_run_back_whatever_its_client_says(desk: Desk) -> None:
    from interlock.api.locks import told_event

    await desk.says(freezes=(Freeze(reason="audit"),))
    runner = await desk.token(Role.RUNNER)

    async def tell(event: Requested | HeldBack) -> None:
        answer = await desk.call("POST", "/locks/events?state=prod/routing", runner, told_event(event))
        assert answer.status == 200, answer.body

    wants = Requested(ticket="t", who="ann", lease_s=60.0, patience_s=60.0)
    await tell(wants)
    await tell(HeldBack(ticket="t"))
    lock = (await desk.coordinator.view("prod/routing")).lock
    assert (lock.holders, lock.waiters[0].held) == ((), "policy production: frozen: audit")
    await tell(replace(wants, ticket="p", priority=Priority.PLAN))
    assert [one.ticket for one in (await desk.coordinator.view("prod/routing")).lock.holders] == ["p"]
    await desk.says()
    await desk.coordinator.release("prod/routing", "p", 1)
    await tell(HeldBack(ticket="t"))
    assert [one.ticket for one in (await desk.coordinator.view("prod/routing")).lock.holders] == ["t"]


async def test_the_audit_log_is_exported_for_administrators(desk: Desk) -> None:
    for number in range(5):
        await desk.home.audit.append("approved", subject=f"s{number % 2}", by="ann", facts={})
    admin = await desk.token(Role.ADMIN, "**")
    exported = (await desk.call("POST", "/audit/export", admin, {})).body.splitlines()
    assert desk.home.audit.export_fault(exported) == (5, "")
    some = (await desk.call("POST", "/audit/export", admin, {"subjects": ["s1"]})).body.splitlines()
    assert len(some) == 3
    assert (await desk.call("POST", "/audit/export", await desk.token(Role.OPERATOR, "**"), {})).status == 403

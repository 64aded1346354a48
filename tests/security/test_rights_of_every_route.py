"""Every route of a server, with every role, for its own states, for states of others and without a token.

The routes are taken from the application that `interlock serve` runs. A new one that is not described here fails.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from msgspec import Struct
from starlette.applications import Starlette
from starlette.routing import Route

from interlock.api.locks import told_event
from interlock.backend.asgi import METHODS, Service
from interlock.compose.gateways import open_doors
from interlock.compose.serving import _endpoints, open_exchange, server_app
from interlock.home.embedded import open_home
from interlock.lock import Requested
from interlock.rights import Binding, Right, Role
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.rights.roles import EVERY_STATE
from interlock.server.api.table import BASE, AnyEndpoint
from interlock.server.tfe.names import OutputId, VersionId, WorkspaceId
from interlock.server.tfe.table import BASE as TFE_BASE
from interlock.server.tfe.table import ROWS
from interlock.settings.values import Settings
from interlock.testing.asking import Answered, ask

OWN, FOREIGN = "prod/routing", "other/routing"
GLOB = "prod/*"
WITHOUT_RIGHT = {
    "GET /books": "tests/unit/server/api/test_books.py",
    "GET /books/all": "tests/unit/server/api/test_books.py",
    "POST /books": "tests/unit/server/api/test_books.py",
    "GET /scans": "tests/unit/server/api/test_books.py",
    "POST /scans": "tests/unit/server/api/test_books.py",
    "DELETE /scans": "tests/unit/server/api/test_books.py",
    "GET /audit": "tests/unit/server/api/test_books.py",
    "POST /audit": "tests/unit/server/api/test_books.py",
    "GET /audit/head": "tells a number and a digest",
    "GET /policies": "tells what holds for all runs",
    "POST /locks/events": "tests/unit/server/api/test_judging.py",
    "POST /runs/stop": "tests/unit/server/api/test_runs.py",
    "GET /runs": "tests/unit/server/api/test_runs.py",
    "GET /runs/journal": "tests/unit/server/api/test_runs.py",
    # Rows without a right of their own: what each looks at itself. Anybody with a good token may ask.
    "GET /me": "tells what the token may do",
    "GET /locks/all": "leaves out states that the token may not read",
    # What is asked is about one request; each looks at the right on its state: tests/unit/server/api/test_approvals.py.
    "GET /approvals": "leaves out requests for states that the token may not read",
    "GET /approvals/one": "read-state",
    "POST /approvals/find": "plan",
    "PUT /approvals/plan": "plan, and only whoever asked",
    "GET /approvals/plan": "apply",
    "POST /approvals/decide": "approve",
    "POST /approvals/use": "apply; force-unlock and restore of requests for those",
    "POST /approvals/replace": "apply",
    "POST /tokens/renew": "lets a token of a CI job last on, and refuses any other",
    # Needs no token: the identity token in its form says who asks.
    "GET /login": "tells everybody where people log in",
    "POST /tokens/exchange": "tests/security/test_forged_identity_tokens.py",
    # Needs no token: the signature of its body says which code host tells it.
    "POST /hooks/comment": "tests/security/test_forged_comments.py",
}
OPEN = {"/healthz", "/readyz", f"{BASE}/openapi.json", "/.well-known/terraform.json"}
"""What tells everybody the same, and nothing of states or people."""
ELSEWHERE = {
    # What is asked for here is a secret of one run, and not a token: these tests play the stranger.
    "/run/{secret}/state": "tests/security/test_doors_of_a_run.py",
    "/gateway/{path:path}": "tests/unit/server/gateway/test_doors.py",
    # Asks for a token in a form of its own, and gives nothing but that very token.
    "/login/terraform": "tests/e2e/test_cloud_door.py",
    "/login/terraform/token": "tests/e2e/test_cloud_door.py",
    "/login/terraform/provider": "tests/unit/compose/test_people_log_in.py",
    "/login/terraform/back": "tests/unit/compose/test_people_log_in.py",
}
TFE_WITHOUT_RIGHT = {
    "ping", "account", "organization", "entitlements", "list_workspaces", "make_workspace", "list_versions", "upload",
    "upload_json",
}  # fmt: skip
PLAIN = {"GET": Right.READ_STATE, "POST": Right.APPLY, "PUT": Right.APPLY, "DELETE": Right.APPLY, "LOCK": Right.PLAN,
         "UNLOCK": Right.PLAN}  # fmt: skip


MAY = {
    Role.READER: "read-outputs read-state",
    Role.PLANNER: "read-outputs read-state plan",
    Role.RUNNER: "read-outputs read-state plan apply lock",
    Role.OPERATOR: "read-outputs read-state plan apply lock force-unlock restore approve freeze",
    Role.ADMIN: "read-outputs read-state plan apply lock force-unlock restore approve freeze administer",
}
"""Written out: a test that asked the code what is right would find it right."""
COVERS = {GLOB: {OWN}, "*": set(), EVERY_STATE: {OWN, FOREIGN, EVERY_STATE}}
"""Which of the states that are tried each glob names; `**` as a state stands for what is about all of them."""


def has(role: Role, glob: str, right: Right, state: str) -> bool:
    return right.value in MAY[role].split() and state in COVERS[glob]


class Server(Struct, kw_only=True):
    app: Starlette
    rows: list[AnyEndpoint]
    credentials: dict[tuple[Role, str], dict[str, str]]
    of_run: dict[str, str]

    async def ask(self, role: Role, glob: str, method: str, address: str, body: bytes = b"") -> Answered:
        async with asyncio.timeout(20):
            return await ask(self.app, method, address, headers=self.credentials[role, glob], body=body)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with open_home(Settings(home=tmp_path), store="memory:") as home, open_doors(home) as doors:
        about = Service(home.ids)
        about.ending.set()  # what waits for others is sent away at once, once it was let in
        book = TokenBook(home.store.records, home.clock, home.ids)
        credentials = {}
        for role in Role:
            for glob in (GLOB, "*", EVERY_STATE):
                _, text = await book.create(role, states=glob, by="test")
                credentials[role, glob] = {"authorization": f"Bearer {text.whole()}", "host": "127.0.0.1"}
        until = home.clock.now() + timedelta(hours=6)
        bound = Binding(rule="r", job="github 74", until=until, run="0123456789abcdef")
        _, text = await book.issue(Role.RUNNER, state=OWN, binding=bound, by="r", lifetime=timedelta(minutes=15))
        exchange = open_exchange(home, ["https://interlock.example"])
        tokens = BookTokens(book, SingleToken("the-own-token-of-this-server"))
        app = server_app(home, about, tokens, doors, exchange, is_https=False)
        yield Server(
            app=app, rows=_endpoints(home, doors, exchange), credentials=credentials, of_run={bound.run: text.whole()}
        )


def address_of(row: AnyEndpoint, state: str) -> tuple[str, bool]:
    """Return an address that fills in each parameter, and whether one of them is the state."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(row.query)}
    filled = {name: "1" if field.type in (int, float) else "x" for name, field in fields.items() if field.required}
    if "state" in fields:
        filled["state"] = state
    return f"{BASE}{row.path}" + (f"?{urlencode(filled)}" if filled else ""), "state" in fields


def check(answer: Answered, allowed: bool, what: str) -> None:
    if allowed:
        assert answer.status not in {401, 403}, f"{what} is refused: {answer.body!r}"
        assert answer.status < 500 or answer.status == 503, f"{what} is a defect"
    else:
        assert answer.status == 403, f"{what} is let in: {answer.status} {answer.body!r}"


@pytest.mark.promise("P10")
async def test_every_row_of_the_api_lets_in_exactly_the_roles_that_have_its_right(server: Server) -> None:
    tried = 0
    for row in server.rows:
        name = f"{row.method} {row.path}"
        if row.right is None:
            assert name in WITHOUT_RIGHT, f"{name} has no right: say in this test what it looks at"
            continue
        for role, glob in server.credentials:
            for state in (OWN, FOREIGN):
                address, has_state = address_of(row, state)
                allowed = has(role, glob, row.right, state if has_state else EVERY_STATE)
                # A body that is not JSON: who is let in learns that, and nothing is done.
                answer = await server.ask(role, glob, row.method, address, b"{")
                check(answer, allowed, f"{name} by {role.value} of {glob} on {state}")
                tried += 1
    assert tried > 500, "the table was read"


@pytest.mark.promise("P10")
async def test_no_row_answers_without_a_token_or_with_a_wrong_one(server: Server) -> None:
    wrong: Iterator[dict[str, str]] = iter(
        (
            {},
            {"authorization": "Bearer x"},
            {"authorization": f"Bearer ilk_{'0' * 12}_{'a' * 43}"},
            {"authorization": "Basic eA=="},
        )
    )
    for headers in wrong:
        for row in server.rows:
            if row.is_open:
                assert f"{row.method} {row.path}" in WITHOUT_RIGHT
                continue
            address, _ = address_of(row, OWN)
            answer = await ask(server.app, row.method, address, headers={**headers, "host": "127.0.0.1"}, body=b"{")
            assert answer.status == 401, (row.path, answer.status)


@pytest.mark.promise("P10")
async def test_every_method_of_terraforms_protocol_lets_in_exactly_the_roles_that_have_its_right(
    server: Server,
) -> None:
    assert set(METHODS) == set(PLAIN)
    for method, right in PLAIN.items():
        for role, glob in server.credentials:
            for state in (OWN, FOREIGN):
                answer = await server.ask(role, glob, method, f"/state/{state}", b"{")
                check(answer, has(role, glob, right, state), f"{method} by {role.value} of {glob} on {state}")


@pytest.mark.promise("P10")
async def test_a_lock_for_more_than_a_plan_needs_the_right_to_apply(server: Server) -> None:
    for operation, right in (("OperationTypePlan", Right.PLAN), ("OperationTypeApply", Right.APPLY), ("", Right.APPLY)):
        for role, glob in server.credentials:
            for state in (OWN, FOREIGN):
                body = json.dumps({"ID": f"{role.value}-{operation}", "Operation": operation, "Who": "a@b"}).encode()
                answer = await server.ask(role, glob, "LOCK", f"/state/{state}?wait=0", body)
                check(
                    answer, has(role, glob, right, state), f"LOCK for {operation} by {role.value} of {glob} on {state}"
                )


@pytest.mark.promise("P10")
async def test_every_row_of_the_cloud_api_lets_in_exactly_the_roles_that_have_its_right(server: Server) -> None:
    for row in ROWS:
        if row.right is None:
            assert row.answer in TFE_WITHOUT_RIGHT, f"{row.path} has no right: say in this test what it looks at"
            continue
        for role, glob in server.credentials:
            for state in (OWN, FOREIGN):
                answer = await server.ask(role, glob, row.method, TFE_BASE + cloud_path(row.path, state), b"{")
                what = f"{row.method} {row.path} by {role.value} of {glob} on {state}"
                if has(role, glob, row.right, state):
                    assert answer.status not in {401, 403}, f"{what} is refused: {answer.body!r}"
                else:
                    assert answer.status == 403, f"{what} is let in: {answer.status} {answer.body!r}"


def cloud_path(path: str, state: str) -> str:
    organization, _, name = state.partition("/")
    values: dict[str, Any] = {
        "organization": organization,
        "name": name,
        "workspace": str(WorkspaceId(state=state)),
        "version": str(VersionId(state=state, number=1)),
        "output": str(OutputId(state=state, number=1, name="x")),
        "secret": "x",
    }
    return path.format(**values)


async def test_every_route_of_the_application_is_tried_here_or_said_to_be_open(server: Server) -> None:
    known = {
        *OPEN, *ELSEWHERE, "/metrics", "/state/{name:path}", f"{BASE}/{{path:path}}", f"{TFE_BASE}/{{path:path}}",
        *(BASE + row.path for row in server.rows), *(TFE_BASE + row.path for row in ROWS),
    }  # fmt: skip
    found = {route.path for route in server.app.routes if isinstance(route, Route)}
    assert found - known == set(), "a route that nobody tried with every role"
    assert len(found) == len(server.app.routes), "routes of a kind that this test does not know"
    for path in sorted(OPEN & found):
        answer = await ask(server.app, "GET", path, headers={"host": "127.0.0.1"})
        for secret in (OWN, FOREIGN, "ilk_"):
            assert secret not in answer.body.decode()


def test_every_row_of_the_api_says_what_it_does(server: Server) -> None:
    assert [f"{row.method} {row.path}" for row in server.rows if not row.summary or row.summary.endswith(".")] == []


async def test_a_list_shows_nobody_the_states_of_others(server: Server) -> None:
    body = json.dumps({"ID": "a", "Operation": "OperationTypeApply", "Who": "a@b"}).encode()
    for state in (OWN, FOREIGN):
        await server.ask(Role.ADMIN, EVERY_STATE, "LOCK", f"/state/{state}?wait=0", body)
    for role in Role:
        for address in (f"{BASE}/locks/all", f"{BASE}/me", f"{TFE_BASE}/organizations/other/workspaces"):
            answer = await server.ask(role, GLOB, "GET", address)
            assert FOREIGN not in answer.body.decode(), address


@pytest.mark.promise("P10")
async def test_a_token_for_one_run_takes_no_lock_for_another_and_none_that_names_no_run(server: Server) -> None:
    run, other = "0123456789abcdef", "0123456789abcdeg"
    own = {"authorization": f"Bearer {server.of_run[run]}", "host": "127.0.0.1"}

    async def asks(name: str) -> int:
        event = Requested(ticket=name, run=name, who="ci@runner", lease_s=60, patience_s=60)
        body = msgspec.json.encode(told_event(event))
        answer = await ask(server.app, "POST", f"{BASE}/locks/events?state={OWN}", headers=own, body=body)
        return answer.status

    assert await asks(other) == 403
    made = json.dumps({"data": {"type": "workspaces", "attributes": {"name": "routing"}}}).encode()
    created = await server.ask(Role.ADMIN, EVERY_STATE, "POST", f"{TFE_BASE}/organizations/prod/workspaces", made)
    assert created.status == 201, created.body
    lock = json.dumps({"ID": "a", "Operation": "OperationTypeApply", "Who": "a@b"}).encode()
    for method, address in (
        ("LOCK", f"/state/{OWN}?wait=0"),
        ("POST", TFE_BASE + cloud_path("/workspaces/{workspace}/actions/lock", OWN)),
    ):
        assert (await ask(server.app, method, address, headers=own, body=lock)).status == 403, address
    assert await asks(run) == 200

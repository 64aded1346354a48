"""Tests of the way that each request to the JSON API goes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import msgspec
import pytest
from starlette.applications import Starlette

from interlock.errors import LeaseLost
from interlock.ids import RandomIds
from interlock.rights import Right, Role
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.server.api import Call, Endpoint, NoBody, NoQuery, OfState
from interlock.server.api.about import about_endpoints
from interlock.server.api.serving import api_routes
from interlock.server.api.table import AnyEndpoint
from interlock.store.memory import MemoryRecords
from interlock.testing.asking import ask
from interlock.testing.clock import FakeClock

MASTER = "the-own-token-of-this-server"


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    number: int


async def _double(call: Call[OfState, Thing]) -> Thing:
    """Doubles it.

    How is nobody's concern outside.
    """
    return Thing(number=call.body.number * 2)


async def _fenced(_call: Call[OfState, NoBody]) -> None:
    raise LeaseLost("fenced", why="another holds", fix="interlock plan {state}", state="prod")


async def _broken(_call: Call[NoQuery, NoBody]) -> None:
    raise ValueError("a secret of the server")


def _rows() -> list[AnyEndpoint]:
    return [
        *about_endpoints(),
        Endpoint(
            method="POST", path="/double", right=Right.APPLY, do=_double, query=OfState, body=Thing,
            answer=Thing, limit_bytes=100,
        ),
        Endpoint(
            method="POST", path="/fenced", right=Right.PLAN, do=_fenced, query=OfState, body=NoBody,
            answer=None,
        ),
        Endpoint(
            method="GET", path="/broken", right=None, do=_broken, query=NoQuery, body=NoBody,
            answer=None,
        ),
    ]  # fmt: skip


class Desk:
    def __init__(self, rows: Sequence[AnyEndpoint]) -> None:
        self.book = TokenBook(MemoryRecords(clock=FakeClock()), FakeClock(), RandomIds())
        tokens = BookTokens(self.book, SingleToken(MASTER))
        self.app = Starlette(routes=list(api_routes(rows, tokens=tokens, ending=asyncio.Event())))

    async def token(self, role: Role, states: str) -> dict[str, str]:
        _, text = await self.book.create(role, states=states, by="test")
        return {"authorization": f"Bearer {text.whole()}"}


@pytest.fixture
def desk() -> Desk:
    return Desk(_rows())


OWN = {"authorization": f"Bearer {MASTER}"}


async def test_a_request_is_done_for_who_has_the_right_on_the_state(desk: Desk) -> None:
    runner = await desk.token(Role.RUNNER, "prod/*")
    answer = await ask(desk.app, "POST", "/api/v1/double?state=prod/routing", sends={"number": 21}, headers=runner)
    assert (answer.status, answer.json()) == (200, {"number": 42})


@pytest.mark.parametrize(
    ("role", "states", "status"), [(Role.READER, "**", 403), (Role.RUNNER, "test/**", 403), (None, "", 401)]
)
async def test_nobody_else_is_served(desk: Desk, role: Role | None, states: str, status: int) -> None:
    headers = {} if role is None else await desk.token(role, states)
    answer = await ask(desk.app, "POST", "/api/v1/double?state=prod/routing", sends={"number": 21}, headers=headers)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["exit_status"] == 32


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/double?state=prod", b"{", 400),
        ("/double?state=prod", b'{"number": "many"}', 400),
        ("/double?state=prod", b'{"number": 1' + b" " * 100 + b"}", 413),
        ("/double?state=../etc", b'{"number": 1}', 400),
        ("/double", b'{"number": 1}', 400),
        ("/nothing", b"", 404),
        ("/me", b"", 405),
    ],
)
async def test_what_the_api_does_not_take_is_refused_in_its_own_words(
    desk: Desk, path: str, body: bytes, status: int
) -> None:
    answer = await ask(desk.app, "POST", f"/api/v1{path}", body=body, headers=OWN)
    assert answer.status == status
    assert answer.json()["kind"] == "UsageError"


async def test_a_refusal_tells_what_why_and_the_next_command(desk: Desk) -> None:
    answer = await ask(desk.app, "POST", "/api/v1/fenced?state=prod", headers=OWN)
    assert answer.status == 409
    assert answer.json() == {
        "type": "urn:interlock:problem:lease-lost",
        "title": "fenced",
        "status": 409,
        "detail": "another holds",
        "next": "interlock plan prod",
        "code": "lease-lost",
        "kind": "LeaseLost",
        "exit_status": 12,
        "facts": {"state": "prod"},
    }


async def test_a_refused_method_tells_which_ones_do_something(desk: Desk) -> None:
    for method, path, allowed in (
        ("TRACE", "/me", "GET, HEAD"),
        ("GET", "/double", "POST"),
        ("BREW", "/me", "GET, HEAD"),
    ):
        answer = await ask(desk.app, method, f"/api/v1{path}", headers=OWN)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)


@pytest.mark.promise("P10")
async def test_a_defect_tells_nothing_of_itself(desk: Desk) -> None:
    answer = await ask(desk.app, "GET", "/api/v1/broken", headers=OWN)
    assert answer.status == 500
    assert "secret" not in answer.body.decode()


async def test_who_asks_learns_who_it_is_and_what_it_may_do(desk: Desk) -> None:
    answer = await ask(desk.app, "GET", "/api/v1/me?state=prod/a", headers=await desk.token(Role.PLANNER, "prod/*"))
    assert answer.json()["rights"] == ["read-outputs", "read-state", "plan"]


async def test_the_document_describes_each_row(desk: Desk) -> None:
    document = (await ask(desk.app, "GET", "/api/v1/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    doubles = document["paths"]["/api/v1/double"]["post"]
    assert doubles["summary"] == "Doubles it"
    assert doubles["x-interlock-right"] == "apply"
    (state,) = doubles["parameters"]
    assert (state["name"], state["in"], state["required"]) == ("state", "query", True)
    assert re.search(state["schema"]["pattern"], "prod/routing@blue")
    assert not re.search(state["schema"]["pattern"], "prod/../routing")
    assert doubles["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Thing"}
    assert {"Thing", "Problem", "AboutMe"} <= set(document["components"]["schemas"])

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from interlock.drift.organisation import Organisation
from interlock.errors import AuthenticationFailed, BackendUnavailable, BudgetExhausted
from interlock.genesys.listings import Listing
from interlock.testing.clock import FakeClock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SKILLS = Listing(path="/routing/skills", page_size=2)


class Waits(FakeClock):
    """A clock whose sleeps are over at once."""

    async def sleep(self, seconds: float) -> None:
        self.slept = [*getattr(self, "slept", []), seconds]


@asynccontextmanager
async def asked(handler: Handler, clock: Waits, *, limit_s: float = 300.0) -> AsyncIterator[Organisation]:
    app = web.Application()
    app.router.add_route("*", "/r/run/token/api/v2/{rest:.*}", handler)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("/r/run/token"))
        yield Organisation(url, "client", clock=clock, session=session, limit_s=limit_s)


async def test_every_page_of_a_listing_is_read() -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        number = int(request.query["pageNumber"])
        return web.json_response({"entities": [{"id": f"{number}"}], "pageCount": 3})

    async with asked(serve, Waits()) as organisation:
        assert [each["id"] async for each in organisation.entities(SKILLS)] == ["1", "2", "3"]


async def test_a_listing_without_end_is_given_up() -> None:
    async def serve(_: web.Request) -> web.StreamResponse:
        return web.json_response({"entities": [{"id": "1"}], "pageCount": 10**9})

    async with asked(serve, Waits()) as organisation:
        with pytest.raises(BudgetExhausted, match="more than 200 pages"):
            [each async for each in organisation.entities(SKILLS)]


async def test_too_many_requests_are_waited_out_within_the_limit() -> None:
    refusals = iter([429, 429])

    async def serve(_: web.Request) -> web.StreamResponse:
        if next(refusals, None):
            return web.json_response({}, status=429, headers={"Retry-After": "7"})
        return web.json_response({"publishedVersion": {"id": "3.0"}})

    clock = Waits()
    async with asked(serve, clock) as organisation:
        assert await organisation.published("f") == "3.0"
    assert clock.slept == [7.0, 7.0]

    async def always(_: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=429, headers={"Retry-After": "90"})

    async with asked(always, Waits(), limit_s=60.0) as organisation:
        with pytest.raises(BudgetExhausted, match="time for asking"):
            await organisation.published("f")


@pytest.mark.parametrize(
    ("status", "error"), [(403, AuthenticationFailed), (401, AuthenticationFailed), (500, BackendUnavailable)]
)
async def test_refusals_say_why(status: int, error: type[Exception]) -> None:
    async def serve(_: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "missing audits:audit:view"}, status=status)

    async with asked(serve, Waits()) as organisation:
        with pytest.raises(error) as caught:
            await organisation.published("f")
        assert "missing audits:audit:view" in str(caught.value)


async def test_a_flow_that_is_gone_or_was_never_published_has_no_version() -> None:
    answers = iter([web.json_response({}, status=404), web.json_response({"id": "f"})])

    async def serve(_: web.Request) -> web.StreamResponse:
        return next(answers)

    async with asked(serve, Waits()) as organisation:
        assert await organisation.published("f") is None
        assert await organisation.published("f") is None


@pytest.mark.parametrize("body", ["<html>", "[]", '{"entities": 1}', '{"entities": [1, null]}'])
async def test_odd_answers_do_no_harm(body: str) -> None:
    async def serve(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body)

    async with asked(serve, Waits()) as organisation:
        try:
            found: list[Any] = [each async for each in organisation.entities(SKILLS)]
        except BackendUnavailable:
            assert body == "<html>"
        else:
            assert found in ([], [1, None])


async def test_the_audit_log_is_asked_polled_and_read_page_by_page(now: datetime) -> None:
    states = iter(["Queued", "Running", "Succeeded"])
    row = {"eventDate": "2026-11-24T08:00:00Z", "action": "Update", "entity": {"id": "q"}, "user": {"name": "Ana"}}

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            assert "interval" in await request.json()
            return web.json_response({"id": "t-1"}, status=202)
        if request.path.endswith("/t-1"):
            return web.json_response({"state": next(states)})
        second = request.query.get("cursor") == "next"
        return web.json_response({"entities": [row], **({} if second else {"cursor": "next"})})

    async with asked(serve, Waits()) as organisation:
        pages = [page async for page in organisation.events(now, now)]
    assert [[event.who for event in page] for page in pages] == [["Ana"], ["Ana"]]


async def test_an_audit_query_that_fails_is_told(now: datetime) -> None:
    async def serve(_: web.Request) -> web.StreamResponse:
        return web.json_response({"id": "t-1", "state": "Failed"})

    async with asked(serve, Waits()) as organisation:
        with pytest.raises(BackendUnavailable, match="ended as failed"):
            [page async for page in organisation.events(now, now)]


async def test_an_organisation_that_is_not_there_is_unavailable() -> None:
    async with aiohttp.ClientSession() as session:
        organisation = Organisation("http://127.0.0.1:9", "client", clock=Waits(), session=session)
        with pytest.raises(BackendUnavailable, match="could not be asked"):
            await organisation.published("f")

"""Serves the TFE API that `cloud {}` and `backend "remote"` speak, for runs that are local. A hand: Starlette.

Each request goes the same way: which row of the table, who asks, which state the address names, whether that one may,
then the row's own answer. Whatever fails is told as a JSON:API error, which clients print; a defect tells nothing of
itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from interlock.errors import AuthenticationFailed, InterlockError, UsageError
from interlock.rights import Right
from interlock.rights.callers import Caller, Tokens, credentials_in
from interlock.server.api.serving import BODY_TIMEOUT_S, TooLarge, WrongMethod, read_body
from interlock.server.tfe.answers import Answers
from interlock.server.tfe.asked import Asked
from interlock.server.tfe.bodies import Unprocessable
from interlock.server.tfe.login import HOST
from interlock.server.tfe.names import NotFound, parse_output_id, parse_version_id, parse_workspace_id, state_of
from interlock.server.tfe.table import BASE, REFUSED, ROWS, Row
from interlock.server.tfe.telling import refusal, respond

_log = logging.getLogger(__name__)


class _Nobody(msgspec.Struct, frozen=True):
    """Who asks an open address: may do nothing."""

    who: str = ""
    key: str = ""

    def check(self, right: Right, state: str) -> None:
        """See `Caller.check`."""
        raise AuthenticationFailed("nobody has said who asks", why=f"{right.value} on {state} needs a token")


def tfe_routes(answers: Answers, tokens: Tokens, *, is_https: bool) -> list[Route]:
    """Return the routes of the TFE API.

    Args:
        answers: What is answered.
        tokens: Who may ask.
        is_https: Clients reach this server by TLS, here or at a proxy.
    """
    by_path: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in ROWS:
        assert row.method not in by_path[row.path], f"{row.method} {row.path} is there twice"
        by_path[row.path][row.method] = row

    async def unknown(request: Request) -> Response:
        return refusal(request.url.path, _not_served(request.url.path))

    return [
        *(Route(BASE + path, _Address(rows, answers, tokens, is_https=is_https)) for path, rows in by_path.items()),
        Route(f"{BASE}/{{path:path}}", unknown, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
    ]


class _Address:
    """All rows of one address, as an ASGI application."""

    def __init__(self, rows: Mapping[str, Row], answers: Answers, tokens: Tokens, *, is_https: bool) -> None:
        self._rows = rows
        self._answers = answers
        self._tokens = tokens
        self._is_https = is_https

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except InterlockError as error:
            response = refusal(request.url.path, error)
        except ClientDisconnect:
            return
        except Exception:  # noqa: BLE001 - whatever it is, it is logged and not told
            _log.exception("%s %s failed", request.method, request.url.path)
            response = refusal(request.url.path, InterlockError("the server has a defect", why="its log tells more"))
        if request.method == "HEAD":
            response = Response(status_code=response.status_code, headers=dict(response.headers))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        row = self._rows.get("GET" if request.method == "HEAD" else request.method)
        if row is None:
            raise WrongMethod(request.method, self._rows)
        asked = await self._asked(row, request)
        told = await getattr(self._answers, row.answer)(asked)
        return told if isinstance(told, Response) else respond(told)

    async def _asked(self, row: Row, request: Request) -> Asked:
        credentials = credentials_in(request.headers)
        caller: Caller = _Nobody() if row.is_open else await self._tokens.identify(*credentials)
        named = {name: str(value) for name, value in request.path_params.items()}
        state, session = state_named(named)
        if row.right is not None:
            caller.check(row.right, state)

        async def body() -> bytes:
            return await read_body(request, row.body_bytes)

        async def drain() -> None:
            await _drain(request, row.body_bytes)

        return Asked(
            caller=caller,
            credentials=credentials,
            state=state,
            session=session,
            named=named,
            query=dict(request.query_params),
            base=self._base(request),
            request=request,
            body=body,
            drain=drain,
        )

    def _base(self, request: Request) -> str:
        """Return how the client reaches us; empty when it does not say, and then addresses are told without it."""
        host = request.headers.get("host", "")
        return f"{'https' if self._is_https else 'http'}://{host}" if HOST.match(host) else ""


def state_named(named: Mapping[str, str]) -> tuple[str, str]:
    """Return the state that the parts of an address name, and the session; empty where they name none.

    Raises:
        NotFound: An id is not one of ours.
        UsageError: No state can be called so.
    """
    if "workspace" in named:
        found = parse_workspace_id(named["workspace"])
        return found.state, found.session
    if "version" in named:
        return parse_version_id(named["version"]).state, ""
    if "output" in named:
        return parse_output_id(named["output"]).state, ""
    if "name" in named:
        return state_of(named["organization"], named["name"]), ""
    return "", ""


def _not_served(path: str) -> UsageError:
    """Return why an address is not one of ours; for what a client may go without it is a 404."""
    words = set(path.split("/"))
    found = next((row for row in REFUSED if row[0] in words), None)
    if found is None:
        return NotFound("the API has no such address here", why="docs/reference/cloud-api.md lists those that it has")
    return Unprocessable(found[1], why=found[2])


async def _drain(request: Request, limit: int) -> None:
    """Read a body and keep nothing of it.

    Raises:
        TooLarge: It has more than `limit` bytes.
        UsageError: It did not arrive in time.
    """
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise TooLarge("the request is too large", why=f"the limit is {limit} bytes")
    except TimeoutError as error:
        raise UsageError("the request was not received", why=f"it took over {BODY_TIMEOUT_S:g} s") from error

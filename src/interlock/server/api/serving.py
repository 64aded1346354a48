"""Serves a table of endpoints. A hand: Starlette.

Each request goes the same way: who asks, what is asked, whether that one may, then the endpoint's own function.
Whatever fails is told as a problem (RFC 9457); a defect tells nothing of itself to the client.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from math import isnan
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from interlock import __version__
from interlock.api.problem import PROBLEM_TYPE, problem_of
from interlock.api.versions import Framed, take_apart
from interlock.bounded import decode_json
from interlock.coordinator import check_state_name
from interlock.errors import AuthenticationFailed, BackendUnavailable, InterlockError, UsageError, reason_of
from interlock.listening.room import go_first, take_room_for_body
from interlock.rights.callers import Caller, Tokens, credentials_in
from interlock.rights.roles import EVERY_STATE
from interlock.server.api.openapi import openapi
from interlock.server.api.table import BASE, AnyEndpoint, Call, NoBody, OfState, Sent

BODY_TIMEOUT_S: Final = 300.0
"""Seconds for a body: a large state over a slow line."""
RETRY_AFTER_S: Final = 1
_log = logging.getLogger(__name__)
_JSON = "application/json"
_METHOD_SHOWN = 20


class TooLarge(UsageError):
    """More was sent than is taken."""

    http_status = 413


class WrongMethod(UsageError):
    """This address does other things.

    Args:
        asked: The method that was asked for.
        served: Those that do something.
    """

    http_status = 405

    def __init__(self, asked: str, served: Iterable[str]) -> None:
        methods = [*dict.fromkeys(each for one in served for each in ([one, "HEAD"] if one == "GET" else [one]))]
        super().__init__(f"{asked[:_METHOD_SHOWN]!a} does nothing here", why=f"the address takes {', '.join(methods)}")
        self.headers = {"allow": ", ".join(methods)}
        """RFC 9110 wants it with every 405."""


class NotFound(UsageError):
    """There is no such address, or nothing under this name."""

    http_status = 404


class _Nobody(Struct, frozen=True):
    """Who asks an endpoint that needs no token: may do nothing."""

    who: str = ""
    key: str = ""

    def check(self, right: object, state: str) -> None:
        """See `Caller.check`."""
        raise AuthenticationFailed("nobody has said who asks", why=f"{right} on {state} needs a token")


Holds = Callable[[Caller, str], Awaitable[bool]]
"""Says whether a caller holds a state."""


async def _nobody_holds(_caller: Caller, _state: str) -> bool:
    return False


def api_routes(
    endpoints: Sequence[AnyEndpoint], *, tokens: Tokens, ending: asyncio.Event, holds: Holds = _nobody_holds
) -> list[Route]:
    """Return the routes of a table of endpoints, and of the document that describes it.

    Args:
        endpoints: The whole table.
        tokens: Who may ask.
        ending: Set when the server ends: who waits is told to come back.
        holds: Whose states wait for no stranger's while they are written.

    Raises:
        AssertionError: Two rows have one method and path.
    """
    by_path: dict[str, dict[str, AnyEndpoint]] = defaultdict(dict)
    for endpoint in endpoints:
        assert endpoint.method not in by_path[endpoint.path], f"{endpoint.method} {endpoint.path} is there twice"
        by_path[endpoint.path][endpoint.method] = endpoint
    document = msgspec.json.encode(openapi(endpoints, version=__version__))

    async def described(_request: Request) -> Response:
        return Response(document, media_type=_JSON)

    return [
        Route(f"{BASE}/openapi.json", described, methods=["GET"]),
        *(Route(BASE + path, _Door(rows, tokens, ending, holds)) for path, rows in by_path.items()),
        Route(f"{BASE}/{{path:path}}", _Nowhere()),
    ]


class _Nowhere:
    """Answers at all addresses that no row has, whatever the method."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        error = NotFound("the API has no such address", fix=f"curl SERVER{BASE}/openapi.json    lists them")
        await _refused(error)(scope, receive, send)


class _Door:
    """All endpoints of one path, as an ASGI application."""

    def __init__(self, rows: Mapping[str, AnyEndpoint], tokens: Tokens, ending: asyncio.Event, holds: Holds) -> None:
        self._rows = rows
        self._holds = holds
        self._tokens = tokens
        self._ending = ending

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except InterlockError as error:
            response = _refused(error.naming(request.query_params.get("state", ".")))
        except ClientDisconnect:
            return
        except Exception:  # noqa: BLE001 - a defect is told to the log, and its client hears that there is one
            _log.exception("%s %s failed", request.method, request.url.path)
            response = _refused(InterlockError("the server has a defect", why="its log tells more"))
        if request.method == "HEAD":
            response = Response(status_code=response.status_code, headers=dict(response.headers))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        endpoint = self._rows.get("GET" if request.method == "HEAD" else request.method)
        if endpoint is None:
            raise WrongMethod(request.method, self._rows)
        caller = await self._caller(endpoint, request)
        query = _query(endpoint, request)
        _check(endpoint, caller, query)
        if endpoint.body is Framed and await self._holds(caller, query.state):
            go_first()
        body = await _body(endpoint, request)
        address = request.client.host if request.client else ""
        call = Call(caller=caller, query=query, body=body, address=address, headers=request.headers)
        work = endpoint.do(call)
        return _response(await (self._unless_gone(work, request) if endpoint.waits else work))

    async def _caller(self, endpoint: AnyEndpoint, request: Request) -> Caller:
        if endpoint.is_open:
            return _Nobody()
        return await self._tokens.identify(*credentials_in(request.headers))

    async def _unless_gone(self, work: Awaitable[object], request: Request) -> object:
        """Wait until its client is gone or the server ends; the waiting is cancelled then.

        Raises:
            ClientDisconnect: Nobody waits for the answer any more.
            BackendUnavailable: The server ends.
        """
        task = asyncio.ensure_future(work)
        gone, end = asyncio.ensure_future(_disconnected(request)), asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait({task, gone, end}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ClientDisconnect if gone.done() else BackendUnavailable("this server ends", fix="ask again")
        finally:
            for each in (task, gone, end):
                each.cancel()
            with suppress(asyncio.CancelledError, InterlockError):
                await task


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check(endpoint: AnyEndpoint, caller: Caller, query: object) -> None:
    state = query.state if isinstance(query, OfState) else None
    if state is not None:
        check_state_name(state)
    if endpoint.right is not None:
        caller.check(endpoint.right, EVERY_STATE if state is None else state)


def _query(endpoint: AnyEndpoint, request: Request) -> Any:
    try:
        query = msgspec.convert(dict(request.query_params), endpoint.query, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError("the address is not one of the API", why=reason_of(error)) from error
    for name in query.__struct_fields__:
        value = getattr(query, name)
        if isinstance(value, float) and isnan(value):  # no comparison holds for it: a wait of that length never ends
            raise UsageError("the address is not one of the API", why=f"{name} is not a number")
    return query


async def _body(endpoint: AnyEndpoint, request: Request) -> Any:
    if endpoint.body is NoBody:
        return NoBody()
    if endpoint.body is Framed:
        return take_apart(await _received(request, endpoint.limit_bytes))
    sent = await read_body(request, endpoint.limit_bytes)
    if endpoint.body is bytes:
        return sent
    try:
        return decode_json(sent, type=endpoint.body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError("what was sent is not what this address takes", why=reason_of(error)) from error


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body of a request, within a limit of bytes and `BODY_TIMEOUT_S`.

    Raises:
        TooLarge: It has more than `limit` bytes.
        UsageError: It did not arrive in time.
    """
    return (await _received(request, limit)).getvalue()  # no copy: BytesIO gives its buffer away


async def _received(request: Request, limit: int) -> BytesIO:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    await take_room_for_body(request, limit)
    body = BytesIO()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body.write(chunk)
                if body.tell() > limit:
                    raise _too_large(limit)
    except TimeoutError as error:
        raise UsageError("the request was not received", why=f"it took over {BODY_TIMEOUT_S:g} s") from error
    return body


def _too_large(limit: int) -> TooLarge:
    return TooLarge("the request is too large", why=f"the limit is {limit} bytes")


def _response(answer: object) -> Response:
    match answer:
        case None:
            return Response(status_code=204)
        case Sent():
            headers = dict(answer.headers)
            return Response(answer.body, answer.status, headers=headers, media_type=answer.media_type)
        case _:
            return Response(msgspec.json.encode(answer), media_type=_JSON)


def _refused(error: InterlockError) -> Response:
    headers = dict(error.headers) if isinstance(error, WrongMethod) else {}
    if isinstance(error, BackendUnavailable):
        headers["retry-after"] = str(RETRY_AFTER_S)
    if error.http_status == AuthenticationFailed.http_status:
        headers["www-authenticate"] = 'Bearer realm="interlock"'
    body = msgspec.json.encode(problem_of(error))
    return Response(body, error.http_status, headers=headers, media_type=PROBLEM_TYPE)

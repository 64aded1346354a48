"""Codes of `terraform login`, kept until they are used, and the page that gives them. A hand.

One record a code, `login/<SHA-256 of it>`. Codes that were not used are removed when the next is made.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from interlock.bounded import decode_json
from interlock.clock import Clock
from interlock.errors import AuthenticationFailed, BackendUnavailable, InterlockError, UsageError
from interlock.ids import Ids
from interlock.rights.callers import Tokens
from interlock.server.api.serving import read_body
from interlock.server.tfe.login import (
    CODE_S,
    PAGE,
    SAFE_HEADERS,
    SCHEMA,
    TOKEN_PATH,
    BadGrant,
    Login,
    check_verifier,
    discovery,
    page,
    read_wish,
    redirect_of,
)
from interlock.store.records import Mismatch, Record, RecordStore

FORM_BYTES_MAX = 16 * 1024
LOGINS_MAX = 100
"""Codes that are good at one time; more people than log in within two minutes."""
_PREFIX = "login/"
_NONCE = bytes(12)  # each key encrypts one token
_UNAVAILABLE, _SEE_OTHER = 503, 303
_log = logging.getLogger(__name__)


class LoginBook:
    """The codes of a store.

    Args:
        records: Where they are kept.
        clock: Of the store.
        ids: For codes.
    """

    def __init__(self, records: RecordStore, clock: Clock, ids: Ids) -> None:
        self._records = records
        self._clock = clock
        self._ids = ids

    async def give(self, token: str, *, redirect: str, challenge: str) -> str:
        """Return a code for a token.

        Raises:
            BackendUnavailable: Too many were given in the last two minutes.
        """
        await self._forget_old()
        code = self._ids.secret()
        sealed = _cipher(code).encrypt(_NONCE, token.encode(), None)
        login = Login(redirect=redirect, challenge=challenge, sealed=sealed, at=self._clock.now())
        await self._records.swap(_key(code), expected=None, value=msgspec.json.encode(login))
        return code

    async def take(self, code: str, *, verifier: str, redirect: str) -> str:
        """Return the token behind a code, once; the code is used up, also when it is the wrong one who brings it.

        Raises:
            BadGrant: It is not good.
        """
        record = await self._records.get(_key(code))
        if record is None:
            raise BadGrant("the code is not good", why="it was used, or is not one of this server")
        try:
            await self._records.swap(record.key, expected=record.version, value=None)
        except Mismatch as error:
            raise BadGrant("the code is not good", why="it was used") from error
        login = _decoded(record)
        if (self._clock.now() - login.at).total_seconds() > CODE_S:
            raise BadGrant("the code is not good", why="it came too late")
        check_verifier(login, verifier=verifier, redirect=redirect)
        return bytes(_cipher(code).decrypt(_NONCE, login.sealed, None)).decode()

    async def _forget_old(self) -> None:
        found = await self._records.list(_PREFIX, limit=LOGINS_MAX + 1)
        old = [each for each in found if self._is_old(each)]
        for record in old:
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=None)
        if len(found) - len(old) > LOGINS_MAX:
            raise BackendUnavailable("too many people log in", why=f"{LOGINS_MAX} at once", fix="try again in a minute")

    def _is_old(self, record: Record) -> bool:
        try:
            return (self._clock.now() - _decoded(record).at).total_seconds() > CODE_S
        except BackendUnavailable:  # nobody can use it
            return True


def login_routes(book: LoginBook, tokens: Tokens) -> list[Route]:
    """Return the routes of service discovery and of `terraform login`.

    Args:
        book: Keeps codes.
        tokens: Says whether a token is good.
    """
    found = msgspec.json.encode(discovery())

    async def discover(_request: Request) -> Response:
        return Response(found, media_type="application/json", headers=SAFE_HEADERS)

    async def ask(request: Request) -> Response:
        try:
            return await (_give(request, book, tokens) if request.method == "POST" else _show(request))
        except InterlockError as error:
            return _refused_page(error)

    async def token(request: Request) -> Response:
        try:
            return await _exchange(request, book)
        except InterlockError as error:
            is_grant = isinstance(error, BadGrant)
            told = {"error": error.code if is_grant else "invalid_request", "error_description": str(error)}
            status = _UNAVAILABLE if isinstance(error, BackendUnavailable) else error.http_status
            return Response(msgspec.json.encode(told), status, media_type="application/json", headers=SAFE_HEADERS)

    return [
        Route("/.well-known/terraform.json", discover, methods=["GET"]),
        Route(PAGE, _guarded(ask), methods=["GET", "POST"]),
        Route(TOKEN_PATH, _guarded(token), methods=["POST"]),
    ]


def _guarded(answer: Any) -> Any:
    """Return an endpoint that tells nothing of a defect."""

    async def guarded(request: Request) -> Response:
        try:
            told: Response = await answer(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:  # noqa: BLE001 - whatever it is, it is logged and not told
            _log.exception("%s %s failed", request.method, request.url.path)
            return Response("the server has a defect; its log tells more\n", 500, headers=SAFE_HEADERS)
        return told

    return guarded


async def _show(request: Request) -> Response:
    text, headers = page(read_wish(request.query_params))
    return Response(text, media_type="text/html", headers=headers)


async def _give(request: Request, book: LoginBook, tokens: Tokens) -> Response:
    wish = read_wish(request.query_params)
    shown = (await _form(request)).get("token", "").strip()
    try:
        await tokens.identify("", shown)
    except AuthenticationFailed as error:
        text, headers = page(wish, refused=f"{error.what}{f': {error.why}' if error.why else ''}")
        return Response(text, error.http_status, media_type="text/html", headers=headers)
    code = await book.give(shown, redirect=wish.redirect, challenge=wish.challenge)
    return Response(status_code=_SEE_OTHER, headers={**SAFE_HEADERS, "Location": redirect_of(wish, code)})


async def _exchange(request: Request, book: LoginBook) -> Response:
    form = await _form(request)
    if form.get("grant_type") != "authorization_code":
        raise UsageError("only a code is taken for a token", why="grant_type is not authorization_code")
    token = await book.take(
        form.get("code", ""), verifier=form.get("code_verifier", ""), redirect=form.get("redirect_uri", "")
    )
    told = {"access_token": token, "token_type": "Bearer"}
    return Response(msgspec.json.encode(told), media_type="application/json", headers=SAFE_HEADERS)


async def _form(request: Request) -> Mapping[str, str]:
    """Read a form.

    Raises:
        UsageError: It is not one.
    """
    body = await read_body(request, FORM_BYTES_MAX)
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=20))
    except ValueError as error:
        raise UsageError("what was sent is not a form") from error


def _refused_page(error: InterlockError) -> Response:
    text = "\n".join(part for part in (error.what, error.why, error.fix) if part)
    return Response(f"{text}\n", error.http_status, media_type="text/plain", headers=SAFE_HEADERS)


def _cipher(code: str) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(hashlib.sha256(f"interlock terraform login {code}".encode()).digest())


def _key(code: str) -> str:
    return _PREFIX + hashlib.sha256(code.encode()).hexdigest()


def _decoded(record: Record) -> Login:
    try:
        login = decode_json(record.value, type=Login)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackendUnavailable("the record of a login cannot be read", fix="interlock doctor") from error
    if login.schema > SCHEMA:
        raise BackendUnavailable("a newer Interlock wrote the record of a login", fix="upgrade Interlock")
    return login

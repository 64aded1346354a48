"""Codes of `terraform login`, kept until they are used, and the page that gives them. A hand.

One record a code, `login/<SHA-256 of it>`. Codes that were not used are removed when the next is made.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

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
    AT_PROVIDER,
    BACK,
    CODE_S,
    HOST,
    PAGE,
    SAFE_HEADERS,
    SCHEMA,
    TOKEN_PATH,
    BadGrant,
    Begun,
    Challenge,
    Login,
    check_verifier,
    cookie_of,
    discovery,
    no_cookie,
    page,
    read_begun,
    read_wish,
    redirect_of,
)
from interlock.store.checksums import RecordDamaged
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
        found = await self._kept()
        old = [each for each in found if self._is_old(each)]
        for record in old:
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=None)
        if len(found) - len(old) > LOGINS_MAX:
            raise BackendUnavailable("too many people log in", why=f"{LOGINS_MAX} at once", fix="try again in a minute")

    async def _kept(self) -> list[Record]:
        """Return the records of codes. A damaged one is good for nobody, and would end every login: it goes with them.

        Raises:
            BackendUnavailable: They cannot be read.
        """
        for _ in range(LOGINS_MAX):
            try:
                return await self._records.list(_PREFIX, limit=LOGINS_MAX + 1)
            except RecordDamaged as error:
                with suppress(Mismatch):  # another server was first
                    await self._records.replace_damaged(error.key, b"{}")
        return await self._records.list(_PREFIX, limit=LOGINS_MAX + 1)

    def _is_old(self, record: Record) -> bool:
        try:
            return (self._clock.now() - _decoded(record).at).total_seconds() > CODE_S
        except BackendUnavailable:  # nobody can use it
            return True


class Providers(Protocol):
    """The providers of identities at which people log in."""

    async def issuers(self) -> Sequence[str]:
        """Return their addresses."""
        ...

    async def begin(self, issuer: str, back: str) -> tuple[str, Challenge]:
        """Return where a browser goes to log in there, and by what the answer is known.

        Args:
            issuer: The provider.
            back: Where it sends the browser then.

        Raises:
            UsageError: No rule names it, or it offers no such login.
            BackendUnavailable: It gives no usable answer.
        """
        ...

    async def end(self, begun: Begun, back: str, code: str) -> str:
        """Return the token of this server for the code that a provider gave.

        Raises:
            AuthenticationFailed: The code is not good, or no rule is for this person.
            Forbidden: Likewise.
            BackendUnavailable: The provider gives no usable answer.
        """
        ...


def login_routes(
    book: LoginBook, tokens: Tokens, *, providers: Providers | None = None, is_https: bool = False
) -> list[Route]:
    """Return the routes of service discovery and of `terraform login`.

    Args:
        book: Keeps codes.
        tokens: Says whether a token is good.
        providers: Where people may log in instead of showing a token; None for nowhere.
        is_https: Clients reach this server by TLS.
    """
    found = msgspec.json.encode(discovery())

    async def discover(_request: Request) -> Response:
        return Response(found, media_type="application/json", headers=SAFE_HEADERS)

    async def ask(request: Request) -> Response:
        try:
            is_sent = request.method == "POST"
            return await (_give(request, book, tokens, providers) if is_sent else _show(request, providers))
        except InterlockError as error:
            return _refused_page(error)

    async def leave(request: Request) -> Response:
        try:
            return await _leave(request, providers, is_https=is_https)
        except InterlockError as error:
            return _refused_page(error)

    async def come_back(request: Request) -> Response:
        try:
            return await _come_back(request, book, providers, is_https=is_https)
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
        Route(AT_PROVIDER, _guarded(leave), methods=["GET"]),
        Route(BACK, _guarded(come_back), methods=["GET"]),
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


async def _show(request: Request, providers: Providers | None) -> Response:
    text, headers = await _page(request, providers)
    return Response(text, media_type="text/html", headers=headers)


async def _page(request: Request, providers: Providers | None, *, refused: str = "") -> tuple[str, dict[str, str]]:
    query = dict(request.query_params)
    issuers = () if providers is None else await providers.issuers()
    return page(read_wish(query), refused=refused, issuers=issuers, query=query)


async def _leave(request: Request, providers: Providers | None, *, is_https: bool) -> Response:
    """Send the browser to a provider; what belongs to the login goes with it in a cookie."""
    query = dict(request.query_params)
    issuer = query.pop("issuer", "")
    read_wish(query)
    if not _is_from_our_page(request):  # a provider that knows the browser would ask the person nothing
        return Response(status_code=_SEE_OTHER, headers={**SAFE_HEADERS, "Location": f"{PAGE}?{urlencode(query)}"})
    if providers is None or issuer not in await providers.issuers():
        raise UsageError("nobody logs in there", why="no trust rule of this server names that provider")
    address, challenge = await providers.begin(issuer, _back(request, is_https=is_https))
    cookie = cookie_of(Begun(query=query, issuer=issuer, challenge=challenge), is_https=is_https)
    return Response(
        status_code=_SEE_OTHER,
        # no-referrer: the provider need not see what Terraform asked for
        headers={**SAFE_HEADERS, "Referrer-Policy": "no-referrer", "Location": address, "Set-Cookie": cookie},
    )


def _is_from_our_page(request: Request) -> bool:
    """Say whether the person followed the link on our own page; the listener refuses the pages of others.

    Source: Fetch Metadata, which browsers send to hosts that they trust (https, loopback); others hear of the page.
    """
    site = request.headers.get("sec-fetch-site")
    return site == "same-origin" if site is not None else "referer" in request.headers


async def _come_back(request: Request, book: LoginBook, providers: Providers | None, *, is_https: bool) -> Response:
    """Take a provider's answer, and send the browser to Terraform with a code of ours."""
    begun, code = read_begun(request.cookies, request.query_params, is_https=is_https)
    wish = read_wish(begun.query)
    if providers is None or begun.issuer not in await providers.issuers():
        raise UsageError("nobody logs in there", why="no trust rule of this server names that provider")
    token = await providers.end(begun, _back(request, is_https=is_https), code)
    ours = await book.give(token, redirect=wish.redirect, challenge=wish.challenge)
    headers = {"Location": redirect_of(wish, ours), "Set-Cookie": no_cookie(is_https=is_https)}
    return Response(status_code=_SEE_OTHER, headers={**SAFE_HEADERS, "Referrer-Policy": "no-referrer", **headers})


def _back(request: Request, *, is_https: bool) -> str:
    """Return where a provider sends the browser: this server, by the name by which the person came."""
    host = request.headers.get("host", "")
    if not HOST.match(host):
        raise UsageError("the request does not name this server", why="its Host cannot be part of an address")
    return f"{'https' if is_https else 'http'}://{host}{BACK}"


async def _give(request: Request, book: LoginBook, tokens: Tokens, providers: Providers | None) -> Response:
    wish = read_wish(request.query_params)
    shown = (await _form(request)).get("token", "").strip()
    try:
        await tokens.identify("", shown)
    except AuthenticationFailed as error:
        refused = f"{error.what}{f': {error.why}' if error.why else ''}"
        text, headers = await _page(request, providers, refused=refused)
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

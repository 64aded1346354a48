"""`interlock login --browser`: a person logs in at a provider in the browser of this machine. A hand.

OAuth 2.0 with a code and PKCE, as programs of a person's own machine do it (RFC 8252): the provider sends the browser
to a port that listens on loopback for as long as the login lasts.

- Only S256, and only one answer with our `state` is taken; others are refused, and the login goes on.
- The identity token must have our `nonce`, and an answer that names its issuer (RFC 9207) must name ours: so nobody
  can slip the login of somebody else, or of another provider, in here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from interlock.backend.serving import serving
from interlock.bounded import read_json
from interlock.compose.provider import (
    Given,
    Provider,
    exchanged,
    find_provider,
    identity_of,
    place_of,
    post,
    refused,
)
from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError, command
from interlock.ids import Ids
from interlock.listening.strangers import ForBrowsers
from interlock.server.tfe.login import Challenge
from interlock.trust.sending import find_origin

REDIRECT: Final = "http://127.0.0.1/callback"
WAIT_S: Final = 600.0
"""So long the person has at the provider."""
_HOSTS: Final = frozenset({"127.0.0.1", "localhost"})
_OK = 200
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address of this page has the code
    "X-Content-Type-Options": "nosniff",
}


async def browser_login(
    server: str,
    tell: Callable[[str], None],
    *,
    ids: Ids,
    issuer: str | None = None,
    scope: str = "openid profile",
    redirect: str = REDIRECT,
    wait_s: float = WAIT_S,
) -> Given:
    """Let a person log in; return what the server gives.

    Args:
        server: Its address.
        tell: Is given the address to open.
        ids: For what nobody may guess.
        issuer: Which provider, where the server trusts several.
        scope: What the provider is asked to tell of the person.
        redirect: What is registered at the provider; without a port, any that is free.
        wait_s: Seconds that the person has.

    Raises:
        UsageError: The server has no login for people, the provider does not offer this one, or `redirect` leads
            elsewhere.
        AuthenticationFailed: The person said no, was too late, or the server has no rule for them.
        BackendUnavailable: The server or the provider gives no usable answer.
    """
    usual = command("login", server, "--browser")
    asked = _checked(redirect, usual)
    again = usual if redirect == REDIRECT else command("login", server, "--browser", "--redirect", redirect)
    provider = await find_provider(server, issuer, again=again)
    page = page_of(provider, command("login", server, "--device", *(("--issuer", issuer) if issuer else ())))
    place_of(provider, "token_endpoint")  # before the person is bothered
    answer: asyncio.Future[str | AuthenticationFailed] = asyncio.get_running_loop().create_future()
    challenge = Challenge(state=ids.secret(), nonce=ids.secret(), verifier=ids.secret())
    app = Starlette(routes=[Route(asked.path, partial(_take, answer, challenge, provider))])
    browsers = ForBrowsers(callbacks=frozenset({asked.path.encode()}))
    async with _listening(app, asked.port, browsers, again) as port:
        back = f"http://{asked.hostname}:{port}{asked.path}"
        tell(address_of(page, {"client_id": provider.client_id, "redirect_uri": back, "scope": scope}, challenge))
        code = await _waited(provider, answer, wait_s)
    form = {"client_id": provider.client_id, "redirect_uri": back, "code": code}
    return await exchanged(server, await identity_for(provider, form, challenge))


@asynccontextmanager
async def _listening(app: Starlette, port: int | None, browsers: ForBrowsers, again: str) -> AsyncIterator[int]:
    """Serve on the port that is registered, or a free one; yield it.

    Raises:
        UsageError: Somebody else listens there.
    """
    async with AsyncExitStack() as stack:
        try:
            _, bound = await stack.enter_async_context(
                serving(app, host="127.0.0.1", port=port or 0, browsers=browsers)
            )
        except UsageError as error:
            raise UsageError(
                f"the port of --redirect, {port}, is not free", why=error.why, fix=f"{again}    once it is"
            ) from error
        yield bound


def _checked(redirect: str, again: str) -> urllib.parse.SplitResult:
    origin = find_origin(redirect)
    if origin is None or origin.scheme != "http" or origin.host not in _HOSTS:
        raise UsageError("--redirect does not lead to this machine", why=f"it is {redirect!r}", fix=again)
    parts = urllib.parse.urlsplit(redirect)
    if parts.query or parts.fragment:
        raise UsageError("--redirect has more than an address and a path", why=f"it is {redirect!r}", fix=again)
    return parts._replace(path=parts.path or "/")


def page_of(provider: Provider, with_code: str) -> str:
    """Return the provider's page of logins.

    Args:
        provider: The provider.
        with_code: The command for the login that needs no such page.

    Raises:
        UsageError: It does not offer a code with PKCE.
    """
    if provider.document.get("authorization_endpoint") is None:
        raise UsageError("the provider offers no login in a browser", why=provider.issuer, fix=provider.otherwise)
    methods = provider.document.get("code_challenge_methods_supported", ["S256"])
    if not isinstance(methods, list) or "S256" not in methods:
        raise UsageError(
            "the provider's login in a browser is not safe",
            why=f"{provider.issuer} does not offer PKCE with S256",
            fix=with_code,
        )
    return place_of(provider, "authorization_endpoint")


def address_of(page: str, asked: Mapping[str, str], challenge: Challenge) -> str:
    """Return what the browser opens at a provider.

    Args:
        page: See `page_of`.
        asked: Client, scope, and where the answer goes.
        challenge: What the answer is known by.
    """
    digest = hashlib.sha256(challenge.verifier.encode()).digest()
    query = {
        **asked,
        "response_type": "code",
        "state": challenge.state,
        "nonce": challenge.nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    return f"{page}{'&' if urllib.parse.urlsplit(page).query else '?'}{urllib.parse.urlencode(query)}"


async def _take(
    answer: asyncio.Future[str | AuthenticationFailed], challenge: Challenge, provider: Provider, request: Request
) -> Response:
    """Take the answer that the browser brings; what does not belong to this login ends nothing."""
    said = request.query_params
    if not hmac.compare_digest(said.get("state", "").encode(), challenge.state.encode()):
        return _told("This is not the answer to a login that is under way.", 400)
    if said.get("iss", provider.issuer) != provider.issuer:
        return _told("This answer comes from another provider.", 400)
    if answer.done():
        return _told("This login has ended. Go back to the terminal.", 400)
    code = said.get("code", "")
    answer.set_result(code or refused(provider, said, "the login was refused at the provider"))
    return _told("Go back to the terminal. You may close this page.")


def _told(text: str, status: int = _OK) -> Response:
    return Response(f"{text}\n", status, media_type="text/plain", headers=dict(_HEADERS))


async def _waited(provider: Provider, answer: asyncio.Future[str | AuthenticationFailed], wait_s: float) -> str:
    try:
        async with asyncio.timeout(wait_s):
            found = await answer
    except TimeoutError:
        raise AuthenticationFailed(
            "nobody logged in in time", why=f"no answer came for {wait_s:.0f} s", fix=provider.again
        ) from None
    if isinstance(found, AuthenticationFailed):
        raise found
    return found


async def identity_for(provider: Provider, form: Mapping[str, str], challenge: Challenge) -> str:
    """Return the identity token for a code, which is in the form beside the client and the address that it came to.

    Raises:
        AuthenticationFailed: The provider does not take the code, or the token is not of this login.
    """
    form = {**form, "grant_type": "authorization_code", "code_verifier": challenge.verifier}
    status, answer, _ = await post(place_of(provider, "token_endpoint"), form)
    if status != _OK:
        raise refused(provider, answer, "the provider ended the login")
    token = identity_of(provider, answer)
    if not hmac.compare_digest(_nonce(token).encode(), challenge.nonce.encode()):
        raise AuthenticationFailed(
            "the provider's token is not that of this login", why="its nonce is different", fix=provider.again
        )
    return token


def _nonce(token: str) -> str:
    """Return a token's nonce. Who signed the token is for the server to say."""
    body = [*token.split("."), "", ""][1]
    try:
        claims: Any = read_json(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except ValueError as error:
        raise BackendUnavailable("the provider's identity token cannot be read") from error
    nonce = claims.get("nonce") if isinstance(claims, dict) else None
    return nonce if isinstance(nonce, str) else ""

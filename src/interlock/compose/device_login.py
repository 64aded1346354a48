"""`interlock login --device`: a person logs in at a provider with any browser, and the server gives a token. A hand.

The device authorization grant, RFC 8628: the provider tells a code, the person types it into a page of the provider,
and meanwhile we ask whether that is done. Only the identity token goes to the server; no password comes by here.
"""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from interlock.api.problem import error_of
from interlock.bounded import read_json
from interlock.clock import Clock
from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError
from interlock.rights.token import parse_token
from interlock.server.identity.exchange import GRANT_TYPE
from interlock.trust.sending import SameOrigin, find_origin

TIMEOUT_S = 30.0
WAIT_S_MAX = 1_800.0
"""No code is waited for longer, whatever the provider says."""
INTERVAL_S = 5.0
"""How often to ask where the provider does not say (RFC 8628, 3.2), and how much slower when it says so."""
_INTERVAL_S_MAX = 60.0
_ANSWER_BYTES_MAX = 1 << 20
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_OK = 200
_AGAIN = "interlock login --device"
_OTHERWISE = "interlock login    with a token that an administrator made"


class Code(Struct, frozen=True, kw_only=True):
    """What the person is to type, and where.

    Attributes:
        page: Address of the provider's page.
        whole: The same with the code in it; "" when there is none.
        code: The code.
        lasts_s: For so long.
    """

    page: str
    whole: str
    code: str
    lasts_s: float


class LoggedIn(Struct, frozen=True, kw_only=True):
    """What a login gave.

    Attributes:
        token: The server's token.
        role: What it may do.
        states: To which states.
        expires_in: Seconds for which it is good.
    """

    token: str
    role: str
    states: str
    expires_in: int

    def __repr__(self) -> str:
        """Show it without the token."""
        return f"LoggedIn({self.role!r}, {self.states!r})"


async def device_login(
    server: str, tell: Callable[[Code], None], *, clock: Clock, issuer: str | None = None, scope: str = "openid profile"
) -> LoggedIn:
    """Let a person log in; return what the server gives.

    Args:
        server: Its address.
        tell: Shows the person the code.
        clock: For the pauses between questions.
        issuer: Which provider, where the server trusts several.
        scope: What the provider is asked to tell of the person.

    Raises:
        UsageError: The server has no login for people, or its provider none of this kind.
        AuthenticationFailed: The person said no, was too late, or the server has no rule for them.
        BackendUnavailable: The server or the provider gives no usable answer.
    """
    server = server.rstrip("/")
    provider = _chosen(await _get(f"{server}/api/v1/login", "the server"), issuer)
    places = await _places(provider["issuer"])
    client = {"client_id": provider["client_id"]}
    begun = await _begin(places["device"], {**client, "scope": scope})
    tell(_code(begun))
    identity = await _identity(places["token"], client, begun, clock)
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token": identity,
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
    }
    status, answer, body = await _post(f"{server}/api/v1/tokens/exchange", form)
    if status != _OK:
        raise error_of(status, body)
    return _logged_in(answer)


def _chosen(answer: Mapping[str, Any], issuer: str | None) -> Mapping[str, str]:
    listed = answer.get("providers")
    found = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    chosen = [each for each in found if issuer in (None, each.get("issuer"))]
    if len(chosen) == 1 and all(isinstance(chosen[0].get(name), str) for name in ("issuer", "client_id")):
        return chosen[0]
    if not found:
        raise UsageError(
            "the server has no login for people",
            why="no trust rule of the platform person names a provider",
            fix=_OTHERWISE,
        )
    names = ", ".join(sorted(str(each.get("issuer")) for each in found))
    raise UsageError("it is not clear where to log in", why=f"the server trusts {names}", fix="add --issuer URL")


async def _places(issuer: str) -> Mapping[str, str]:
    """Return where the provider begins and ends logins, from its own discovery document."""
    document = await _get(f"{issuer.rstrip('/')}/.well-known/openid-configuration", "the provider")
    if document.get("issuer") != issuer:
        raise BackendUnavailable("the provider's discovery document is that of another", why=issuer)
    places = {"device": document.get("device_authorization_endpoint"), "token": document.get("token_endpoint")}
    if places["device"] is None:
        raise UsageError("the provider has no login by a code", why=issuer, fix=_OTHERWISE)
    return {name: _private(place) for name, place in places.items()}


async def _begin(url: str, form: Mapping[str, str]) -> Mapping[str, Any]:
    status, answer, _ = await _post(url, form)
    if status != _OK or not all(isinstance(answer.get(name), str) for name in ("device_code", "user_code")):
        raise _refused(answer, "the provider begins no login")
    return answer


def _code(begun: Mapping[str, Any]) -> Code:
    page = begun.get("verification_uri")
    whole = begun.get("verification_uri_complete", "")
    if not isinstance(page, str) or find_origin(page) is None or (whole and find_origin(str(whole)) is None):
        raise BackendUnavailable("the provider names no page to log in at")
    return Code(page=page, whole=str(whole), code=str(begun["user_code"]), lasts_s=_lasts(begun))


async def _identity(url: str, client: Mapping[str, str], begun: Mapping[str, Any], clock: Clock) -> str:
    """Ask until the person has logged in, as often as the provider likes; return the identity token."""
    form = {**client, "grant_type": _DEVICE_GRANT, "device_code": str(begun["device_code"])}
    interval_s = _number(begun.get("interval"), INTERVAL_S, most=_INTERVAL_S_MAX)
    until_s = clock.monotonic() + _lasts(begun)
    while clock.monotonic() < until_s:
        await clock.sleep(interval_s)
        status, answer, _ = await _post(url, form)
        if status == _OK:
            token = answer.get("id_token")
            if not isinstance(token, str) or not token:
                raise BackendUnavailable("the provider gave no identity token", fix="add openid to --scope")
            return token
        match answer.get("error"):
            case "authorization_pending":
                continue
            case "slow_down":
                interval_s += INTERVAL_S
            case "access_denied":
                raise AuthenticationFailed("the login was refused at the provider", fix=_AGAIN)
            case "expired_token":
                break
            case _:
                raise _refused(answer, "the provider ended the login")
    raise AuthenticationFailed("nobody logged in in time", why="the code has expired", fix=_AGAIN)


def _logged_in(answer: Mapping[str, Any]) -> LoggedIn:
    token = answer.get("access_token")
    if not isinstance(token, str) or parse_token(token) is None:
        raise BackendUnavailable("the server's token is malformed", why="it is not spelled like one of Interlock")
    return LoggedIn(
        token=token,
        role=str(answer.get("scope", "")),
        states=str(answer.get("state", "")),
        expires_in=int(_number(answer.get("expires_in"), 0.0, most=float(1 << 31))),
    )


def _refused(answer: Mapping[str, Any], what: str) -> AuthenticationFailed:
    said = [str(answer[name])[:200] for name in ("error", "error_description") if isinstance(answer.get(name), str)]
    return AuthenticationFailed(what, why=": ".join(said) or "it does not say why", fix=_AGAIN)


def _lasts(begun: Mapping[str, Any]) -> float:
    return _number(begun.get("expires_in"), WAIT_S_MAX, most=WAIT_S_MAX)


def _number(value: object, otherwise: float, *, most: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return min(float(value), most) if is_number and isinstance(value, int | float) else otherwise


def _private(url: object) -> str:
    origin = find_origin(url) if isinstance(url, str) else None
    if origin is None or not origin.is_private:
        raise BackendUnavailable("the provider has an address that is not https", why=str(url)[:200])
    return str(url)


async def _get(url: str, whose: str) -> Mapping[str, Any]:
    status, answer, body = await asyncio.to_thread(_send, _private(url), None)
    if status != _OK:
        raise (
            error_of(status, body) if whose == "the server" else BackendUnavailable(f"{whose} gave no answer", why=url)
        )
    return answer


async def _post(url: str, form: Mapping[str, str]) -> tuple[int, Mapping[str, Any], bytes]:
    return await asyncio.to_thread(_send, _private(url), urllib.parse.urlencode(form).encode())


def _send(url: str, data: bytes | None) -> tuple[int, Mapping[str, Any], bytes]:
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - https, or this machine
    try:
        with urllib.request.build_opener(SameOrigin()).open(request, timeout=TIMEOUT_S) as answer:
            status, body = answer.status, answer.read(_ANSWER_BYTES_MAX)
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read(_ANSWER_BYTES_MAX)
    except (OSError, ValueError) as error:
        why = f"{urllib.parse.urlsplit(url).netloc}: {getattr(error, 'reason', None) or type(error).__name__}"
        raise BackendUnavailable("the login got no answer", why=why, fix="try again") from error
    try:
        found = read_json(body)
    except ValueError:
        found = None
    return status, found if isinstance(found, dict) else {}, body

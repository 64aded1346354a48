"""`interlock login --device`: a person logs in at a provider with any browser, and the server gives a token. A hand.

The device authorization grant, RFC 8628: the provider tells a code, the person types it into a page of the provider,
and meanwhile we ask whether that is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from interlock.clock import Clock
from interlock.compose.provider import (
    Given,
    Provider,
    exchanged,
    find_provider,
    identity_of,
    number_of,
    place_of,
    post,
    refused,
)
from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError, command
from interlock.trust.sending import find_origin

WAIT_S_MAX = 1_800.0
"""No code is waited for longer, whatever the provider says."""
INTERVAL_S = 5.0
"""How often to ask where the provider does not say (RFC 8628, 3.2), and how much slower when it says so."""
_INTERVAL_S_MAX = 60.0
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_OK = 200


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


async def device_login(
    server: str, tell: Callable[[Code], None], *, clock: Clock, issuer: str | None = None, scope: str = "openid profile"
) -> Given:
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
    provider = await find_provider(server, issuer, again=command("login", server, "--device"))
    if provider.document.get("device_authorization_endpoint") is None:
        raise UsageError("the provider offers no login by a code", why=provider.issuer, fix=provider.otherwise)
    token_place = place_of(provider, "token_endpoint")
    begun = await _begin(provider, {"client_id": provider.client_id, "scope": scope})
    tell(_code(begun))
    return await exchanged(server, await _identity(provider, token_place, begun, clock))


async def _begin(provider: Provider, form: Mapping[str, str]) -> Mapping[str, Any]:
    status, answer, _ = await post(place_of(provider, "device_authorization_endpoint"), form)
    if status != _OK or not all(isinstance(answer.get(name), str) for name in ("device_code", "user_code")):
        raise refused(provider, answer, "the provider did not begin a login")
    return answer


def _code(begun: Mapping[str, Any]) -> Code:
    page = begun.get("verification_uri")
    whole = begun.get("verification_uri_complete", "")
    if not isinstance(page, str) or find_origin(page) is None or (whole and find_origin(str(whole)) is None):
        raise BackendUnavailable("the provider names no page to log in at")
    return Code(page=page, whole=str(whole), code=str(begun["user_code"]), lasts_s=_lasts(begun))


async def _identity(provider: Provider, url: str, begun: Mapping[str, Any], clock: Clock) -> str:
    """Ask until the person has logged in, as often as the provider likes; return the identity token."""
    form = {"client_id": provider.client_id, "grant_type": _DEVICE_GRANT, "device_code": str(begun["device_code"])}
    interval_s = number_of(begun.get("interval"), INTERVAL_S, most=_INTERVAL_S_MAX)
    until_s = clock.monotonic() + _lasts(begun)
    while clock.monotonic() < until_s:
        await clock.sleep(interval_s)
        status, answer, _ = await post(url, form)
        if status == _OK:
            return identity_of(provider, answer)
        match answer.get("error"):
            case "authorization_pending":
                continue
            case "slow_down":
                interval_s += INTERVAL_S
            case "access_denied":
                raise AuthenticationFailed("the login was refused at the provider", fix=provider.again)
            case "expired_token":
                break
            case _:
                raise refused(provider, answer, "the provider ended the login")
    raise AuthenticationFailed("nobody logged in in time", why="the code has expired", fix=provider.again)


def _lasts(begun: Mapping[str, Any]) -> float:
    return number_of(begun.get("expires_in"), WAIT_S_MAX, most=WAIT_S_MAX)

"""A provider of identities, as a person who logs in meets it. A hand.

It is found and asked, and its identity token is exchanged at a server. Only that token goes to the server; no password
comes by here.
"""

from __future__ import annotations

import asyncio
import shlex
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from interlock.api.problem import error_of
from interlock.bounded import read_json
from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError, command
from interlock.rights.token import parse_token
from interlock.server.identity.exchange import GRANT_TYPE
from interlock.trust.sending import SameOrigin, find_origin

TIMEOUT_S = 30.0
_ANSWER_BYTES_MAX = 1 << 20
_OK = 200


class Provider(Struct, frozen=True, kw_only=True):
    """Where people log in, and as which client.

    Attributes:
        issuer: Its address, as its tokens have it.
        client_id: Of the command line, as it is registered there.
        document: What it tells of itself.
        again: The command that logs in there.
        otherwise: The command that needs no provider.
    """

    issuer: str
    client_id: str
    document: Mapping[str, Any]
    again: str
    otherwise: str


class Given(Struct, frozen=True, kw_only=True):
    """What a server gives a person for an identity.

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
        return f"Given({self.role!r}, {self.states!r})"


async def find_provider(server: str, issuer: str | None, *, again: str) -> Provider:
    """Return where people log in who work at a server.

    Args:
        server: Its address.
        issuer: Which provider, where the server trusts several.
        again: The command that logs in there.

    Raises:
        UsageError: The server has no login for people, or several and none was chosen.
        BackendUnavailable: One of both gives no usable answer.
    """
    otherwise = f"{command('login', server)}    with a token that an administrator made"
    listed = _listed(await _get(f"{server.rstrip('/')}/api/v1/login", "the server"), otherwise)
    chosen = _chosen(listed, issuer, again)
    again += f" --issuer {shlex.quote(issuer)}" if issuer else ""
    return await provider_at(chosen["issuer"], chosen["client_id"], again=again, otherwise=otherwise)


async def provider_at(issuer: str, client_id: str, *, again: str, otherwise: str) -> Provider:
    """Return a provider with what it tells of itself.

    Args:
        issuer: Its address.
        client_id: See `Provider`.
        again: See `Provider`.
        otherwise: See `Provider`.

    Raises:
        BackendUnavailable: It gives no usable answer.
    """
    document = await _get(f"{issuer.rstrip('/')}/.well-known/openid-configuration", "the provider")
    if document.get("issuer") != issuer:
        raise BackendUnavailable("the provider's discovery document is of another provider", why=issuer)
    return Provider(issuer=issuer, client_id=client_id, document=document, again=again, otherwise=otherwise)


def place_of(provider: Provider, name: str) -> str:
    """Return an address out of what a provider tells of itself.

    Raises:
        BackendUnavailable: It is not https, or no address.
    """
    return _private(provider.document.get(name))


def identity_of(provider: Provider, answer: Mapping[str, Any]) -> str:
    """Return the identity token out of a provider's last answer.

    Raises:
        BackendUnavailable: The answer has none.
    """
    token = answer.get("id_token")
    if not isinstance(token, str) or not token:
        raise BackendUnavailable("the provider gave no identity token", fix=f"{provider.again} --scope openid")
    return token


async def exchanged(server: str, identity: str) -> Given:
    """Return what a server gives for an identity token.

    Raises:
        AuthenticationFailed: It has no rule for this person.
        BackendUnavailable: It gives no usable answer.
    """
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token": identity,
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
    }
    status, answer, body = await post(f"{server.rstrip('/')}/api/v1/tokens/exchange", form)
    if status != _OK:
        raise error_of(status, body)
    token = answer.get("access_token")
    if not isinstance(token, str) or parse_token(token) is None:
        raise BackendUnavailable("the server's token is malformed", why="it is not spelled like one of Interlock")
    return Given(
        token=token,
        role=str(answer.get("scope", "")),
        states=str(answer.get("state", "")),
        expires_in=int(number_of(answer.get("expires_in"), 0.0, most=float(1 << 31))),
    )


async def post(url: str, form: Mapping[str, str]) -> tuple[int, Mapping[str, Any], bytes]:
    """Send a form; return the status, the answer read as JSON, and its bytes.

    Raises:
        BackendUnavailable: There was no answer, or the address is not https.
    """
    return await asyncio.to_thread(_send, _private(url), urllib.parse.urlencode(form).encode())


def refused(provider: Provider, answer: Mapping[str, Any], what: str) -> AuthenticationFailed:
    """Return an error with what a provider says of it."""
    said = [str(answer[name])[:200] for name in ("error", "error_description") if isinstance(answer.get(name), str)]
    return AuthenticationFailed(what, why=": ".join(said) or "it does not say why", fix=provider.again)


def number_of(value: object, otherwise: float, *, most: float) -> float:
    """Return a number that somebody else told, if it is one, at most `most`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return min(float(value), most) if is_number and isinstance(value, int | float) else otherwise


def _listed(answer: Mapping[str, Any], otherwise: str) -> list[Mapping[str, str]]:
    """Return the providers that a server names.

    Raises:
        UsageError: It does not name any.
    """
    listed = answer.get("providers")
    found = [each for each in listed if _is_usable(each)] if isinstance(listed, list) else []
    if not found:
        raise UsageError(
            "the server has no login for people",
            why="no trust rule of the platform person names a provider",
            fix=otherwise,
        )
    return found


def _is_usable(each: object) -> bool:
    return isinstance(each, dict) and all(isinstance(each.get(name), str) for name in ("issuer", "client_id"))


def _chosen(listed: list[Mapping[str, str]], issuer: str | None, again: str) -> Mapping[str, str]:
    chosen = [each for each in listed if issuer in (None, each["issuer"])]  # one client each: see `TrustBook.add`
    if len(chosen) == 1:
        return chosen[0]
    names = sorted(each["issuer"] for each in listed)
    raise UsageError(
        "it is not clear where to log in",
        why=f"the server trusts {', '.join(names)}",
        fix=f"{again} --issuer {shlex.quote(names[0])}",
    )


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

"""`terraform login`: what it asks for, and what it is told. Pure.

OAuth 2.0 with a code and PKCE, for the one client that there is. The person types a token of this server into a page of
it, and Terraform gets that very token: it has its role, its end and its name, and is revoked like any other. Where
trust rules name a provider of identities, the page leads there too, and Terraform gets what `interlock login` would.

- The code goes to a port of the person's own machine, 10000 to 10010, and nowhere else: so no page can make this server
  send a browser to it.
- The token is kept, for two minutes, encrypted with a key that is in the code alone.
- What belongs to a login at a provider is in a cookie of the browser that began it, and nowhere else: nobody can fill
  the store with logins that nobody ends, and an answer that another browser began is not taken.
- Only S256: with `plain`, who sees the address of the page could take the code.
Source: RFC 6749 section 4.1, RFC 7636; docs/facts/servers.md#server-18.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from interlock.bounded import decode_json
from interlock.errors import AuthenticationFailed, InterlockError, UsageError
from interlock.instants import Instant
from interlock.secrecy import PartlyShown

CLIENT: Final = "terraform-cli"
PORTS: Final = (10000, 10010)
PAGE: Final = "/login/terraform"
TOKEN_PATH: Final = "/login/terraform/token"  # noqa: S105 - a path
AT_PROVIDER: Final = "/login/terraform/provider"
BACK: Final = "/login/terraform/back"
PAGES: Final = frozenset({PAGE.encode(), AT_PROVIDER.encode()})
CALLBACKS: Final = frozenset({BACK.encode()})
"""Where a provider of identities sends the browser; what it brings shows that it is meant."""
CODE_S: Final = 120.0
"""How long a code is good: Terraform takes it at once."""
BEGUN_S: Final = 600
"""So long the person has at the provider."""
SCHEMA: Final = 1
_AGAIN: Final = "terraform login HOST, or tofu login HOST,    begins anew"
HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(?::\d{1,5})?\Z|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?\Z", re.ASCII)
"""A Host that may be part of an address that is told."""
_REDIRECT = re.compile(r"http://(?:localhost|127\.0\.0\.1):(100(?:0[0-9]|10))/login\Z", re.ASCII)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}\Z", re.ASCII)
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z", re.ASCII)
_STATE = re.compile(r"[\x21-\x7e]{0,512}\Z", re.ASCII)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}"
    "input{font:inherit;width:100%;box-sizing:border-box;padding:.4rem}"
    "button{font:inherit;margin-top:1rem;padding:.4rem 1rem}.refused{color:#a00}"
)


class BadGrant(InterlockError):
    """A code is not good for a token. OAuth has a word of its own for it."""

    code = "invalid_grant"
    http_status = 400


class Wish(Struct, frozen=True, kw_only=True):
    """What a Terraform that logs in asks for.

    Attributes:
        redirect: Where the code goes.
        challenge: SHA-256 of its verifier, in URL-safe base64.
        state: Its own, which it gets back.
    """

    redirect: str
    challenge: str
    state: str


class Challenge(PartlyShown, frozen=True, kw_only=True):
    """With what a provider of identities is asked, and by what its answer is known.

    Attributes:
        state: Comes back beside the code.
        nonce: Comes back in the identity token.
        verifier: Goes with the code only; whoever sees the code alone cannot use it.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"state", "nonce", "verifier"})

    state: str
    nonce: str
    verifier: str


class Begun(PartlyShown, frozen=True, kw_only=True):
    """A login that is at a provider, as the cookie of its browser has it.

    Attributes:
        query: What Terraform asked for; see `read_wish`.
        issuer: The provider.
        challenge: See `Challenge`.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"query", "challenge"})

    query: dict[str, str]
    issuer: str
    challenge: Challenge


class Login(PartlyShown, frozen=True, kw_only=True):
    """A code that was given, as it is kept.

    Attributes:
        redirect: Where it went.
        challenge: See `Wish`.
        sealed: The token, encrypted with a key that is made of the code.
        at: When.
        schema: Version of this record's format.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"sealed"})

    redirect: str
    challenge: str
    sealed: bytes
    at: Instant
    schema: int = SCHEMA


def discovery() -> dict[str, Any]:
    """Return what `/.well-known/terraform.json` says; addresses are below the host that is asked."""
    api = "/api/v2/"
    return {
        "tfe.v2": api,
        "tfe.v2.1": api,
        "tfe.v2.2": api,
        "state.v2": api,
        "login.v1": {
            "client": CLIENT,
            "grant_types": ["authz_code"],
            "authz": PAGE,
            "token": TOKEN_PATH,
            "ports": list(PORTS),
        },
    }


def read_wish(query: Mapping[str, str]) -> Wish:
    """Read what is asked for.

    Raises:
        UsageError: It is not what Terraform asks, or the code would go elsewhere than to this person's machine.
    """
    said = {"client_id": CLIENT, "response_type": "code", "code_challenge_method": "S256"}
    for name, value in said.items():
        if query.get(name) != value:
            raise UsageError("this is not a login of Terraform", why=f"{name} is not {value}")
    wish = Wish(
        redirect=query.get("redirect_uri", ""),
        challenge=query.get("code_challenge", ""),
        state=query.get("state", ""),
    )
    if not _REDIRECT.match(wish.redirect):
        raise UsageError(
            "this is not a login of Terraform",
            why=f"the code goes to a port of your own machine, {PORTS[0]} to {PORTS[1]}, and nowhere else",
        )
    if not _CHALLENGE.match(wish.challenge) or not _STATE.match(wish.state):
        raise UsageError("this is not a login of Terraform", why="code_challenge or state is not usable")
    return wish


def redirect_of(wish: Wish, code: str) -> str:
    """Return where the browser goes next."""
    return f"{wish.redirect}?{urlencode({'code': code, 'state': wish.state})}"


def check_verifier(login: Login, *, verifier: str, redirect: str) -> None:
    """Refuse a code that somebody else brings than the Terraform that asked for it.

    Raises:
        BadGrant: The verifier is another, or the code went elsewhere.
    """
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    if not _VERIFIER.match(verifier) or not hmac.compare_digest(challenge, login.challenge):
        raise BadGrant("the code was asked for by another Terraform", why="its code_verifier does not fit")
    if redirect != login.redirect:
        raise BadGrant("the code was asked for by another Terraform", why="its redirect_uri is another")


def cookie_of(begun: Begun, *, is_https: bool) -> str:
    """Return the header that gives a browser what belongs to its login. Lax: a provider sends the browser back."""
    value = base64.urlsafe_b64encode(msgspec.json.encode(begun)).decode().rstrip("=")
    return f"{_cookie(is_https)}={value}; Path=/; Max-Age={BEGUN_S}; HttpOnly; SameSite=Lax{'; Secure' * is_https}"


def no_cookie(*, is_https: bool) -> str:
    """Return the header that takes it away again."""
    return f"{_cookie(is_https)}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{'; Secure' * is_https}"


def read_begun(cookies: Mapping[str, str], answer: Mapping[str, str], *, is_https: bool) -> tuple[Begun, str]:
    """Return the login to which a provider's answer belongs, and the code in it.

    Raises:
        UsageError: This browser began none, or another one.
        AuthenticationFailed: The provider says no.
    """
    value = cookies.get(_cookie(is_https), "")
    try:
        begun = decode_json(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)), type=Begun)
    except (ValueError, msgspec.MsgspecError):
        raise _not_begun("this browser began no login, or too long ago") from None
    if not hmac.compare_digest(answer.get("state", "").encode(), begun.challenge.state.encode()):
        raise _not_begun("it began another one since")
    if answer.get("iss", begun.issuer) != begun.issuer:
        raise _not_begun("it comes from another provider")
    if not answer.get("code"):
        said = [answer[name][:200] for name in ("error", "error_description") if answer.get(name)]
        raise AuthenticationFailed("the login was refused at the provider", why=": ".join(said), fix=_AGAIN)
    return begun, answer["code"]


def _not_begun(why: str) -> UsageError:
    return UsageError("this is not the answer to a login that is under way", why=why, fix=_AGAIN)


def _cookie(is_https: bool) -> str:
    """Return the cookie's name; a browser takes this beginning from no other host, and from no page in clear."""
    return f"{'__Host-' if is_https else ''}interlock-terraform-login"


def page(
    wish: Wish, *, refused: str = "", issuers: Sequence[str] = (), query: Mapping[str, str] | None = None
) -> tuple[str, dict[str, str]]:
    """Return the page that asks for a token, and its headers.

    Args:
        wish: What is asked for.
        refused: Why the token before was refused; empty for the first time.
        issuers: Providers at which the person may log in instead.
        query: What Terraform asked for, in the words of its address.
    """
    # Links, and no forms: where a form may lead, a browser checks at each address that the provider sends it on to.
    links = "".join(_link(each, query or {}) for each in issuers)
    label = "Or a token" if links else "Token"
    said = f'<p class="refused">{html.escape(refused)}</p>' if refused else ""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Log in to Interlock</title>'
        f"<style>{_STYLE}</style></head><body><h1>Log in to Interlock</h1>"
        "<p>A Terraform on this computer asks for a token of this server. Go on only if you have just started "
        f"<code>terraform login</code>. The token goes to <code>{html.escape(wish.redirect)}</code>.</p>"
        f'{links}{said}<form method="post"><label for="token">{label} of this server</label>'
        '<input id="token" name="token" type="password" autocomplete="off" autofocus required>'
        '<button type="submit">Give it to Terraform</button></form></body></html>'
    )
    style = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    origin = wish.redirect.removesuffix("/login")
    policy = (
        f"default-src 'none'; style-src 'sha256-{style}'; form-action 'self' {origin}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return text, {**SAFE_HEADERS, "Content-Security-Policy": policy}


def _link(issuer: str, query: Mapping[str, str]) -> str:
    address = f"{AT_PROVIDER}?{urlencode({**query, 'issuer': issuer})}"
    return f'<p><a href="{html.escape(address)}">Log in at {html.escape(urlsplit(issuer).netloc)}</a></p>'


SAFE_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with no-referrer, a browser would hide that the form is our own page's
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

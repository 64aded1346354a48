"""Tokens granted, expired and revoked; the login service's own limit. Pure.

Source: docs/facts/genesys.md#genesys-19.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs

from .answer import ApiRefusal, Reply, Request
from .call import Caller
from .chance import Chance

MAX_TOKENS = 100_000  # remembered at once; the oldest goes first
MAX_FORM_BYTES = 4096
TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
LOGIN_LIMIT_TEXT = "rate limit exceeded; too many token requests for this client"
"""The provider retries exactly what starts with `rate limit exceeded;` and dies of anything else.

Source: docs/facts/genesys.md#genesys-21.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """One OAuth client of the organisation.

    Attributes:
        secret: Never shown in a repr.
        token_life_s: Seconds a token lives; 300 to 172800 in the real product, any here.
        permissions: What its roles grant, `*` for everything.
        user_id: The user it acts for; None for client credentials alone.
        divisions: Names or ids of the divisions in which its permissions hold; None for all.
    """

    id: str
    secret: str = field(repr=False)
    name: str = "Terraform"
    token_life_s: float = 86_400.0
    permissions: frozenset[str] = frozenset({"*"})
    user_id: str | None = None
    divisions: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginLimit:
    """Token requests of one client in a window that starts with the first; the real numbers are unknown."""

    allowed: int = 1000
    window_s: float = 60.0


@dataclass(slots=True)
class _Token:
    client: OAuthClient
    caller: Caller
    expires_s: float


class LoginService:
    """Grants tokens and knows whose they are.

    Args:
        clients: Every OAuth client.
        chance: Where tokens come from.
        limit: How many tokens a client may ask for.
    """

    def __init__(self, clients: Sequence[OAuthClient], *, chance: Chance, limit: LoginLimit | None = None) -> None:
        self.limit = limit or LoginLimit()
        self.granted = 0
        self._clients = {client.id: client for client in clients}
        self._chance = chance
        self._tokens: dict[str, _Token] = {}
        self._windows: dict[str, tuple[float, int]] = {}

    def grant(self, request: Request, now_s: float) -> Reply:
        """Answer POST /oauth/token.

        Returns:
            200 with the token, or the login service's own kind of error: `error` and `error_description`.
        """
        try:
            client = self._authenticate(request)
        except _LoginRefused as refused:
            return _login_error(refused.status, refused.error, refused.description)
        if not self._has_room(client, now_s):
            return login_limit_error()
        token = self._issue(client, now_s)
        expires_in = max(int(client.token_life_s), 1)
        return Reply(content={"access_token": token, "token_type": "bearer", "expires_in": expires_in})

    def caller(self, request: Request, now_s: float) -> Caller:
        """Return whose token a request bears.

        Raises:
            ApiRefusal: 401; nothing recovers a client credentials token but a new one.
        """
        value = bearer(request)
        if not value:
            message = "No authentication bearer token specified in authorization header."
            raise ApiRefusal(401, "authentication.required", message)
        token = self._tokens.get(value)
        if token is None or now_s >= token.expires_s:
            raise ApiRefusal(401, "bad.credentials", "Invalid login credentials.")
        return token.caller

    def knows(self, value: str) -> bool:
        """Return whether a token was granted here, dead or alive."""
        return value in self._tokens

    def revoke(self, value: str) -> bool:
        """End one token now; False when it is unknown."""
        return self._tokens.pop(value, None) is not None

    def revoke_all(self, client_id: str | None = None) -> int:
        """End all tokens of a client, or of everybody; return how many there were."""
        doomed = [value for value, token in self._tokens.items() if client_id in (None, token.client.id)]
        for value in doomed:
            del self._tokens[value]
        return len(doomed)

    def set_life(self, token_life_s: float) -> None:
        """Let tokens granted from now on live that many seconds."""
        self._clients = {name: replace(client, token_life_s=token_life_s) for name, client in self._clients.items()}

    def add(self, client: OAuthClient) -> None:
        """Let one more client ask for tokens."""
        self._clients[client.id] = client

    def client(self, client_id: str) -> OAuthClient | None:
        """Return a client by id."""
        return self._clients.get(client_id)

    def _authenticate(self, request: Request) -> OAuthClient:
        form = _form(request)
        identifier, secret = _basic(request.headers.get("authorization", "")) or (
            form.get("client_id", ""),
            form.get("client_secret", ""),
        )
        client = self._clients.get(identifier)
        if client is None or not hmac.compare_digest(client.secret.encode(), secret.encode()):
            raise _LoginRefused(401, "invalid_client", "client authentication failed")
        if form.get("grant_type") != "client_credentials":
            raise _LoginRefused(400, "unsupported_grant_type", "only client_credentials is served")
        return client

    def _has_room(self, client: OAuthClient, now_s: float) -> bool:
        since_s, count = self._windows.get(client.id, (now_s, 0))
        if now_s >= since_s + self.limit.window_s:
            since_s, count = now_s, 0
        if count >= self.limit.allowed:
            return False
        self._windows[client.id] = (since_s, count + 1)
        return True

    def _issue(self, client: OAuthClient, now_s: float) -> str:
        if len(self._tokens) >= MAX_TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        value = f"sim-{self._chance.bits():016x}{self._chance.bits():016x}"
        caller = Caller(
            client_id=client.id,
            client_name=client.name,
            user_id=client.user_id,
            permissions=client.permissions,
            token=value,
            divisions=client.divisions,
        )
        self._tokens[value] = _Token(client, caller, now_s + client.token_life_s)
        self.granted += 1
        return value


def bearer(request: Request) -> str:
    """Return the token that a request bears, empty for none."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" else ""


def with_scheme(request: Request) -> Request:
    """Return a request whose token may have stood without the word `Bearer`, as if it had stood with it."""
    given = request.headers.get("authorization", "")
    if not given or " " in given:
        return request
    return replace(request, headers={**request.headers, "authorization": f"Bearer {given}"})


def asked_client(request: Request) -> str:
    """Return the id of the OAuth client that asks for a token, empty for none or one that cannot be read."""
    if request.path != TOKEN_PATH:
        return ""
    try:
        named = _basic(request.headers.get("authorization", ""))
        return named[0] if named is not None else _form(request).get("client_id", "")
    except _LoginRefused:
        return ""


def login_limit_error() -> Reply:
    """Return the login service's answer to too many token requests: 400, not 429."""
    return _login_error(400, "invalid_request", LOGIN_LIMIT_TEXT)


class _LoginRefused(Exception):
    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.description = description


def _login_error(status: int, error: str, description: str) -> Reply:
    return Reply(status=status, content={"error": error, "error_description": description, "description": description})


def _form(request: Request) -> dict[str, str]:
    if len(request.body) > MAX_FORM_BYTES:
        raise _LoginRefused(400, "invalid_request", "the form is too large")
    try:
        fields = parse_qs(request.body.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError as error:
        raise _LoginRefused(400, "invalid_request", "the form is not readable") from error
    return {name: values[-1] for name, values in fields.items()}


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        identifier, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise _LoginRefused(400, "invalid_request", "the authorization header is not readable") from error
    return identifier, secret

"""Who asks a server: from the credentials of a request to somebody whose rights can be checked.

All doors of a server (Terraform's protocol, the JSON API) use the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from interlock.errors import AuthenticationFailed
from interlock.globs import beginning_of
from interlock.persons import Party, token_account
from interlock.rights.roles import Right
from interlock.rights.token import Token, parse_token

if TYPE_CHECKING:
    from interlock.rights.book import TokenBook


class Caller(Protocol):
    """Somebody whose credentials are good."""

    @property
    def who(self) -> str:
        """Who this is, for people."""
        ...

    @property
    def key(self) -> str:
        """What this one is known by when it comes again: what it began, it may end."""
        ...

    def check(self, right: Right, state: str) -> None:
        """Refuse what this one may not do.

        Raises:
            AuthenticationFailed: It lacks the right on this state.
        """
        ...


class Tokens(Protocol):
    """Tells who may use the plain addresses."""

    async def identify(self, username: str, password: str) -> Caller:
        """Return who this is.

        Raises:
            AuthenticationFailed: The credentials are wrong, or not good any more.
            BackendUnavailable: It cannot be told now; then nobody is let in.
        """
        ...


class _Master(Struct, frozen=True):
    """Whoever has the server's own token, which is good for everything."""

    who: str

    @property
    def key(self) -> str:
        """See `Caller.key`."""
        return "server"

    def check(self, right: Right, state: str) -> None:
        """See `Caller.check`."""


class SingleToken:
    """One server token for everything, given as the password; the user name says who it is.

    Args:
        token: The secret. Only its digest is kept.
    """

    def __init__(self, token: str) -> None:
        self._digest = hashlib.sha256(token.encode()).digest()

    async def identify(self, username: str, password: str) -> Caller:
        """See `Tokens.identify`."""
        if not hmac.compare_digest(hashlib.sha256(password.encode()).digest(), self._digest):
            raise AuthenticationFailed("the server token is wrong", fix="set TF_HTTP_PASSWORD to the server's token")
        return _Master(username or "token")


class BookTokens:
    """The tokens of a store, each with its rights, beside the server's own.

    Args:
        book: Where they are.
        master: The server's own.
    """

    def __init__(self, book: TokenBook, master: SingleToken) -> None:
        self._book = book
        self._master = master

    async def identify(self, username: str, password: str) -> Caller:
        """See `Tokens.identify`."""
        shown = parse_token(password)
        return await (self._master.identify(username, password) if shown is None else self._book.identify(shown))


class ClosedDoor:
    """No plain addresses: what a run's own loopback server has."""

    async def identify(self, username: str, password: str) -> Caller:  # noqa: ARG002 - nobody may
        """See `Tokens.identify`."""
        raise AuthenticationFailed("this server answers only to supervised runs", fix="interlock serve")


def check_run(caller: Caller, run: str) -> None:
    """Refuse a lock to the token of a CI job that was given to it for another run.

    Args:
        caller: Who asks.
        run: For which run; "" where the protocol names none.

    Raises:
        AuthenticationFailed: It is bound to another run.
    """
    if isinstance(caller, Token):
        caller.check_run(run)


def person_of(caller: Caller) -> str:
    """Return by whom a decision is: what the token is known by, whatever name somebody gives who shows it."""
    mark = f"({caller.key})"
    return caller.who if caller.who.endswith(mark) else caller.key


def party_of(caller: Caller) -> Party:
    """Return who is behind credentials."""
    return caller.party if isinstance(caller, Token) else Party(accounts=(token_account(caller.key),))


def may_do(caller: Caller, right: Right, state: str) -> bool:
    """Say whether somebody has a right on a state, for lists that leave out what one may not see."""
    try:
        caller.check(right, state)
    except AuthenticationFailed:
        return False
    return True


def visible_beginning(caller: Caller) -> str:
    """Return what the names of all states begin with that somebody may see; "" when that is not known."""
    return beginning_of(caller.states) if isinstance(caller, Token) else ""


def credentials_in(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return user name and password of Basic authentication; a bearer token counts as a password. Empty without any."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return "", value.strip()
    if scheme.lower() != "basic":
        return "", ""
    try:
        username, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return username, password

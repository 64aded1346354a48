"""A person logs in to a server: the token is tried there before it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from interlock.clock import SystemClock
from interlock.errors import UsageError, command
from interlock.home.line import Line
from interlock.home.login import Login, find_login, forget_login, store_login
from interlock.settings.authority import check_address
from interlock.settings.values import Secret


class AboutMe(Struct, frozen=True, kw_only=True):
    """What a server says of who asks; the client's side of `GET /api/v1/me`.

    Attributes:
        who: As the server writes it down.
        rights: What this one may do to all states.
        version: Of the server.
    """

    who: str
    rights: list[str]
    version: str


class LoggedIn(Struct, frozen=True, kw_only=True):
    """A login that was kept.

    Attributes:
        server: Where.
        who: As the server writes down what this one does.
        version: Of the server.
        file: Where the token is kept.
    """

    server: str
    who: str
    version: str
    file: Path


async def log_in(url: str, token: str, environ: Mapping[str, str]) -> LoggedIn:
    """Try a token at a server, and keep both for later commands.

    Raises:
        UsageError: The address is neither https nor on this machine, or no token was given.
        AuthenticationFailed: The server does not take the token.
        BackendUnavailable: The server cannot be reached.
    """
    url = check_address(url, said_by="the address", fix=command("login", "https://interlock.example.com")).rstrip("/")
    if not token.strip():
        raise UsageError("no token was given", fix=command("login", url))
    line = Line(url, Secret(value=token.strip()), SystemClock())
    try:
        me: AboutMe = await line.ask_for(AboutMe, "GET", "/me")
    finally:
        await line.close()
    file = store_login(Login(server=url, token=token.strip()), environ)
    return LoggedIn(server=url, who=me.who, version=me.version, file=file)


def log_out(environ: Mapping[str, str]) -> str | None:
    """Forget the stored login; see `forget_login`."""
    return forget_login(environ)


def logged_in(environ: Mapping[str, str]) -> str | None:
    """Return the server that somebody is logged in to; None without one.

    Raises:
        UsageError: See `find_login`.
    """
    login = find_login(environ)
    return None if login is None else login.server

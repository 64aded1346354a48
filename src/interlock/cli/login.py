"""`interlock login` and `interlock logout`: work at a server from now on, or on this machine again."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import view
from interlock.errors import UsageError, command

if TYPE_CHECKING:
    from interlock.compose.device_login import Code
    from interlock.compose.login import LoggedIn
    from interlock.compose.provider import Given

login_app = typer.Typer()
logout_app = typer.Typer()
_TOKEN_CHARS_MAX = 16_384  # a token of an identity provider has some thousand

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@login_app.command()
def login(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="The server's address; by default the one set or stored.")
    ] = None,
    *,
    device: Annotated[
        bool, typer.Option("--device", help="Log in at your identity provider, with a code in any browser.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser", help="Log in at your identity provider, in the browser of this machine.")
    ] = False,
    redirect: Annotated[
        str | None,
        typer.Option(
            "--redirect", metavar="URL", help="With --browser: the address back to here, as registered there."
        ),
    ] = None,
    issuer: Annotated[
        str | None, typer.Option("--issuer", metavar="URL", help="Which provider, where the server knows several.")
    ] = None,
    scope: Annotated[
        str, typer.Option("--scope", metavar="WORDS", help="What the provider is asked to tell of you.")
    ] = "openid profile",
    json: Json = False,
) -> None:
    """Work at a server from now on: its queues, states and history are those of every command.

    The token is read from a prompt, or from stdin, and kept in a file that only you can read. INTERLOCK_SERVER and
    INTERLOCK_TOKEN go before what is kept.
    """
    from interlock.compose.login import log_in

    server = url or _known()
    _check_ways(server, device=device, browser=browser, redirect=redirect)
    if browser:
        token = _browser_token(server, issuer, scope, redirect)
    else:
        token = _device_token(server, issuer, scope) if device else _read_token()
    found = asyncio.run(log_in(server, token, os.environ))
    values = {"server": found.server, "who": found.who, "version": found.version, "file": str(found.file)}
    view.emit(values, json=json, human=lambda: _say(found))


@logout_app.command()
def logout(*, json: Json = False) -> None:
    """Forget the stored token; commands work on this machine again.

    The token itself is good until it expires, or `interlock token revoke` ends it.
    """
    from interlock.compose.login import log_out

    server = log_out(os.environ)
    text = "nobody was logged in" if server is None else f"logged out of {server or 'a server'}"
    view.emit({"server": server or None, "was_logged_in": server is not None}, json=json, human=lambda: view.say(text))


def _check_ways(server: str, *, device: bool, browser: bool, redirect: str | None) -> None:
    """Refuse options that ask for two ways to log in.

    Raises:
        UsageError: They do.
    """
    if device and browser:
        raise UsageError("--device and --browser are two ways to log in", fix=command("login", server, "--browser"))
    if redirect is not None and not browser:
        raise UsageError(
            "--redirect is for --browser", fix=command("login", server, "--browser", "--redirect", redirect)
        )


def _known() -> str:
    from interlock.compose.login import logged_in

    server = os.environ.get("INTERLOCK_SERVER") or logged_in(os.environ)
    if server is None:
        raise UsageError("no server was named", fix="interlock login https://interlock.example.com")
    return server


def _read_token() -> str:
    """Return the token, never from the command line, which every process of the machine can read."""
    if not sys.stdin.isatty():
        return sys.stdin.read(_TOKEN_CHARS_MAX)
    import getpass

    return getpass.getpass("token: ")


def _device_token(server: str, issuer: str | None, scope: str) -> str:
    """Return the token that the server gives whoever logs in at the provider, anywhere."""
    from interlock.clock import SystemClock
    from interlock.compose.device_login import device_login

    _check(server, command("login", "https://interlock.example.com", "--device"))
    given = asyncio.run(device_login(server, _tell_code, clock=SystemClock(), issuer=issuer, scope=scope))
    return _told(given)


def _browser_token(server: str, issuer: str | None, scope: str, redirect: str | None) -> str:
    """Return the token that the server gives whoever logs in at the provider, in a browser of this machine."""
    from interlock.compose.browser_login import REDIRECT, browser_login
    from interlock.ids import RandomIds

    _check(server, command("login", "https://interlock.example.com", "--browser"))
    login = browser_login(server, _open, ids=RandomIds(), issuer=issuer, scope=scope, redirect=redirect or REDIRECT)
    return _told(asyncio.run(login))


def _check(server: str, again: str) -> None:
    from interlock.settings.authority import check_address

    check_address(server, said_by="the address", fix=again)


def _told(given: Given) -> str:
    view.note(f"{given.role} of {given.states} for {given.expires_in // 3600} h")
    return given.token


def _open(page: str) -> None:
    """Show the page in a browser. Its address has nothing in it that helps whoever reads it."""
    import subprocess

    view.note("log in at your provider; where no browser opens, open this page yourself:")
    view.note(page)
    words = [sys.executable, "-m", "webbrowser", "-t", page]
    quiet = subprocess.DEVNULL  # a browser that writes to our output would spoil it
    subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def _tell_code(code: Code) -> None:
    view.note(f"open {code.whole or code.page}")
    view.note(f"and type the code {code.code}; it is good for {code.lasts_s // 60:.0f} min")


def _say(found: LoggedIn) -> None:
    view.say(f"logged in to {found.server} as {found.who}")
    view.note(f"kept in {found.file}, until: {command('logout')}")

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
    from interlock.compose.login import LoggedIn

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
    json: Json = False,
) -> None:
    """Work at a server from now on: its queues, states and history are those of every command.

    The token is read from a prompt, or from stdin, and kept in a file that only you can read. INTERLOCK_SERVER and
    INTERLOCK_TOKEN go before what is kept.
    """
    from interlock.compose.login import log_in

    found = asyncio.run(log_in(url or _known(), _read_token(), os.environ))
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


def _say(found: LoggedIn) -> None:
    view.say(f"logged in to {found.server} as {found.who}")
    view.note(f"kept in {found.file}, until: {command('logout')}")

"""`interlock gateway`: the API gateway alone, for SDK scripts, Archy and other tools."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.amounts import amount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from interlock.gateway.oauth import Credentials
    from interlock.gateway.service import Terms
    from interlock.gateway.tokens import Reread

app = typer.Typer()

_COMMAND_S = 30.0  # longest time for a command that prints a secret


@app.command()
def gateway(
    *,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")],
    region: Annotated[
        str | None, typer.Option(metavar="REGION", help="Region, such as eu-central-1; by default GENESYSCLOUD_REGION.")
    ] = None,
    upstream_api: Annotated[str | None, typer.Option(metavar="URL", help="API host instead of the region's.")] = None,
    upstream_login: Annotated[
        str | None, typer.Option(metavar="URL", help="Login host instead of the region's.")
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(metavar="NAME=N/SECONDSs", help="Override an API limit, such as token=300/60s.")
    ] = None,
    tokens: Annotated[int, typer.Option(metavar="N", help="Upstream token pool size, 1 to 50.")] = 10,
    hold: Annotated[
        float, typer.Option(metavar="SECONDS", help="Longest time to hold a call before answering 429, up to 12.")
    ] = 8.0,
    secret_file: Annotated[
        str | None, typer.Option(metavar="PATH", help="File with the client secret, instead of the environment.")
    ] = None,
    secret_command: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Command that prints the client secret.")
    ] = None,
    open_login: Annotated[
        bool, typer.Option("--open-login", help="Let any client log in; loopback addresses only.")
    ] = False,
    count_uploads: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Also run an HTTPS_PROXY here that counts uploads that bypass the gateway."
        ),
    ] = None,
    public: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="Name in the Host header that a proxy passes on."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the address as one JSON document when ready.")] = False,
) -> None:
    """Run the API gateway in front of Genesys Cloud until SIGINT, SIGTERM or SIGHUP.

    The OAuth client comes from GENESYSCLOUD_OAUTHCLIENT_ID and GENESYSCLOUD_OAUTHCLIENT_SECRET. Clients use
    http://HOST:PORT/c/NAME as the gateway of their SDK (or no prefix) and log in with the same credentials.
    """
    import os

    from interlock.gateway.rules import parse_override
    from interlock.gateway.service import Terms
    from interlock.listening.loop import run_server

    host, port = _address(listen)
    api_url, login_url = _upstream(region or os.environ.get("GENESYSCLOUD_REGION"), upstream_api, upstream_login)
    terms = Terms(
        api_url=api_url,
        login_url=login_url,
        credentials=_credentials(os.environ, secret_file, secret_command),
        budgets=tuple(parse_override(each) for each in budget or ()),
        tokens=tokens,
        hold_s=hold,
        open_login=open_login,
        names=tuple(public or ()),
        reread=_rereading(lambda: _credentials(os.environ, secret_file, secret_command)),
    )
    proxy = _Uploads(*_address(count_uploads), domain=_domain(api_url)) if count_uploads else None
    run_server(_serve(terms, host, port, uploads=proxy, json=json))


@dataclass(frozen=True, slots=True)
class _Uploads:
    """Where the upload tunnel listens, and below which domain it reaches."""

    host: str
    port: int
    domain: str


def _domain(api_url: str) -> str:
    from urllib.parse import urlsplit

    return (urlsplit(api_url).hostname or "").removeprefix("api.")


async def _serve(terms: Terms, host: str, port: int, *, uploads: _Uploads | None, json: bool) -> None:
    """Run until the first signal."""
    from interlock.cli import view
    from interlock.gateway.service import Gateway
    from interlock.listening.ending import Ending
    from interlock.listening.strangers import is_loopback

    gate, ending = Gateway(terms), Ending()
    async with _counting(uploads) as proxy:  # first: an address that is refused ends it before anything is sent
        try:
            address = await gate.start(host, port)
            trouble = await gate.check_login()
            view.note(f"the gateway listens on {address.url} for {terms.api_url}")
            if not is_loopback(address.host):
                view.note("credentials and data cross the network in clear: let a proxy with TLS stand before it")
            if trouble:
                view.note(f"  warning: no token yet, trying on: {trouble}")
            if proxy:
                view.note(f"uploads: set HTTPS_PROXY={proxy} and NO_PROXY=127.0.0.1 for the tool")
            if json:
                _print_ready(address.url, terms)
            await ending.wait()
            view.note("closing: calls under way may end")
        finally:
            await gate.aclose()


@asynccontextmanager
async def _counting(uploads: _Uploads | None) -> AsyncIterator[str]:
    """Run the upload tunnel, if it is wanted; yield its address, and tell in the end what passed."""
    if uploads is None:
        yield ""
        return
    from interlock.cli import view
    from interlock.gateway.service import Address
    from interlock.gateway.tunnel import Tunnel

    tunnel = Tunnel(uploads.domain)
    host, port = await tunnel.start(uploads.host, uploads.port)
    try:
        yield Address(host=host, port=port).url
    finally:
        await tunnel.aclose()
        for name, count in sorted(tunnel.uploads.items()):
            view.note(f"uploads to {name}: {amount(count.connections, 'connection')}, {amount(count.up_bytes, 'byte')}")


def _print_ready(url: str, terms: Terms) -> None:
    from interlock.cli import view

    ready = {"url": url, "api": terms.api_url, "login": terms.login_url, "tokens": terms.tokens}
    view.emit(ready, json=True, human=lambda: None)
    view.flush()


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - TCP
        raise _usage(f"cannot listen on {listen[:60]!r}", "an address is HOST:PORT, such as 127.0.0.1:8181")
    return host, int(port)


def _upstream(region: str | None, api: str | None, login: str | None) -> tuple[str, str]:
    from interlock.genesys import parse_region
    from interlock.settings.authority import check_address

    if api or login:
        if not (api and login):
            raise _usage("only one upstream was given", "the API and the login service are two hosts")
        return check_address(api, said_by="--upstream-api"), check_address(login, said_by="--upstream-login")
    if not region:
        raise _usage("no region was given", "the gateway must know where the organisation lives", "add --region")
    found = parse_region(region)
    return f"https://{found.api_host}", f"https://{found.login_host}"


def _rereading(read: Callable[[], Credentials]) -> Reread:
    """Return what reads the client's secret again, after somebody rotated it."""
    import asyncio

    from interlock.cli import view
    from interlock.errors import InterlockError

    async def reread() -> Credentials | None:
        try:
            return await asyncio.to_thread(read)
        except InterlockError as error:
            view.note(f"  warning: the client secret cannot be read again: {error.what}")
            return None

    return reread


def _credentials(environment: Mapping[str, str], secret_file: str | None, command: str | None) -> Credentials:
    from interlock.gateway.oauth import Credentials, Secret

    client_id = environment.get("GENESYSCLOUD_OAUTHCLIENT_ID", "")
    secret = _secret(environment, secret_file, command)
    if not client_id or not secret:
        missing = "GENESYSCLOUD_OAUTHCLIENT_ID" if not client_id else "GENESYSCLOUD_OAUTHCLIENT_SECRET"
        raise _usage(f"{missing} is not set", "the gateway owns the OAuth client of all runs", f"export {missing}=...")
    return Credentials(client_id=client_id, secret=Secret(secret))


def _secret(environment: Mapping[str, str], secret_file: str | None, command: str | None) -> str:
    from pathlib import Path

    from interlock.trust.secret_file import read_secret_file

    if secret_file and command:
        raise _usage("two secrets were given", "--secret-file and --secret-command exclude each other")
    if secret_file:
        return read_secret_file(Path(secret_file), what="the file with the client secret")
    return _ask_command(command) if command else environment.get("GENESYSCLOUD_OAUTHCLIENT_SECRET", "")


def _ask_command(command: str) -> str:
    import shlex

    from interlock.errors import reason_of
    from interlock.trust.asked_program import ask_program

    try:
        done = ask_program(shlex.split(command), timeout_s=_COMMAND_S)
        said = done.out.decode().strip()
    except (OSError, ValueError, IndexError) as error:
        raise _usage("the secret command failed", reason_of(error), "run it by hand") from error
    if done.code:
        raise _usage("the secret command failed", f"it ended with status {done.code}", "run it by hand")
    return said


def _usage(what: str, why: str, fix: str = "see interlock gateway --help") -> Exception:
    from interlock.errors import UsageError

    return UsageError(what, why=why, fix=fix)

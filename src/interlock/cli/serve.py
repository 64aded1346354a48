"""`interlock serve`: state backend and queue over HTTP, on the file that embedded mode uses or on PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.errors import UsageError, command

if TYPE_CHECKING:
    from interlock.compose.serving import Ready

app = typer.Typer()


@app.command()
def serve(
    *,
    listen: Annotated[
        str,
        typer.Option("--listen", metavar="HOST:PORT", help="Address; beyond loopback only with TLS or behind a proxy."),
    ] = "127.0.0.1:8650",
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="URL", help="sqlite:PATH or postgresql://USER@HOST/DATABASE; by default the home's file."
        ),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option(
            "--token-file", metavar="FILE", help="File with the token; by default INTERLOCK_TOKEN, or a new one."
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="Name in the Host header that a proxy passes on."),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="URL", help="Address by which clients reach it; CI identity tokens name it."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate, with those that it hangs on.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Key of the certificate.")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy with TLS stands before this address.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON with the address when ready.")] = False,
) -> None:
    """Serve states to plain Terraform with backend "http": locking, FIFO queue, versions, quarantine.

    Several servers may share one PostgreSQL store; a waiter at one is granted when the holder unlocks at another.
    """
    from interlock.compose.serving import ServeAsked
    from interlock.compose.serving import serve as run

    if (tls_cert is None) != (tls_key is None):
        raise UsageError(
            "certificate and key belong together",
            why="only one of --tls-cert and --tls-key was given",
            fix=command(
                "serve", "--tls-cert", str(tls_cert or "server.crt"), "--tls-key", str(tls_key or "server.key")
            ),
        )
    asked = ServeAsked(
        listen=listen,
        store=store,
        token_file=token_file,
        names=host or [],
        urls=url or [],
        tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
        is_behind_proxy=behind_proxy,
    )
    run(asked, _tell_json if json else _tell)


def _tell(ready: Ready) -> None:
    from interlock.cli import view

    view.note(f"serving states on {ready.address}/state/NAME, token in {ready.token}; Ctrl-C ends it")
    if ready.admin_token:
        view.note("the store is new. Its administrator's token, shown this once and good for a day:")
        view.note(ready.admin_token)
        view.note(f"make others with: {command('token', 'create', '--role', 'runner', '--store', ready.store)}")
    for warning in ready.warnings:
        view.note(f"the store {ready.store}: {warning}")


def _tell_json(ready: Ready) -> None:
    from interlock.cli import view

    if ready.admin_token:
        view.tell_of_open_file()
    view.print_line(ready)
    view.flush()

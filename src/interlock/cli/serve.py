"""`interlock serve`: state backend and queue over HTTP, on the file that embedded mode uses."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def serve(
    *,
    listen: Annotated[
        str,
        typer.Option("--listen", metavar="HOST:PORT", help="Address; beyond loopback put a proxy with TLS before it."),
    ] = "127.0.0.1:8650",
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
) -> None:
    """Serve states to plain Terraform with backend "http": locking, FIFO queue, versions, quarantine."""
    from interlock.cli import view
    from interlock.compose.serving import serve as run

    run(listen, token_file, host or [], view.note)

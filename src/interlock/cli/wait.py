"""`interlock wait`: until a run has ended. For an `if: always()` step, so that a cancelled job lets its run finish."""

from __future__ import annotations

import os
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def wait(
    run: Annotated[
        str | None, typer.Argument(help="Run id; by default the newest run of this CI job or folder.")
    ] = None,
    *,
    timeout: Annotated[str | None, typer.Option("--timeout", metavar="TIME", help="Longest wait, such as 20m.")] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Ask it to stop first, unless somebody did: for a step of a cancelled job.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Wait until a run has ended, print its outcome, and exit with its status."""
    from interlock.cli import view
    from interlock.cli.one_run import conclude
    from interlock.compose.burying import await_run

    ended = await_run(run, os.environ, timeout, stop=stop)
    if ended is None:
        if json:
            view.emit({"run": None}, json=True, human=lambda: None)
        view.note("no run of this job or folder; nothing to wait for")
        return
    folder, end = ended
    raise typer.Exit(conclude(end, folder=folder, json=json))

"""`interlock exit-codes`: what each exit status means."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli import status, view

app = typer.Typer()


@app.command()
def exit_codes(*, json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Print every exit status with its code and meaning."""
    rows = status.table()
    view.emit(
        {"exit_codes": rows},
        json=json,
        human=lambda: view.table(
            ("EXIT", "CODE", "MEANING"), [(str(row.exit), row.code, row.meaning) for row in rows], empty=""
        ),
    )

"""`interlock migrate`: bring the tables of a store up to date."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def migrate(
    *,
    store: Annotated[str, typer.Option("--store", metavar="URL", help="The store: postgresql://USER@HOST/DATABASE.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is missing, change nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make or change the tables of a PostgreSQL store, while servers go on working.

    Each statement is one transaction; ended at any point, the rest is done by the next call.
    """
    from interlock.cli import view
    from interlock.compose.migrating import migrate as run

    done = asyncio.run(run(store, is_dry=dry_run))
    view.emit(
        {"store": done.store, "statements": done.statements, "is_done": not dry_run},
        json=json,
        human=lambda: view.say(_said(done.store, len(done.statements), is_dry=dry_run)),
    )


def _said(store: str, statements: int, *, is_dry: bool) -> str:
    if not statements:
        return f"{store} is up to date"
    return f"{store}: {statements} {'statements are missing' if is_dry else 'statements done'}"

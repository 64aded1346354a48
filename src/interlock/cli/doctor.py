"""`interlock doctor`: what stands in the way of a safe run."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import view

if TYPE_CHECKING:
    from interlock.operate.doctor import Checked

app = typer.Typer()

_MARKS = {"problem": ("✗", "31"), "note": ("·", "2"), "ok": ("✓", "32")}
"""How results are shown, in this order: what is wrong comes first."""


@app.command()
def doctor(
    directory: Annotated[Path, typer.Argument(help="The root module.", show_default="here")] = Path(),
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Do what needs no decision: make the home, ignore states.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check everything around a run: settings, Terraform, backend, store, and what is left of earlier runs.

    Problems come first. --fix never changes a state, a lock, or a backend.
    """
    from interlock.compose.examining import examine

    found, done = asyncio.run(examine(directory, os.environ, fix=fix))
    rows = sorted(found, key=lambda row: list(_MARKS).index(row.result))
    if not json:
        for text in done:
            view.note(f"done  {text}")
    view.emit({"checks": rows, "done": done}, json=json, human=lambda: _show(rows))
    if any(row.result == "problem" for row in rows):
        raise typer.Exit(1)


def _show(rows: list[Checked]) -> None:
    colour = view.colour_allowed(sys.stdout)
    for row in rows:
        mark, code = _MARKS[row.result]
        sign = f"\x1b[{code}m{mark}\x1b[0m" if colour else mark
        view.say(f"{row.name}: {row.text}", mark=f"{sign} ")
        if row.fix:
            view.say(f"    next  {row.fix}")

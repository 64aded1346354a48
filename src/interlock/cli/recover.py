"""`interlock recover`: placeholder until the procedure follows in the next commit."""

from __future__ import annotations

import typer

app = typer.Typer()

"""`interlock output`: the outputs of a stored state, as `terraform output` prints them, without a run."""

from __future__ import annotations

import json as jsons
from typing import Annotated

import typer

from interlock.cli import completing, view
from interlock.errors import UsageError, command
from interlock.foreign_text import one_line

app = typer.Typer()


@app.command()
def output(
    name: Annotated[str | None, typer.Argument(help="One output; all of them without it.", metavar="[NAME]")] = None,
    *,
    state: Annotated[
        str,
        typer.Option(
            "--state",
            help="State name, or the folder of its root module.",
            metavar="STATE",
            autocompletion=completing.states,
        ),
    ] = ".",
    raw: Annotated[bool, typer.Option("--raw", help="Print the value alone, as it is; it may be a secret.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON as terraform output -json; with secrets.")] = False,
) -> None:
    """Print the outputs of a state as terraform output does. Nothing waits: the stored state is read."""
    from interlock.cli.state import _in
    from interlock.run.shown import HIDDEN, spell_outputs, spell_value
    from interlock.state.outputs import find_output, read_outputs

    if raw and name is None:
        raise UsageError("--raw prints one output", fix=command("output"))
    if name is not None and ("/" in name or name in {".", ".."}):  # as no output can be called
        raise UsageError(
            f"{one_line(name)} is not the name of an output",
            why="a state, or the folder of its root module, is named with --state",
            fix=command("output", "--state", name),
        )
    found = read_outputs(_in(state, lambda site: site.versions.body(None)))
    if name is None:
        if json:
            view.print_json({each: one.document for each, one in found.items()})
        elif found:
            view.plan(spell_outputs({each: HIDDEN if one.sensitive else one.plain for each, one in found.items()}))
        else:
            view.note("the state has no outputs; an output block and an apply make one")
        return
    one = find_output(found, name)
    if raw:
        view.raw(one.raw(name).encode())
    elif json:
        view.raw(jsons.dumps(one.plain).encode() + b"\n")
    else:
        view.plan(spell_value(one.plain) + "\n")

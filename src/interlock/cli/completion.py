"""`interlock completion SHELL`: a completion script on stdout."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from interlock.cli import view

app = typer.Typer()


class Shell(Enum):
    """Shells whose completion Typer can write."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(help="Which shell to complete in.")]) -> None:
    """Print the script, for example: eval "$(interlock completion bash)"."""
    from typer._completion_shared import get_completion_script  # the public module re-exports it untyped

    script = get_completion_script(prog_name="interlock", complete_var="_INTERLOCK_COMPLETE", shell=shell.value)
    view.document(script + "\n")

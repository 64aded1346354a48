"""`interlock completion SHELL`: a completion script on stdout, or where the shell looks for it."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from interlock.cli import view
from interlock.errors import UsageError

app = typer.Typer()


class Shell(Enum):
    """Shells that can be told what may follow."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    PWSH = "pwsh"


_FILES = {
    Shell.BASH: ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/interlock"),
    Shell.ZSH: ("ZDOTDIR", "", ".zfunc/_interlock"),
    Shell.FISH: ("XDG_CONFIG_HOME", ".config", "fish/completions/interlock.fish"),
    Shell.PWSH: ("XDG_CONFIG_HOME", ".config", "powershell/interlock.ps1"),
}
"""Where each shell looks: a variable that names the folder, the usual folder below the home, the file."""

_NEXT = {
    Shell.BASH: "open a new shell; it needs the package bash-completion",
    Shell.ZSH: "put this before compinit in .zshrc: fpath+=({folder})",
    Shell.FISH: "open a new shell",
    Shell.PWSH: "put this into the file that $PROFILE names: . '{path}'",
}

_PWSH = """\
Register-ArgumentCompleter -Native -CommandName interlock -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $Env:_INTERLOCK_COMPLETE = "complete_pwsh"
    $Env:_TYPER_COMPLETE_ARGS = $commandAst.ToString()
    $Env:_TYPER_COMPLETE_WORD_TO_COMPLETE = $wordToComplete
    try {
        interlock | ForEach-Object {
            $name, $help = $_ -split ":::", 2
            if (-not $help) { $help = $name }
            [System.Management.Automation.CompletionResult]::new($name, $name, "ParameterValue", $help)
        }
    }
    finally {
        Remove-Item Env:_INTERLOCK_COMPLETE, Env:_TYPER_COMPLETE_ARGS, Env:_TYPER_COMPLETE_WORD_TO_COMPLETE
    }
}"""
"""Typer's own script also binds the Tab key of the whole session anew; that is the person's to decide."""


@app.command()
def completion(
    shell: Annotated[Shell, typer.Argument(help="Which shell to complete in.")],
    *,
    install: Annotated[bool, typer.Option("--install", help="Write it to where the shell looks for it.")] = False,
) -> None:
    """Print the script, for example: eval "$(interlock completion bash)"; or install it."""
    text = f"{script(shell)}\n"
    if not install:
        view.document(text)
        return
    path = _path(shell)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written", why=error.strerror or "", fix=_BY_HAND) from error
    view.note(f"wrote {path}; next: {_NEXT[shell].format(path=path, folder=path.parent)}")


_BY_HAND = "interlock completion bash    prints the script"


def script(shell: Shell) -> str:
    """Return what makes a shell ask us."""
    if shell is Shell.PWSH:
        return _PWSH
    from typer._completion_shared import get_completion_script  # the public module re-exports it untyped

    return get_completion_script(prog_name="interlock", complete_var="_INTERLOCK_COMPLETE", shell=shell.value)


def _path(shell: Shell) -> Path:
    variable, usual, name = _FILES[shell]
    named = os.environ.get(variable)
    return (Path(named) if named else Path.home() / usual) / name

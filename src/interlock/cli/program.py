"""Which program a person works with, for hints: the one that a run in this folder would start."""

from __future__ import annotations

import os
from pathlib import Path

from interlock.errors import PROGRAM, InterlockError


def program_in(folder: Path, named: str | None = None) -> str:
    """Return `terraform` or `tofu`.

    Args:
        folder: The root module, or where a command was typed.
        named: What `--terraform` says; None for what the settings of the folder say.
    """
    from interlock.run.binary import typed_program
    from interlock.settings.reading import load

    if named is None:
        try:
            named = load(folder, os.environ).terraform
        except (InterlockError, OSError):  # told where they are read; the environment may still say
            named = os.environ.get("INTERLOCK_TERRAFORM") or None
    return typed_program(named, os.environ)


def with_program(error: InterlockError, folder: Path, named: str | None = None) -> InterlockError:
    """Fill the program into a failure's hint; nothing is looked for where the hint names none."""
    return error.running(program_in(folder, named)) if PROGRAM in error.fix else error

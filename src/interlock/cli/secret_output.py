"""Secrets that a command gives a person: into a new file that is theirs alone, or on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from interlock.cli import view
from interlock.trust.secret_file import new_secret_file

Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Write it into this new file, which only you can read, instead of stdout."
    ),
]

Write = Callable[[bytes], None]


@contextmanager
def secret_output(out: Path | None) -> Iterator[Write | None]:
    """Yield what writes a secret into a new file, which is there before the secret is; None for stdout.

    Raises:
        UsageError: See `new_secret_file`.
    """
    if out is None:
        yield None
        view.tell_of_open_file("; or let --out FILE write it")  # not before: what is refused writes no secret
        return
    with new_secret_file(out) as file:

        def write(secret: bytes) -> None:
            file.write(secret)

        yield write


def told(values: Mapping[str, object], secret: str, out: Path | None) -> dict[str, object]:
    """Return what `--json` says: the secret under its name, or where it is instead."""
    kept = {name: value for name, value in values.items() if out is None or name != secret}
    return kept if out is None else {**kept, "path": str(out)}

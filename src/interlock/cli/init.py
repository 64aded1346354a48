"""`interlock init`: writes interlock.yaml."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from interlock.errors import UsageError, command, reason_of
from interlock.source.tree import is_configuration

app = typer.Typer()


@app.command()
def init(
    directory: Annotated[
        Path, typer.Argument(help="Where to write it; the repository's root.", show_default="here")
    ] = Path(),
    *,
    just_print: Annotated[bool, typer.Option("--print", help="Print it instead of writing it.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of interlock.yaml.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write interlock.yaml with the root modules found below, each as a state."""
    from interlock.cli import view
    from interlock.settings.judged import FILE_NAME
    from interlock.source.disk import SHARED, write_file

    if schema:
        from interlock.settings.document import json_schema

        view.print_json(json_schema())
        return
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a folder", fix="name the repository's root")
    found = names_of(directory, root_modules(directory))
    text = document(found)
    values = {"states": {name: str(path) for name, path in found.items()}, "path": None}
    if just_print:
        view.emit(values, json=json, human=lambda: view.document(text))
        return
    target = directory / FILE_NAME
    if os.path.lexists(target) and not force:
        raise UsageError(f"{target} exists", why="it would be overwritten", fix="interlock init --force, or --print")
    try:
        write_file(target, text.encode(), SHARED)
    except OSError as error:
        why = reason_of(error)
        raise UsageError(f"{target} cannot be written", why=why, fix=command("init", directory, "--print")) from error
    view.emit(
        {**values, "path": str(target)}, json=json, human=lambda: view.note(f"wrote {target}; next: interlock doctor")
    )


def names_of(directory: Path, modules: Sequence[Path]) -> dict[str, Path]:
    """Return the root modules by state name: the name that runs have used so far, else one made from the path.

    A module that got another name than its runs have used would begin with an empty state, and its next plan would
    create everything a second time.
    """
    import asyncio

    used = asyncio.run(_used([directory / module for module in modules]))
    named: dict[str, Path] = {}
    for module, name in zip(modules, used, strict=True):
        wanted = name or _name(module)
        while wanted in named:
            wanted += "-2"
        named[wanted] = module
    return named


async def _used(folders: Sequence[Path]) -> list[str | None]:
    from interlock.compose.homes import at_home
    from interlock.site.earlier import states_so_far

    async with at_home(os.environ, make=False) as home:
        return await states_so_far(home, folders)


def document(states_by_name: Mapping[str, Path]) -> str:
    """Return the text of interlock.yaml for these root modules."""
    states = "".join(
        f"  {name}:\n    directory: {json.dumps(path.as_posix(), ensure_ascii=False)}\n"
        for name, path in states_by_name.items()
    )
    return (
        "# Interlock's settings. `interlock init --schema` prints the JSON Schema; unknown keys are errors.\n"
        "version: 1\n"
        "run:\n"
        "  wait: 30m         # longest wait for a turn (exit 10 after it)\n"
        "  # max_deletes: 5  # refuse plans that delete more (exit 41)\n"
        + (f"states:\n{states}" if states else "states: {}\n")
    )


_DEPTH = 6  # folders below the root that are searched
_SKIPPED = frozenset({".git", ".terraform", "node_modules", ".venv", "modules"})
_LIMIT = 200
_ROOT_WORD = re.compile(r"""\b(?:provider|backend|cloud|resource|module)[" ]""")


def root_modules(directory: Path) -> list[Path]:
    """Return folders below `directory` that look like root modules: with a provider, backend, resource or module."""
    found = []
    for folder in _folders(directory, _DEPTH):
        texts = [path.read_text(errors="replace", encoding="utf-8") for path in sorted(_configuration(folder))[:100]]
        if any(_ROOT_WORD.search(text) for text in texts):
            found.append(folder.relative_to(directory))
        if len(found) == _LIMIT:
            break
    return found


def _configuration(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if is_configuration(path.name) and path.is_file()]


def _folders(directory: Path, depth: int) -> list[Path]:
    below = (
        [] if depth == 0 else sorted(path for path in directory.iterdir() if path.is_dir() and not path.is_symlink())
    )
    return [directory, *(found for path in below if path.name not in _SKIPPED for found in _folders(path, depth - 1))]


def _name(path: Path) -> str:
    parts = [part for part in path.parts if part not in {"envs", "environments", "terraform", "infra", "stacks"}]
    legal = (re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("._-") for part in parts)
    return "/".join(part or "module" for part in legal) or "main"

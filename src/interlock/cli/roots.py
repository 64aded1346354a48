"""`interlock roots`: the root modules of interlock.yaml in order, which needs which, and which a change touches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import view
from interlock.cli.one_run import divide_folders
from interlock.cli.run import Changed
from interlock.foreign_text import one_line

if TYPE_CHECKING:
    from interlock.cli.many import Chosen

app = typer.Typer()


@app.command()
def roots(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR…]", help="Root modules.", show_default="interlock.yaml")
    ] = None,
    *,
    changed: Changed = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the roots in the order in which `--all` works on them. Nothing is run."""
    from interlock.cli.many import Choice, choose
    from interlock.compose.homes import settings_here
    from interlock.operate.ordering import root_module

    named = tuple(dict.fromkeys(root_module(each) for each in divide_folders(Path(), _words(folders))[0][1:]))
    chosen = choose(Choice(folders=named, changed=changed, jobs=1), settings_here(os.environ), os.environ)
    values = _values(chosen)
    view.emit(values, json=json, human=lambda: _show(chosen, values))


def _words(folders: list[Path] | None) -> tuple[str, ...]:
    return tuple(map(str, folders or ()))


def _values(chosen: Chosen) -> dict[str, Any]:
    waves = {name: number for number, wave in enumerate(chosen.roots.waves, start=1) for name in wave}
    addresses = {root.name: root.address for root in chosen.roots.modules}
    return {
        "base": chosen.base or None,
        "roots": [
            {
                "root": name,
                "directory": str(chosen.roots.folder(name)),
                "address": addresses[name] or None,
                "wave": wave,
                "needs": [
                    {"root": need.on, "reason": need.reason.value, "why": need.why}
                    for need in chosen.roots.needs
                    if need.root == name
                ],
                "touched": None
                if chosen.touched is None
                else {"why": chosen.touched[name].why, "through": chosen.touched[name].through},
                "unclear": chosen.roots.unclear.get(name, ()),
            }
            for name, wave in waves.items()
        ],
        "untouched": list(chosen.untouched),
        "without_directory": list(chosen.roots.folderless),
        "doubts": list(chosen.doubts),
    }


def _show(chosen: Chosen, values: dict[str, Any]) -> None:
    from interlock.cli.many import notes_of

    for text in notes_of(chosen):
        view.note(text)
    rows = [
        (str(row["wave"]), row["root"], ", ".join(dict.fromkeys(need["root"] for need in row["needs"])) or "-")
        for row in values["roots"]
    ]
    if rows or chosen.touched is None:
        view.table(("WAVE", "ROOT", "COMES AFTER"), rows, empty="no roots")
    for row in values["roots"]:
        for need in row["needs"]:
            view.note(one_line(f"{row['root']} comes after {need['root']}: {need['why']}"))

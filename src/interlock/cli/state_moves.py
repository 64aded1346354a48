"""`interlock state import` and `interlock state export`: states between this machine's own store and a server's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from interlock.amounts import amount
from interlock.cli import completing, view
from interlock.cli.adopt import ask
from interlock.errors import UsageError, command

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.operate.adopting import Plan, Relocation
    from interlock.operate.moving import Content

Which = Literal["import", "export"]
_T = TypeVar("_T")

States = Annotated[
    list[str] | None,
    typer.Argument(metavar="[STATE]...", help="States, or folders of root modules.", autocompletion=completing.states),
]
Everything = Annotated[bool, typer.Option("--all", help="Every state that is stored there.")]
As = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Another name for the one state.")]
Bare = Annotated[bool, typer.Option("--without-history", help="Leave the earlier versions where they are.")]
Yes = Annotated[bool, typer.Option("--yes", help="Answer the question about the states with yes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def add_to(app: typer.Typer) -> None:
    """Add both commands to the group of those about states."""
    app.command("import")(bring)
    app.command("export")(give)


def bring(
    states: States = None,
    *,
    everything: Everything = False,
    renamed: As = None,
    without_history: Bare = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Move states from this machine's own store to the server in use.

    Each is closed here first, brought with its earlier versions, read back and compared; nothing is deleted. Killed at
    any step, it is finished by the same command. `state export` is the way back; a state on another backend is moved
    by `adopt` and `leave`.
    """
    words = _words(states, "import", everything=everything)
    asked = _Asked("import", words, renamed, not without_history, yes=yes, dry_run=dry_run, json=json)
    plan, done = _moved(asked)
    values = {"imported": not dry_run, "states": _rows(plan, done)}
    view.emit(values, json=json, human=lambda: _say_next(plan, dry_run=dry_run))


def give(
    states: States = None,
    *,
    everything: Everything = False,
    renamed: As = None,
    without_history: Bare = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Move states from the server in use to this machine's own store.

    As `state import`, in the other direction. At the server each stays closed, with its versions, and says where it is.
    """
    words = _words(states, "export", everything=everything)
    asked = _Asked("export", words, renamed, not without_history, yes=yes, dry_run=dry_run, json=json)
    plan, done = _moved(asked)
    values = {"exported": not dry_run, "states": _rows(plan, done)}
    view.emit(values, json=json, human=lambda: _say_home(dry_run=dry_run))


@dataclass(frozen=True, slots=True)
class _Asked:
    """One of the two commands as it was typed."""

    which: Which
    words: list[str]
    renamed: str | None
    history: bool
    yes: bool = field(kw_only=True)
    dry_run: bool = field(kw_only=True)
    json: bool = field(kw_only=True)

    def ends(self, here: Home, there: Home) -> tuple[Home, Home]:
        """Return from where and to where states are moved."""
        return (here, there) if self.which == "import" else (there, here)

    def again(self, each: Relocation) -> str:
        """Return the command that finishes the move of one state."""
        renamed = () if self.renamed is None else ("--as", each.target.queue)
        history = () if self.history else ("--without-history",)
        return _command(self.which, each.source.queue, *renamed, *history)


def _command(which: Which, *words: str) -> str:
    return command("state", "import", *words) if which == "import" else command("state", "export", *words)


def _words(states: list[str] | None, which: Which, *, everything: bool) -> list[str]:
    if bool(states) == everything:
        raise UsageError(
            "name the states to move, or --all",
            why="both were given" if states else "none was named",
            fix=_command(which, "--all", "--dry-run"),
        )
    return states or []


def _moved(asked: _Asked) -> tuple[Plan, dict[str, Content]]:
    """Show the plan, ask, and move the states; return what was moved, by its name at the source."""
    from interlock.operate.importing import plan_transfers, transfer

    async def look(here: Home, there: Home) -> Plan:
        return await plan_transfers(asked.words, *asked.ends(here, there), os.environ, renamed=asked.renamed)

    plan, done = _at_both(look, make=not asked.dry_run), dict[str, "Content"]()
    if not asked.json or not asked.yes:
        for each in plan.states:
            view.note(_say(each))
    if asked.dry_run:
        return plan, done
    ask(f"{asked.which.capitalize()} {amount(len(plan.states), 'state')}?", yes=asked.yes)

    def told(each: Relocation, content: Content) -> None:
        done[each.source.queue] = content
        if not asked.json:
            view.note(_say_moved(each, content))

    def broke_off(each: Relocation) -> None:
        view.note(f"what was begun is finished by the same command: {asked.again(each)}")

    async def act(here: Home, there: Home) -> None:
        await transfer(plan, *asked.ends(here, there), told=told, broke_off=broke_off, history=asked.history)

    _at_both(act, make=True)
    return plan, done


def _say(each: Relocation) -> str:
    content = each.move.content
    count = "" if content.resources is None else f", {amount(content.resources, 'resource')}"
    noted = ", moved already" if each.move.done else ", stored there already" if each.move.stored else ""
    name = "" if each.target.queue == each.source.queue else f" -> {each.target.queue}"
    return f"{each.source.queue}{name}  serial {content.serial}{count}{noted}"


def _say_moved(each: Relocation, content: Content) -> str:
    if content.before:
        return f"{each.target.queue}  serial {content.serial}, was moved by another command meanwhile"
    text = f"moved and read back  {each.target.queue}  serial {content.serial}, sha256 {content.sha256[:12]}"
    if content.brought is None:
        return f"{text}; its earlier versions stay where they were"
    brought, left = content.brought.versions, content.brought.left
    more = f", {left} not: pruned, damaged or too old" if left else ""
    return f"{text}; {amount(brought, 'earlier version')} brought along{more}" if brought or left else text


def _rows(plan: Plan, done: dict[str, Content]) -> list[dict[str, Any]]:
    return [_row(each, done.get(each.source.queue)) for each in plan.states]


def _row(each: Relocation, moved: Content | None) -> dict[str, Any]:
    content = moved or each.move.content
    brought = content.brought
    return {
        "state": each.source.queue,
        "to": each.target.queue,
        "workspace": each.workspace,
        "serial": content.serial,
        "lineage": content.lineage,
        "resources": content.resources,
        "sha256": content.sha256,
        "moved_before": each.move.done or content.before,
        "earlier_versions": None if brought is None else brought.versions,
        "earlier_versions_left": None if brought is None else brought.left,
    }


def _say_next(plan: Plan, *, dry_run: bool) -> None:
    if dry_run:
        return
    first = plan.states[0]
    named = ("--state", first.target.queue) if first.target.queue != first.source.queue else ()
    folder = () if first.target.directory is None else (first.target.directory,)
    where = "" if folder else "in the folder of its root module; "
    view.note(f"next: {command('plan', *folder, *named)}    {where}it should find no changes")
    view.note(f"to bring one back: {command('state', 'export', first.target.queue)}")


def _say_home(*, dry_run: bool) -> None:
    if not dry_run:
        view.note(f"next, to work on this machine: {command('logout')}    and unset INTERLOCK_SERVER where it is set")


def _at_both(act: Callable[[Home, Home], Awaitable[_T]], *, make: bool) -> _T:
    from interlock.compose.homes import at_both_stores

    async def run() -> _T:
        async with at_both_stores(os.environ, make=make, told=view.audited, say=view.note) as (here, there):
            return await act(here, there)

    return asyncio.run(run())

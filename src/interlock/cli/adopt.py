"""`interlock adopt`, `interlock leave`: states into Interlock's own store, from any backend; and back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from interlock.amounts import amount
from interlock.cli import completing, view
from interlock.cli.program import program_in
from interlock.errors import PolicyGate, UsageError, command

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.operate.adopting import Plan, Relocation
    from interlock.operate.moving import Content

adopt_app = typer.Typer()
leave_app = typer.Typer()

_T = TypeVar("_T")

Directory = Annotated[Path, typer.Argument(help="The root module.", show_default="here")]
State = Annotated[
    str | None, typer.Option("--state", help="Name of the state.", metavar="NAME", autocompletion=completing.states)
]
Yes = Annotated[bool, typer.Option("--yes", help="Answer the question about the states with yes.")]
Edit = Annotated[bool, typer.Option("--edit", help="Make the edit of the configuration that is shown, too.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@adopt_app.command("adopt")
def take_over(
    directory: Directory = Path(),
    *,
    state: State = None,
    yes: Yes = False,
    edit: Edit = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Take a root module's state, and those of its workspaces, into Interlock's own store.

    They come from the backend that the configuration declares, or from local files. Each is checked, stored, read back
    and compared under its lock; nothing is deleted. The edit of the configuration is shown. `leave` is the way back.
    """
    where = directory.resolve()
    plan = _at_home(lambda home: _planned(home, where, state), make=not dry_run)
    question = f"Take {_count(plan)} over?"
    kept = _carry_out(plan, where, question=question, yes=yes, edit=edit, dry_run=dry_run, json=json)
    name = plan.states[0].target.queue if state else None
    values = {"adopted": not dry_run, "states": _rows(plan), **_edited(plan, kept.edited), "kept": kept.files}
    view.emit(values, json=json, human=lambda: _say_adopted(plan, where, kept, name, dry_run=dry_run))


@leave_app.command("leave")
def give_back(
    directory: Directory = Path(),
    *,
    state: State = None,
    yes: Yes = False,
    edit: Edit = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Give a state, and those of its workspaces, back to plain Terraform.

    They go to the backend that the configuration declares (write its block first), or to local files where it
    declares none. Interlock keeps the versions and pauses their queues, so that no run changes them here any more.
    """
    from interlock.operate.adopting import plan_leaving

    where = directory.resolve()
    plan = _at_home(lambda home: plan_leaving(where, home, os.environ, named=state), make=not dry_run)
    question = f"Give {_count(plan)} back?"
    kept = _carry_out(plan, where, question=question, yes=yes, edit=edit, dry_run=dry_run, json=json)
    values = {"left": not dry_run, "states": _rows(plan), **_edited(plan, kept.edited)}
    view.emit(values, json=json, human=lambda: _say_left(plan, kept, dry_run=dry_run))


async def _planned(home: Home, where: Path, named: str | None) -> Plan:
    """Return what would be taken over; where that is in the store of this machine, and a server in use, say so."""
    from interlock.compose.homes import check_not_left_here
    from interlock.operate.adopting import plan_adoption, usual_name

    try:
        return await plan_adoption(where, home, os.environ, named=named)
    except UsageError:
        name = named or usual_name(where, home, os.environ)
        await check_not_left_here(name, where, home.settings, os.environ)
        raise


class _Done:
    """What a command did: files that were put aside, and whether the configuration was edited."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.edited = False


def _carry_out(plan: Plan, where: Path, *, question: str, yes: bool, edit: bool, dry_run: bool, json: bool) -> _Done:
    """Show the plan, ask, move the states, and only then edit the configuration."""
    from interlock.operate.adopting import carry_out
    from interlock.operate.backend_edit import apply_edit

    done = _Done()
    if not json or not yes:
        for each in plan.states:
            view.note(_say(each))
        for old, new in plan.renamed:
            view.note(f'terraform.workspace is "{old}" there and "{new}" here, and the configuration asks for it')
    if not dry_run:
        ask(question, yes=yes)
        done.files = _at_home(lambda home: carry_out(plan, home, told=_tell(json=json)), make=True)
    if not plan.edit.is_empty and not json:
        _show_edit(plan, where)
    if not dry_run and not plan.edit.is_empty and (edit or (_is_asked(json=json) and view.confirm(_EDIT, yes=False))):
        apply_edit(plan.edit)
        done.edited = True
    return done


_EDIT = "Edit the configuration as shown?"


def _is_asked(*, json: bool) -> bool:
    import sys

    return not json and sys.stdin.isatty()


def _tell(*, json: bool) -> Callable[[Relocation, Content], None]:
    def tell(each: Relocation, content: Content) -> None:
        if not json:
            digest = content.sha256[:12]
            what = "was moved by another command" if content.before else "moved and read back"
            view.note(f"{what}  {each.target.address}  serial {content.serial}, sha256 {digest}")

    return tell


def _say(each: Relocation) -> str:
    content = each.move.content
    count = "" if content.resources is None else f", {amount(content.resources, 'resource')}"
    noted = ", moved already" if each.move.done else ", stored there already" if each.move.stored else ""
    return f"{each.source.address} -> {each.target.address}  serial {content.serial}{count}{noted}"


def _show_edit(plan: Plan, where: Path) -> None:
    view.note("the configuration must change, too:")
    for line in plan.edit.diff().splitlines():
        view.note(f"  {line}")
    if plan.edit.record is not None:
        view.note(f"  put aside what init recorded: {os.path.relpath(plan.edit.record, where)}")


def _count(plan: Plan) -> str:
    return f"{len(plan.states)} state{'s' if len(plan.states) > 1 else ''}"


def _rows(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "state": each.target.queue if each.target.is_own else each.source.queue,
            "from": each.source.address,
            "to": each.target.address,
            "workspace": each.workspace,
            "serial": each.move.content.serial,
            "lineage": each.move.content.lineage,
            "resources": each.move.content.resources,
            "sha256": each.move.content.sha256,
            "moved_before": each.move.done,
        }
        for each in plan.states
    ]


def _edited(plan: Plan, edited: bool) -> dict[str, Any]:
    return {"edit": plan.edit.diff() or None, "put_aside": plan.edit.record, "edited": edited}


def _say_adopted(plan: Plan, where: Path, kept: _Done, name: str | None, *, dry_run: bool) -> None:
    for path in kept.files:
        view.say(f"kept  {path}")
    if dry_run:
        return
    for setting, source in plan.outside:
        view.note(f"also remove {setting} from {source}: it still names the old place")
    view.note("earlier versions, where that backend keeps any, stay there")
    named = ("--state", name) if name else ()
    if plan.edit.is_empty or kept.edited:
        view.note(f"next: {command('plan', where, *named)}    it should find no changes")
    else:
        again = command("adopt", where, *named, "--yes", "--edit")
        view.note(f"next: make that edit, or: {again}    then: {command('plan', where, *named)}")


def _say_left(plan: Plan, kept: _Done, *, dry_run: bool) -> None:
    if dry_run:
        return
    view.note(f"earlier versions stay here: {command('state', 'history', plan.states[0].source.queue)}")
    view.note(f"to work on it here again: {command('adopt', plan.states[0].source.directory or Path())}")
    first = "" if plan.edit.is_empty or kept.edited else "make that edit, then: "
    program = program_in(plan.states[0].source.directory or Path())
    view.note(f"next: {first}{program} init && {program} plan")


def ask(question: str, *, yes: bool) -> None:
    """Ask about states that are to be moved.

    Raises:
        PolicyGate: The answer was no.
    """
    if not view.confirm(question, yes=yes):
        raise PolicyGate("nothing was changed", why="the answer was no", fix="repeat with --yes")


def _at_home(act: Callable[[Home], Awaitable[_T]], *, make: bool) -> _T:
    from interlock.compose.homes import at_home

    async def run() -> _T:
        async with at_home(os.environ, make=make, told=view.audited, say=view.note) as home:
            return await act(home)

    return asyncio.run(run())

"""`interlock adopt`, `interlock leave`: local states into Interlock's own store, and back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from interlock.cli import completing, view
from interlock.errors import PolicyGate, command

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.operate.adopting import Adoption, Leaving

adopt_app = typer.Typer()
leave_app = typer.Typer()

_T = TypeVar("_T")

Directory = Annotated[Path, typer.Argument(help="The root module.", show_default="here")]
State = Annotated[
    str | None, typer.Option("--state", help="Name of the state.", metavar="NAME", autocompletion=completing.states)
]
Yes = Annotated[bool, typer.Option("--yes", help="Answer the question with yes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@adopt_app.command("adopt")
def take_over(
    directory: Directory = Path(), *, state: State = None, yes: Yes = False, dry_run: DryRun = False, json: Json = False
) -> None:
    """Take a local state, and those of its workspaces, into Interlock's own store.

    Each state is checked, stored, read back and compared; then its file is renamed, so nothing is lost. `leave` is the
    way back.
    """
    from interlock.operate.adopting import adopt, plan_adoption

    where = directory.resolve()
    plans = _at_home(lambda home: plan_adoption(where, home, os.environ, named=state), make=not dry_run)
    if not json or not yes:
        for plan in plans:
            view.note(_say_adoption(plan))
    if not dry_run:
        _ask(f"Take {len(plans)} state{'s' if len(plans) > 1 else ''} over?", yes=yes)
        moved = _at_home(lambda home: adopt(plans, where, home), make=True)
    else:
        moved = []
    values = {
        "adopted": not dry_run,
        "states": [
            {"state": p.state, "file": p.file, "workspace": p.workspace, "serial": p.footing.serial} for p in plans
        ],
        "kept": moved,
    }
    view.emit(values, json=json, human=lambda: _say_adopted(moved))


def _say_adoption(plan: Adoption) -> str:
    stored = ", stored already" if plan.stored else ""
    return f"{plan.file} -> {plan.state}  serial {plan.footing.serial}, {plan.resources} resources{stored}"


def _say_adopted(moved: list[Path]) -> None:
    for path in moved:
        view.say(f"kept  {path}")
    if moved:
        view.note(f"next: {command('plan')}    it should find no changes")


@leave_app.command("leave")
def give_back(
    directory: Directory = Path(), *, state: State = None, yes: Yes = False, dry_run: DryRun = False, json: Json = False
) -> None:
    """Write a state, and those of its workspaces, to the files where plain Terraform looks for them.

    Interlock keeps the versions and pauses their queues, so that nobody goes on with them here.
    """
    from interlock.operate.adopting import leave, plan_leaving

    where = directory.resolve()
    plans = _at_home(lambda home: plan_leaving(where, home, os.environ, named=state), make=False)
    if not json or not yes:
        for plan in plans:
            view.note(f"{plan.state} (serial {plan.serial}) -> {plan.file}")
    if not dry_run:
        _ask(f"Give {len(plans)} state{'s' if len(plans) > 1 else ''} back?", yes=yes)
        _at_home(lambda home: leave(plans, home), make=True)
    view.emit({"left": not dry_run, "states": plans}, json=json, human=lambda: _say_left(plans, dry_run=dry_run))


def _say_left(plans: list[Leaving], *, dry_run: bool) -> None:
    if not dry_run:
        view.note(f"written; to let runs go on here again: {command('queue', 'resume', plans[0].state)}")
        view.note('next: terraform init && terraform plan    an empty backend "http" {} must be removed first')


def _ask(question: str, *, yes: bool) -> None:
    if not view.confirm(question, yes=yes):
        raise PolicyGate("nothing was changed", why="the answer was no", fix="repeat with --yes")


def _at_home(act: Callable[[Home], Awaitable[_T]], *, make: bool) -> _T:
    from interlock.compose.homes import at_home

    async def run() -> _T:
        async with at_home(os.environ, make=make, told=view.audited) as home:
            return await act(home)

    return asyncio.run(run())

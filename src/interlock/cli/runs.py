"""`interlock runs`: list, show, follow, cancel and prune runs."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.amounts import amount
from interlock.cli import completing, view
from interlock.cli.runs_view import RUNS_LISTED, show_runs
from interlock.errors import command
from interlock.instants import spelled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from interlock.creations import Creation
    from interlock.policy.approval import Approval
    from interlock.run.retention import Removed
    from interlock.run.summary import Summary
    from interlock.run.transcript import Entry

app = typer.Typer(help="List, show, follow, cancel and prune runs.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
RunId = Annotated[
    str, typer.Argument(help="Run id, or its beginning; `latest` for the newest.", autocompletion=completing.runs)
]
_FOLLOW_S = 0.1  # how often a followed journal is read


@app.command("ls")
def ls(
    *,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="NAME", help="Only this state: its name, or the folder of its root module."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="How many, newest first.")
    ] = RUNS_LISTED,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    from interlock.run.summary import recent

    is_near = state is None and not _is_at_server()
    show_runs(recent(_runs(), limit=limit) if is_near else asyncio.run(_runs_of(state, limit)), json=json)


async def _runs_of(state: str | None, limit: int) -> list[Summary]:
    from interlock.compose.homes import at_home
    from interlock.operate.runs import recent_runs, runs_of

    async with at_home(os.environ, make=False) as home:
        if state is None:
            return await recent_runs(home, limit=limit)
        return await runs_of(state, home, os.environ, limit=limit)


def _is_at_server() -> bool:
    from interlock.compose.homes import settings_here

    return settings_here(os.environ).server is not None


def _folder(run: str) -> Path:
    """Return the folder of a run; of one that works on another machine, a copy of what it told."""
    from interlock.operate.runs import find_run

    return asyncio.run(_brought(run)) if _is_at_server() else find_run(_runs(), run)


async def _brought(run: str) -> Path:
    from interlock.compose.homes import at_home
    from interlock.operate.runs import bring_run

    async with at_home(os.environ, make=False) as home:
        return await bring_run(home, run)


def _runs() -> Path:
    """Return the folder of our runs. No store is opened for what is in files."""
    from interlock.compose.homes import settings_here

    return settings_here(os.environ).runs


@app.command()
def show(
    run: RunId,
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Show its plan, as Terraform prints it.")] = False,
    json: Json = False,
) -> None:
    """Show one run: what was requested, its progress, how it ended; with --plan what it planned."""
    from interlock.operate.runs import is_over
    from interlock.run.summary import as_plain, find_summary
    from interlock.run.transcript import read

    folder = _folder(run)
    if plan:
        _show_plan(folder, json=json)
        return
    summary = find_summary(folder)
    entries = read(folder)
    # No store is opened for what is in files, but only the book knows what is in no state *now*.
    # What a run that goes on has made is not stored yet.
    is_open = is_over(folder) and (summary is None or summary.exit is None or summary.orphans)
    orphans = asyncio.run(_orphans_of(folder.name)) if is_open else []
    values = {**(as_plain(summary) if summary else {"run": folder.name}), "folder": str(folder), "journal": entries}
    values["in_no_state"] = orphans
    request = asyncio.run(_request_of(summary.approval)) if summary is not None and summary.approval else None
    if request is not None:
        from interlock.operate.approving import as_document

        values["request"] = as_document(*request)
    view.emit(values, json=json, human=lambda: _show(summary, entries, str(folder), orphans, request))


async def _request_of(name: str) -> tuple[Approval, datetime] | None:
    """Return what became of a run's request for approval; None when that cannot be told now: the run itself can."""
    from interlock.compose.homes import at_home
    from interlock.errors import InterlockError

    try:
        async with at_home(os.environ, make=False) as home:
            return await home.approvals.get(name), home.clock.now()
    except InterlockError as error:
        view.note(f"what became of request {name} is not known: {error.what}")
        return None


async def _orphans_of(run: str) -> list[Creation]:
    """Return what a run made that no state is known to hold."""
    from interlock.compose.homes import at_home

    async with at_home(os.environ, make=False) as home:
        return await home.creations.of_run(run)


def _show_plan(folder: Path, *, json: bool) -> None:
    """Print the plan that a run kept.

    Raises:
        UsageError: It kept none: it planned nothing, or Terraform could not show it.
    """
    from interlock.bounded import read_json
    from interlock.errors import UsageError
    from interlock.run.shown import PLAN_JSON, PLAN_TEXT

    kept = folder / (PLAN_JSON if json else PLAN_TEXT)
    if not kept.is_file():
        raise UsageError(
            f"run {folder.name} has no plan to show",
            why="it did not come so far, changed nothing, or was made by an older version",
            fix=command("runs", "show", folder.name),
        )
    if json:
        view.print_json(read_json(kept.read_bytes()))
    else:
        view.plan(kept.read_text(errors="replace", encoding="utf-8"))


def _show(
    summary: Summary | None,
    entries: list[Entry],
    folder: str,
    orphans: list[Creation],
    request: tuple[Approval, datetime] | None,
) -> None:
    from interlock.creations import spell

    if summary is not None:
        for name in ("run", "state", "operation", "who", "directory", "phase", "exit", "message", "serial", "job"):
            value = getattr(summary, name)
            if value not in (None, ""):
                view.say(f"{name:<10} {value}")
        if request is not None:
            _show_request(*request)
        for operation in summary.in_flight:
            view.say(f"{'in flight':<10} {operation}")
        for creation in orphans:
            view.say(f"{'no state':<10} {spell(creation)}")
        if orphans:
            view.say(f"{'next':<10} {command('recover', summary.state, '--orphans')}")
    view.say(f"{'folder':<10} {folder}")
    for entry in entries:
        view.say(f"{_line(entry)}")


def _show_request(approval: Approval, now: datetime) -> None:
    from interlock.cli.approval_view import decision_lines, standing_line

    view.say(f"{'approval':<10} {standing_line(approval, now)}")
    for heading, text in decision_lines(approval, now):
        view.say(f"{heading:<10} {text}")


def _line(entry: Entry) -> str:
    facts = {key: value for key, value in entry.facts.items() if not isinstance(value, list | dict)}
    return f"{spelled(entry.at.astimezone(), milliseconds=True)}  {entry.kind:<10} " + " ".join(
        f"{key}={value}" for key, value in facts.items() if value not in (None, "")
    )


@app.command()
def logs(
    run: RunId,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the journal until the run has ended.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Print a run's journal."""
    folder = _folder(run)
    if follow and folder.parent != _runs():
        asyncio.run(_follow_afar(folder, json=json))
        return
    for entry in _entries(str(folder), follow=follow):
        _print(entry, json=json)


def _print(entry: Entry, *, json: bool) -> None:
    if json:
        view.print_line(entry)
    else:
        view.say(_line(entry))
    view.flush()


async def _follow_afar(folder: Path, *, json: bool) -> None:
    """Print what a run on another machine tells, until it has ended."""
    from interlock.compose.homes import at_home
    from interlock.operate.runs import bring_next
    from interlock.run.transcript import Reader

    reader, is_over = Reader(folder), False
    async with at_home(os.environ, make=False) as home:
        while True:
            for entry in reader.new():
                _print(entry, json=json)
            if is_over:
                return
            is_over = await bring_next(home, folder)


def _entries(folder: str, *, follow: bool) -> Iterator[Entry]:
    from pathlib import Path

    from interlock.run.transcript import Reader

    reader = Reader(Path(folder))
    ended = False
    while True:
        for entry in reader.new():
            ended = entry.kind == "end"
            yield entry
        if ended or not follow:
            return
        time.sleep(_FOLLOW_S)  # noqa: TID251 - a display's own pause decides nothing


@app.command()
def prune(
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", help="Remove runs that ended longer ago than this.", metavar="TIME")
    ] = "30d",
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=1, max=100_000, help="Keep the N newest runs.")] = 50,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    json: Json = False,
) -> None:
    """Remove the records of old runs, and cached initialisations that are no longer used.

    Each run does this at its end, with these defaults. Runs under way, and runs that left an unsaved state, are kept.
    """
    from interlock.clock import SystemClock
    from interlock.compose.homes import settings_here
    from interlock.operate.runs import prune_runs
    from interlock.run.retention import Retention
    from interlock.settings.values import parse_duration

    policy = Retention(newest=keep, for_s=parse_duration(older_than))
    removed = prune_runs(settings_here(os.environ).home, policy, now=SystemClock().now(), dry_run=dry_run)
    values = {
        "runs": removed.runs,
        "initialisations": removed.initialisations,
        "bytes": removed.size_bytes,
        "removed": not dry_run,
    }
    view.emit(values, json=json, human=lambda: _show_removed(removed, dry_run=dry_run))


def _show_removed(removed: Removed, *, dry_run: bool) -> None:
    verb = "would be removed" if dry_run else "removed"
    for name in removed.runs:
        view.say(f"run {name} {verb}")
    for name in removed.initialisations:
        view.say(f"initialisation {name} {verb}")
    count = amount(len(removed.runs) + len(removed.initialisations), "folder")
    view.note(f"{count} {verb}, {view.size(removed.size_bytes)}")


@app.command()
def cancel(run: RunId, *, json: Json = False) -> None:
    """Stop a run as Ctrl-C would: Terraform ends or cancels what is in work and saves, then the lock is released."""
    from interlock.cli.follow import INTERRUPTS
    from interlock.clock import SystemClock
    from interlock.operate.runs import cancel_run

    folder = _folder(run)
    is_here = folder.parent == _runs()
    if is_here:
        name, action = cancel_run(_runs(), folder.name, SystemClock())
    else:
        name, action = folder.name, asyncio.run(_cancel_afar(folder))
    told = INTERRUPTS.get(action, "") or ("" if is_here else _UNHEARD)
    view.emit({"run": name, "done": action, "text": told or None}, json=json, human=lambda: _say_cancelled(name, told))


_UNHEARD = "it has not answered yet; if its machine is away, it stops as soon as that machine reaches the server again"


async def _cancel_afar(folder: Path) -> str:
    from interlock.compose.homes import at_home
    from interlock.operate.runs import cancel_afar

    async with at_home(os.environ, make=False) as home:
        return await cancel_afar(home, folder)


def _say_cancelled(run: str, told: str) -> None:
    view.note(f"{run} was asked to stop; {command('wait', run)}")
    if told:
        view.note(told)

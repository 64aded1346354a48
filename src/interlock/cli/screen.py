"""`interlock status`: roots, locks, queues and the latest runs, on one screen."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import view
from interlock.cli.queue import queues_here
from interlock.cli.queue_view import queue_values

if TYPE_CHECKING:
    from datetime import datetime

    from interlock.run.summary import Summary

app = typer.Typer()

_RUNS = 5  # newest runs that are shown


@app.command()
def status(*, json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Show every root of interlock.yaml and every state that was used, with lock and queue, and the latest runs."""
    from interlock.clock import SystemClock
    from interlock.compose.homes import settings_here
    from interlock.run.summary import as_plain, recent

    now = SystemClock().now()
    settings = settings_here(os.environ)
    states = [queue_values(found) for found in asyncio.run(queues_here(None))]
    runs = recent(settings.runs, limit=_RUNS)
    values = {"home": str(settings.home), "states": states, "runs": [as_plain(run) for run in runs]}
    view.emit(values, json=json, human=lambda: _show(values, runs, now))


def _show(values: dict[str, Any], runs: list[Summary], now: datetime) -> None:
    view.say(f"home {values['home']}")
    view.table(
        ("STATE", "LOCK", "WAITING", "NOTE"),
        [_row(state, now) for state in values["states"]],
        empty="no states yet; interlock apply",
    )
    view.table(
        ("RUN", "STATE", "WHAT", "PHASE", "EXIT", "STARTED"),
        [
            (run.run, run.state, run.operation, run.phase, view.plain(run.exit), view.instant(run.started_at))
            for run in runs
        ],
        empty="no runs yet",
    )


def _row(state: dict[str, Any], now: datetime) -> tuple[str, ...]:
    if state.get("trouble"):
        return (state["state"], "?", "?", f"not looked at: {state['trouble']}")
    holders = state["holders"]
    held = (
        f"{holders[0]['who']} for {view.duration((now - holders[0]['since']).total_seconds())}" if holders else "free"
    )
    paused = state.get("paused")
    return (state["state"], held, str(len(state["waiters"])), f"paused: {paused['reason']}" if paused else "")

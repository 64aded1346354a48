"""`interlock status`: roots, locks, queues, the latest runs and the API limits, on one screen."""

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

    from interlock.operate.budgets import BudgetSeen
    from interlock.run.summary import Summary

app = typer.Typer()

_RUNS = 5  # newest runs that are shown


@app.command()
def status(*, json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Show roots of interlock.yaml and states that were used, with lock and queue, the latest runs, and API limits."""
    from interlock.clock import SystemClock
    from interlock.compose.homes import settings_here
    from interlock.run.summary import as_plain, recent

    now = SystemClock().now()
    settings = settings_here(os.environ)
    states = [queue_values(found) for found in asyncio.run(queues_here(None))]
    is_kept = settings.server is not None or settings.database.exists()
    runs, budgets = asyncio.run(_told()) if is_kept else (recent(settings.runs, limit=_RUNS), [])
    values = {
        "home": settings.server or str(settings.home),
        "states": states,
        "runs": [as_plain(run) for run in runs],
        "budgets": budgets,
    }
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
    view.table(
        ("API LIMIT", "ORGANISATION", "DRAWN", "OF", "IN", "NOTE"),
        [_limit(budget) for budget in values["budgets"]],
        empty="no API calls through the gateway yet",
    )


async def _told() -> tuple[list[Summary], list[BudgetSeen]]:
    """Return the latest runs, at a server those of the team, and what was drawn from the limits."""
    from interlock.compose.homes import at_home
    from interlock.operate.budgets import budgets
    from interlock.operate.runs import recent_runs

    async with at_home(os.environ, make=False) as home:
        return await recent_runs(home, limit=_RUNS), await budgets(home)


def _limit(budget: BudgetSeen) -> tuple[str, ...]:
    from interlock.gateway.allotment import read_part_name

    part = read_part_name(budget.name)
    name, note = budget.name, f"closed for {view.duration(budget.closed_s)}" if budget.closed_s else ""
    if part is not None:
        name, note = part[1], f"share of {part[0]}"
    window, of = view.duration(budget.window_s), budget.organisation[:8]
    return (name, view.plain(of), str(budget.drawn), str(budget.allowed), window, note)


def _row(state: dict[str, Any], now: datetime) -> tuple[str, ...]:
    if state.get("trouble"):
        return (state["state"], "?", "?", f"not looked at: {state['trouble']}")
    holders = state["holders"]
    held = (
        f"{holders[0]['who']} for {view.duration((now - holders[0]['since']).total_seconds())}" if holders else "free"
    )
    paused = state.get("paused")
    return (state["state"], held, str(len(state["waiters"])), f"paused: {paused['reason']}" if paused else "")

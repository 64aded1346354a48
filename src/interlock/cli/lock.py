"""`interlock lock`: who holds which state, since when, and whether the holder is still there."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import view
from interlock.cli.queue import lock_values

if TYPE_CHECKING:
    from interlock.compose import Examined

app = typer.Typer(help="Who holds which state, since when.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
State = Annotated[str, typer.Argument(help="State name, or the folder of its root module.")]


@app.command("ls")
def ls(*, json: Json = False) -> None:
    """List the states that are held."""
    from interlock.clock import SystemClock
    from interlock.compose import views

    now = SystemClock().now()
    rows = [
        {"state": found.state, **holder}
        for found in asyncio.run(views(None))
        for holder in lock_values(found.lock)["holders"]
    ]
    view.emit(
        {"locks": rows},
        json=json,
        human=lambda: view.table(
            ("STATE", "WHO", "RUN", "WHAT", "TOKEN", "HELD", "HEARTBEAT"),
            [
                (
                    row["state"],
                    row["who"],
                    view.plain(row["run"]),
                    row["info"],
                    str(row["token"]),
                    view.duration(max((now - row["since"]).total_seconds(), 0.0)),
                    view.duration(max((now - row["renewed_at"]).total_seconds(), 0.0)) + " ago",
                )
                for row in rows
            ],
            empty="no state is held",
        ),
    )


@app.command()
def show(state: State, *, json: Json = False) -> None:
    """Show one state's lock: holders, waiters, pause, highest token."""
    from interlock.compose import views

    found = asyncio.run(views(state))
    values = {"state": found[0].state, **lock_values(found[0].lock)} if found else {"state": state, "holders": []}
    view.emit(values, json=json, human=lambda: _show(values))


def _show(values: dict[str, Any]) -> None:
    sys.stdout.write(f"state {values['state']}, highest token {values.get('token', 0)}\n")
    for holder in values["holders"]:
        for name in ("who", "run", "info", "token", "lock_id", "since", "renewed_at", "lapses_at"):
            sys.stdout.write(f"  {name:<11} {view.plain(holder[name])}\n")
    if not values["holders"]:
        sys.stdout.write("  nobody holds it\n")
    for waiter in values.get("waiters", []):
        sys.stdout.write(f"  waits {waiter['position']}: {waiter['who']} {waiter['run']}\n")
    if values.get("paused"):
        sys.stdout.write(f"  paused by {values['paused']['by']}: {values['paused']['reason']}\n")


@app.command()
def explain(state: State, *, json: Json = False) -> None:
    """Say whether the holder is alive, gone or undecided, and on what evidence. Watches for one lease."""
    from interlock.compose import examine

    found = asyncio.run(examine(state))
    view.emit(explained(found), json=json, human=lambda: show_explained(found))


def explained(found: Examined) -> dict[str, Any]:
    """Return an examination as plain values."""
    holder = found.holder
    lock = next(
        (row for row in lock_values(found.view.lock)["holders"] if holder and row["token"] == holder.token), None
    )
    verdict = found.verdict
    return {
        "lock": lock,
        "verdict": verdict.conclusion.value if verdict else None,
        "reasons": verdict.reasons if verdict else (),
        "missing": verdict.missing if verdict else (),
        "evidence": found.evidence,
    }


def show_explained(found: Examined) -> None:
    """Print evidence and verdict for people."""
    if found.verdict is None or found.holder is None:
        sys.stdout.write("nobody holds it\n")
        return
    sys.stdout.write(f"held by {found.holder.who} {found.holder.run} under token {found.holder.token}\n")
    for item in found.evidence:
        sys.stdout.write(f"  {item.witness:<10} {item.says.value:<8} {item.text}\n")
    sys.stdout.write(f"verdict: {found.verdict.conclusion.value}\n")
    for text in (*found.verdict.reasons, *found.verdict.missing):
        sys.stdout.write(f"  {text}\n")


@app.command()
def acquire(
    state: State,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; waiters see it.")],
    lease: Annotated[
        str, typer.Option("--lease", help="After this time recovery may ask whether you are still there.")
    ] = "1h",
    wait: Annotated[str | None, typer.Option("--wait", help="Longest wait for the turn.")] = None,
    json: Json = False,
) -> None:
    """Hold a state by hand, for maintenance; interlock lock release gives it back."""
    from interlock.compose import hold_by_hand

    ticket, token = asyncio.run(hold_by_hand(state, reason=reason, lease=lease, wait=wait))
    view.emit(
        {"state": state, "ticket": ticket, "token": token},
        json=json,
        human=lambda: view.note(f"held under token {token}; interlock lock release {state}"),
    )


@app.command()
def release(state: State, *, json: Json = False) -> None:
    """Give back a state that was acquired by hand. A run's lock is the run's: see interlock runs cancel."""
    from interlock.compose import release_by_hand

    token = asyncio.run(release_by_hand(state))
    view.emit({"state": state, "token": token}, json=json, human=lambda: view.note(f"released, token {token}"))

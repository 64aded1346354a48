"""`interlock lock`: who holds which state, since when, and whether the holder is still there."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec.structs import replace

from interlock.cli import completing, view
from interlock.cli.queue import queues_here
from interlock.cli.queue_view import lock_values, queue_values, tell_unseen
from interlock.errors import command, fill_in
from interlock.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.operate.hold import Held
    from interlock.operate.unlock import Explained

app = typer.Typer(help="Who holds which state, since when.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
State = Annotated[
    str, typer.Argument(help="State name, or the folder of its root module.", autocompletion=completing.states)
]
LockId = Annotated[
    str | None, typer.Option("--lock-id", metavar="ID", help="Only this lock; by default the one that is there.")
]
Job = Annotated[str | None, typer.Option("--job", metavar="URL", help="URL of the holder's CI job, to ask its system.")]
Ephemeral = Annotated[
    bool,
    typer.Option(
        "--ephemeral-runners",
        envvar="INTERLOCK_EPHEMERAL_RUNNERS",
        help="You vouch that no CI runner's machine outlives its job.",
    ),
]


@app.command("ls")
def ls(*, json: Json = False) -> None:
    """List locked states."""
    from interlock.clock import SystemClock

    now = SystemClock().now()
    found = [queue_values(one) for one in asyncio.run(queues_here(None))]
    rows = [{"state": one["state"], **holder} for one in found for holder in one["holders"]]
    said = ("state", "address", "trouble")
    unseen = [{name: one.get(name, "") for name in said} for one in found if one.get("trouble")]
    tell_unseen(found)
    view.emit(
        {"locks": rows, "unseen": unseen},
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
            empty="no state is locked",
        ),
    )


@app.command()
def show(state: State, *, json: Json = False) -> None:
    """Show one state's lock: holders, waiters, pause, highest token; and Terraform's own lock where there is one."""
    values = asyncio.run(_look(state))
    view.emit(values, json=json, human=lambda: _show(values))


async def _look(state: str) -> dict[str, Any]:
    from interlock.compose.homes import at_home
    from interlock.operate.unlock import lock_values as foreign_values
    from interlock.operate.unlock import look

    async with at_home(os.environ, make=False) as home:
        ref, view, locks = await look(state, home, os.environ)
    values: dict[str, Any] = {"state": ref.queue, "holders": []}
    if view is not None:
        values |= lock_values(view.lock)
    if ref.is_own:
        return values
    return {**values, "address": ref.address, "terraform": [foreign_values((lock,)) for lock in locks]}


def _show(values: dict[str, Any]) -> None:
    from interlock.clock import SystemClock

    now = SystemClock().now()
    view.say(f"state {values['state']}, highest token {values.get('token', 0)}")
    for holder in values["holders"]:
        for name in ("who", "run", "info", "token", "lock_id", "since", "renewed_at", "lapses_at"):
            is_past = name in {"since", "renewed_at"}
            text = view.since(holder[name], now) if is_past else view.plain(holder[name])
            view.say(f"  {name:<11} {text}")
    for lock in values.get("terraform", []):
        for name in ("id", "who", "operation", "created", "version", "run", "places"):
            text = ", ".join(lock[name]) if name == "places" else _since(lock) if name == "created" else lock[name]
            view.say(f"  {name:<11} {view.plain(text)}")
    if not values["holders"] and not values.get("terraform"):
        view.say("  it is not locked")
    for waiter in values.get("waiters", []):
        view.say(f"  waits {waiter['position']}: {view.plain(waiter['who'])} {waiter['run']}")
    if values.get("paused"):
        view.say(f"  paused by {values['paused']['by']}: {values['paused']['reason']}")


@app.command()
def explain(
    state: State,
    *,
    lock_id: LockId = None,
    job: Job = None,
    window: Annotated[
        str,
        typer.Option("--window", metavar="TIME", help="How long to watch a lock that has no heartbeat, such as 30s."),
    ] = "10s",
    ephemeral_runners: Ephemeral = False,
    json: Json = False,
) -> None:
    """Say whether the holder is alive, gone or undecided, and on what evidence. Changes nothing.

    Watches a run of ours for one lease, and a plain Terraform, which has no heartbeat, for the window.
    """
    from interlock.operate.unlock import Asked
    from interlock.settings.values import parse_duration

    asked = Asked(lock_id=lock_id, job=job, window_s=parse_duration(window), ephemeral_runners=ephemeral_runners)
    found = asyncio.run(_examine(state, asked))
    view.emit(explained(found), json=json, human=lambda: show_explained(found))


async def _examine(state: str, asked: Any) -> Explained:
    from interlock.compose.homes import at_home
    from interlock.operate.unlock import open_case

    async with at_home(os.environ, make=False) as home, open_case(state, asked, home, os.environ) as case:
        return await case.examine()


def explained(found: Explained) -> dict[str, Any]:
    """Return an examination as plain values. `verdict` is null when nobody holds."""
    verdict = found.verdict
    return {
        "state": found.queue,
        "address": found.address,
        "backend": found.backend,
        "lock": found.lock,
        "verdict": verdict.conclusion.value if verdict else None,
        "meaning": verdict.conclusion.meaning if verdict else None,
        "reasons": verdict.reasons if verdict else (),
        "missing": [fill_in(text, found.subject) for text in verdict.missing] if verdict else (),
        "evidence": [replace(item, how_to=fill_in(item.how_to, found.subject)) for item in found.evidence],
    }


def show_explained(found: Explained) -> None:
    """Print evidence and verdict for people."""
    if found.verdict is None or found.lock is None:
        released = "; it was released while we watched" if found.released else ""
        view.say(f"{found.address} is not locked{released}")
        return
    run = f" run {found.lock['run']}" if found.lock.get("run") else ""
    since = _since(found.lock) or "an unknown time"
    who, what = found.lock["who"] or "somebody unknown", found.lock["operation"] or "unknown operation"
    view.say(f"{found.address} is held by {who}{run} since {since}")
    view.say(f"  lock id {found.lock['id'] or '?'}, {what}")
    for item in found.evidence:
        view.say(f"  {item.witness:<10} {item.says.value:<8} {view.local(item.text)}")
    view.say(f"verdict: {found.verdict.conclusion.told}")
    for text in found.verdict.reasons:
        view.say(f"  because {view.local(text)}")
    if found.orphaned:
        view.say(f"  its supervisor was killed; what it started works on: {command('wait', found.orphaned)}")
    for text in found.verdict.missing:
        view.say(f"  to know more: {fill_in(text, found.subject)}")


def _since(lock: Mapping[str, Any]) -> str:
    """Spell since when a lock is held; what is no instant is shown as its maker wrote it."""
    from interlock.clock import SystemClock
    from interlock.terraform.lockinfo import parse_go_time

    written = lock.get("created") or ""
    at = lock.get("since") or parse_go_time(written)
    return written if at is None else view.since(at, SystemClock().now())


@app.command()
def acquire(
    state: State,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; waiters see it.")],
    lease: Annotated[
        str,
        typer.Option("--lease", metavar="TIME", help="After this time recovery may ask whether you are still there."),
    ] = "1h",
    wait: Annotated[str | None, typer.Option("--wait", metavar="TIME", help="Longest wait in the queue.")] = None,
    json: Json = False,
) -> None:
    """Lock a state manually, for maintenance; interlock lock release unlocks it.

    On an existing backend this is Terraform's own lock, so plain Terraform is kept out too.
    """
    held = asyncio.run(_acquire(state, reason=one_line(reason), lease=lease, wait=wait))
    under = f"token {held.token}" if held.token is not None else f"lock id {held.id}"
    view.emit(
        {"state": held.state, "ticket": held.id, "token": held.token},
        json=json,
        human=lambda: view.note(f"held under {under}; {command('lock', 'release', state)}"),
    )


@app.command()
def release(state: State, *, json: Json = False) -> None:
    """Release a lock that was acquired manually. A run releases its own lock: see interlock runs cancel."""
    held = asyncio.run(_release(state))
    word = f"token {held.token}" if held.token is not None else f"lock id {held.id}"
    values = {"state": held.state, "token": held.token}
    view.emit(values, json=json, human=lambda: view.note(f"released, {word}"))


async def _acquire(state: str, *, reason: str, lease: str, wait: str | None) -> Held:
    from interlock.compose.homes import at_home
    from interlock.operate import hold as by_hand

    async with at_home(os.environ, say=view.note) as home:
        return await by_hand.acquire(state, home, os.environ, reason=reason, lease=lease, wait=wait)


async def _release(state: str) -> Held:
    from interlock.compose.homes import at_home
    from interlock.operate import hold as by_hand

    async with at_home(os.environ) as home:
        return await by_hand.release(state, home, os.environ)

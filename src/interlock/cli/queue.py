"""`interlock queue`: who waits for which state, and who is next."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import completing, view
from interlock.cli.queue_view import show_queues
from interlock.errors import command
from interlock.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from interlock.coordinator import Coordinator, View
    from interlock.lock import Paused, Resumed
    from interlock.operate.queue_seen import Queue
    from interlock.site.ref import StateRef

app = typer.Typer(help="Who waits for which state, and who is next.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
State = Annotated[
    str, typer.Argument(help="State name, or the folder of its root module.", autocompletion=completing.states)
]
RunId = Annotated[str, typer.Argument(help="The waiting run.")]


@app.command("ls")
def ls(state: Annotated[str | None, typer.Argument(help="Only this state.")] = None, *, json: Json = False) -> None:
    """List holders and waiters in order of service."""
    from interlock.clock import SystemClock

    now = SystemClock().now()
    show_queues(asyncio.run(queues_here(state)), now, json=json)


async def queues_here(state: str | None) -> list[Queue]:
    """Return one state's queue, or all, as this home sees them."""
    from interlock.compose.homes import at_home
    from interlock.operate.queue import queues

    async with at_home(os.environ, make=False) as home:
        return await queues(state, home, os.environ)


def _change(state: str, change: Callable[[Coordinator, str], Awaitable[object]]) -> StateRef:
    """Let `change` act on one state's lock; return which state that was."""
    from interlock.compose.homes import at_home
    from interlock.operate.queue import change_lock

    async def act() -> StateRef:
        async with at_home(os.environ) as home:
            return await change_lock(state, home, os.environ, change)

    return asyncio.run(act())


def _change_pause(state: str, event: Paused | Resumed) -> tuple[StateRef, View]:
    """Pause or resume a state's queue; return which state that was, and how it was before."""
    from interlock.compose.homes import at_home
    from interlock.operate.queue import change_queue

    async def act() -> tuple[StateRef, View]:
        async with at_home(os.environ) as home:
            return await change_queue(state, home, os.environ, event)

    return asyncio.run(act())


@app.command()
def bump(state: State, run: RunId, *, json: Json = False) -> None:
    """Put a waiting run at the front of the queue."""
    from interlock.host import who

    ref = _change(state, lambda coordinator, name: coordinator.bump(name, run, by=who()))
    values = {"state": ref.queue, "run": run, "done": "bumped"}
    view.emit(values, json=json, human=lambda: view.note(f"{run} is next"))


@app.command()
def cancel(state: State, run: RunId, *, json: Json = False) -> None:
    """Take a waiting run out of the queue; it ends with exit status 11."""
    from interlock.host import who

    async def leave(coordinator: Coordinator, name: str) -> None:
        await check_waits(coordinator, name, run)
        await coordinator.withdraw(name, run, by=who(), reason="cancelled in the queue")

    ref = _change(state, leave)
    values = {"state": ref.queue, "run": run, "done": "cancelled"}
    view.emit(values, json=json, human=lambda: view.note(f"{run} has left the queue"))


async def check_waits(coordinator: Coordinator, state: str, ticket: str) -> None:
    """Refuse a ticket that does not wait: withdrawing is idempotent, and a typing error must not look like success.

    Raises:
        UsageError: It does not wait.
    """
    from interlock.errors import UsageError
    from interlock.lock import waiter_of

    if waiter_of((await coordinator.view(state)).lock, ticket=ticket) is None:
        raise UsageError(f"run {ticket} does not wait for state {state}", fix=command("queue", "ls", state))


@app.command()
def pause(
    state: State,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; waiters see it.")],
    *,
    json: Json = False,
) -> None:
    """Stop granting the lock; the current holder continues."""
    from interlock.host import who
    from interlock.lock import Paused

    ref, before = _change_pause(state, Paused(by=who(), reason=one_line(reason)))
    unheard = before.version is None
    values = {"state": ref.queue, "done": "paused", "unheard_of": unheard}
    view.emit(values, json=json, human=lambda: _say_paused(ref.queue))
    if unheard:  # who mistypes the name of production must not believe that production stands still
        view.note(f"nobody ever queued for {ref.queue} before; the names that are known: {command('state', 'ls')}")


def _say_paused(queue: str) -> None:
    view.note(f"{queue} is paused; to end it: {command('queue', 'resume', queue)}")


@app.command()
def resume(state: State, *, json: Json = False) -> None:
    """Grant the lock again, in queue order."""
    from interlock.host import who
    from interlock.lock import Resumed

    ref, before = _change_pause(state, Resumed(by=who()))
    paused = before.lock.pause is not None
    said = f"{ref.queue} is resumed" if paused else f"{ref.queue} was not paused"
    values = {"state": ref.queue, "done": "resumed" if paused else "nothing"}
    view.emit(values, json=json, human=lambda: view.note(said))

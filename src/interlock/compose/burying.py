"""Runs that are waited for, and ended when their supervisor was killed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from interlock import host
from interlock.clock import Clock, SystemClock
from interlock.compose.homes import at_home, open_home, settings_of_run
from interlock.errors import UsageError, WaitTimeout, command
from interlock.home.embedded import read_settings
from interlock.settings.values import parse_duration

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.run.transcript import Entry


from interlock.operate.runs import find_run, is_abandoned
from interlock.to_its_end import call_off

_BURIAL_LOOK_S = 0.3  # how often it is seen whether a killed supervisor is gone, so that its Terraform can be stopped


def await_run(
    text: str | None, environ: Mapping[str, str], timeout: str | None, *, stop: bool = False
) -> tuple[Path, Entry] | None:
    """Wait until a run has ended.

    Args:
        text: Which; None for the newest of this CI job, or else of the current folder.
        environ: The environment, which says what job this is.
        timeout: Longest wait as typed; None for no bound.
        stop: Ask it to stop first. Azure kills a cancelled job's step without a signal that the run could hear.

    Returns:
        The run's folder and its last entry; None when there is no such run.

    Raises:
        WaitTimeout: It goes on for longer than `timeout`.
    """
    settings = read_settings(environ)
    limit_s = parse_duration(timeout) if timeout is not None else None
    if text is not None and settings.server is not None and not (settings.runs / text).is_dir():
        return asyncio.run(_await_at_server(text, environ, limit_s, stop=stop))
    folder = find_run(settings.runs, text) if text is not None else _own_run(environ)
    if folder is None:
        return None
    if stop:
        _ask_to_stop(folder)
    return folder, asyncio.run(_await_end(folder, limit_s))


async def _await_at_server(
    text: str, environ: Mapping[str, str], limit_s: float | None, *, stop: bool
) -> tuple[Path, Entry]:
    """Wait for a run of the team, by what it tells; one of this machine is waited for where it works."""
    from interlock.operate.runs import bring_next, bring_run, cancel_afar
    from interlock.run.transcript import Reader

    async with at_home(environ, make=False) as home:
        folder = await bring_run(home, text)
        if folder.parent == home.runs:
            if stop:
                await asyncio.to_thread(_ask_to_stop, folder)
            return folder, await _await_end(folder, limit_s)
        if stop and not _was_asked_to_stop(folder):
            with suppress(UsageError):  # it has ended meanwhile, which is what is waited for
                await cancel_afar(home, folder)
        reader, until_s = Reader(folder), None if limit_s is None else home.clock.monotonic() + limit_s
        while True:
            for entry in reader.new():
                if entry.kind == "end":
                    return folder, entry
            if _is_past(until_s, home.clock):
                raise _not_ended(folder.name)
            await bring_next(home, folder)


def _ask_to_stop(folder: Path) -> None:
    """Ask a run to stop that nobody has asked yet: Terraform would take a second word as an order to give up."""
    from interlock.operate.runs import cancel_run

    if not _was_asked_to_stop(folder) and not is_abandoned(folder):
        with suppress(UsageError):  # it has ended meanwhile, which is what is waited for
            cancel_run(folder.parent, folder.name, SystemClock())


def _was_asked_to_stop(folder: Path) -> bool:
    from interlock.run.entries import InterruptEntry
    from interlock.run.transcript import read

    return any(isinstance(entry.told, InterruptEntry) and entry.told.action != "ignore" for entry in read(folder))


def _own_run(environ: Mapping[str, str]) -> Path | None:
    from interlock.ci.job import find_job
    from interlock.run.summary import recent

    runs, job = read_settings(environ).runs, find_job(environ)
    here = Path.cwd().resolve()
    for summary in recent(runs, limit=100):
        if summary.job == job.url if job is not None else Path(summary.directory).is_relative_to(here):
            return runs / summary.run
    return None


async def _await_end(folder: Path, limit_s: float | None) -> Entry:
    from interlock.run.transcript import Reader

    clock, reader = SystemClock(), Reader(folder)
    until_s = None if limit_s is None else clock.monotonic() + limit_s
    while True:
        gone = is_abandoned(folder)
        for entry in reader.new():
            if entry.kind == "end":
                return entry
        if gone:
            is_late = partial(_is_past, until_s, clock)
            if (end := await _bury(folder, lambda _text: None, is_late)) is not None:
                return end
        if _is_past(until_s, clock):
            raise _not_ended(folder.name)
        await clock.sleep(0.1)


def _is_past(until_s: float | None, clock: Clock) -> bool:
    return until_s is not None and clock.monotonic() >= until_s


def _not_ended(run: str) -> WaitTimeout:
    return WaitTimeout(f"run {run} has not ended", why="--timeout has passed", fix=command("wait", run))


def bury(folder: Path, tell: Callable[[str], None], *, is_leaving: Callable[[], bool] = lambda: False) -> Entry:
    """End a run whose supervisor was killed: wait for its Terraform, save what it left, release its lock.

    Args:
        folder: Of the run.
        tell: Told what is done.
        is_leaving: Whether nobody waits any more.

    Returns:
        The run's last entry, which says whether its state was saved.

    Raises:
        KeyboardInterrupt: Nobody waits any more.
    """
    if (end := asyncio.run(_bury(folder, tell, is_leaving))) is None:
        raise KeyboardInterrupt
    return end


async def take_over(folder: Path, tell: Callable[[str], None]) -> Entry:
    """See `bury`, for who has a loop."""
    end = await _bury(folder, tell, lambda: False)
    assert end is not None, "nobody leaves"
    return end


async def _bury(folder: Path, tell: Callable[[str], None], is_leaving: Callable[[], bool]) -> Entry | None:
    """See `bury`; None when nobody waits any more."""
    from interlock.compose.supervising import open_desk
    from interlock.run.order import ORDER_FILE, decode

    order = decode((folder / ORDER_FILE).read_bytes())
    settings = settings_of_run(order, os.environ)
    async with open_desk(order, settings, os.environ) as desk:
        coordinator, recovery = desk.coordinator, desk.recovery
        with suppress(UsageError):  # it holds: recovery takes its grant away, on evidence and after saving its state
            await coordinator.withdraw(order.state, order.run, by=host.who(), reason="its supervisor is gone")
        attend = recovery.attend(
            order.state,
            lambda noticed: tell(noticed.text),
            lambda error: tell(f"it cannot be looked after now, and that is tried again: {error}"),
        )
        attending = asyncio.create_task(attend)
        try:
            view = await coordinator.view(order.state)
            while any(holder.run == order.run for holder in view.lock.holders):
                if is_leaving():
                    return None
                if done := await recovery.leftovers.ask_to_stop(order.run):
                    tell(done)
                view = await coordinator.watch(order.state, seen=view.version, timeout_s=_BURIAL_LOOK_S)
        finally:
            await call_off(attending)
    entry = _last_entry(folder)
    if settings.server is not None:
        async with open_home(settings, environ=os.environ) as home:
            await send_ends_of(home)
    return entry


async def send_ends_of(home: Home) -> None:
    """Tell a team's server how runs of this machine ended that could not say so; see `interlock.run.streaming`."""
    if home.team_runs is not None and home.settings.server is not None:
        from interlock.run.streaming import send_ends

        await send_ends(home.runs, server=home.settings.server, record=home.team_runs, clock=home.clock)


def _last_entry(folder: Path) -> Entry:
    """Return how a run ended; write it for one that nobody has ended."""
    from interlock.errors import Terminated
    from interlock.run.entries import EndEntry, GrantedEntry
    from interlock.run.transcript import read
    from interlock.site.own_leftovers import close_run, outcome_of

    entries = read(folder)
    for entry in entries:
        if entry.kind == EndEntry.KIND:
            return entry
    waited = Terminated(
        "the run's supervisor was killed while it waited", why="nothing was started", fix="start a new run"
    )
    held = any(
        entry.kind == GrantedEntry.KIND for entry in entries
    )  # another run has recovered it, and is about to say so
    return close_run(folder, outcome_of(folder) if held else waited, SystemClock().now())

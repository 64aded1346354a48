"""Runs of this home: found, stopped, waited for, and ended when their supervisor was killed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.clock import SystemClock
from interlock.errors import UsageError, command
from interlock.home.embedded import me, open_home, read_settings
from interlock.settings import parse_duration

if TYPE_CHECKING:
    from interlock.run.retention import Removed, Retention
    from interlock.run.summary import Summary
    from interlock.run.transcript import Entry, Reader

_ANSWER_S = 3.0  # how long `runs cancel` waits for the supervisor's answer; a living one gives it within milliseconds
_ANSWER_LOOK_S = 0.05
_BURIAL_LOOK_S = 0.3  # how often it is seen whether a killed supervisor is gone, so that its Terraform can be stopped


def recent_runs(state: str | None, environ: Mapping[str, str], *, limit: int) -> list[Summary]:
    """Return the newest runs, at most `limit`, of the state that is meant or of all.

    Raises:
        UsageError: No state can be meant.
    """
    from interlock.run.summary import recent

    settings = read_settings(environ)
    return recent(settings.runs, limit=limit, state=None if state is None else asyncio.run(_queue_of(state, environ)))


async def _queue_of(state: str, environ: Mapping[str, str]) -> str:
    from interlock.site.which import names_of

    async with open_home(read_settings(environ), make=False) as home:
        return (await names_of(state, home, environ))[0]


def find_run(text: str) -> Path:
    """Return the folder of a run: its id, the beginning of it, or `latest`.

    Raises:
        UsageError: There is no such run, or more than one.
    """
    runs = read_settings().runs
    names = sorted(entry.name for entry in runs.iterdir()) if runs.is_dir() else []
    if text == "latest" and names:
        return runs / names[-1]
    found = [name for name in names if name.startswith(text)]
    if len(found) != 1:
        what = f"no run {text!r}" if not found else f"{len(found)} runs begin with {text!r}"
        raise UsageError(what, why=f"runs are kept in {runs}", fix="interlock runs ls")
    return runs / found[0]


def cancel_run(text: str) -> tuple[str, str]:
    """Ask a living run's supervisor to stop.

    Returns:
        The run's id, and what the supervisor made of it (see `interlock.run.interrupts.Action`); empty when it has not
        said so within some seconds, for instance because it is stopped.

    Raises:
        UsageError: It has ended, or its supervisor cannot be reached from here.
    """
    import signal

    from interlock.host import Life, life_of, send_signal
    from interlock.run.summary import find_summary
    from interlock.run.transcript import Reader

    folder = find_run(text)
    summary = find_summary(folder)
    supervisor = summary.processes.get("supervisor") if summary else None
    if summary is None or supervisor is None or summary.exit is not None:
        raise UsageError(f"run {folder.name} has ended already", fix=command("runs", "show", folder.name))
    life, why = life_of(supervisor)
    if life not in (Life.ALIVE, Life.STOPPED):
        raise UsageError(
            f"run {folder.name} cannot be asked to stop", why=why, fix=command("lock", "explain", summary.state)
        )
    reader = Reader(folder)
    list(reader.new())  # what was said before is no answer
    send_signal(supervisor, signal.SIGUSR1)
    return folder.name, asyncio.run(_await_answer(reader))


async def _await_answer(reader: Reader) -> str:
    clock = SystemClock()
    until_s = clock.monotonic() + _ANSWER_S
    while clock.monotonic() < until_s:
        for entry in reader.new():
            if entry.kind == "interrupt" and entry.facts.get("cause") == "cancelled":
                return str(entry.facts["action"])
            if entry.kind == "end":
                return ""
        await clock.sleep(_ANSWER_LOOK_S)
    return ""


def await_run(text: str | None, environ: Mapping[str, str], timeout: str | None) -> tuple[Path, Entry] | None:
    """Wait until a run has ended.

    Args:
        text: Which; None for the newest of this CI job, or else of the current folder.
        environ: The environment, which says what job this is.
        timeout: Longest wait as typed; None for no bound.

    Returns:
        The run's folder and its last entry; None when there is no such run.

    Raises:
        WaitTimeout: It goes on for longer than `timeout`.
    """
    folder = find_run(text) if text is not None else _own_run(environ)
    if folder is None:
        return None
    limit_s = parse_duration(timeout) if timeout is not None else None
    return folder, asyncio.run(_await_end(folder, limit_s))


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
    from interlock.errors import WaitTimeout
    from interlock.run.transcript import Reader

    clock, reader = SystemClock(), Reader(folder)
    until_s = None if limit_s is None else clock.monotonic() + limit_s
    while True:
        gone = is_abandoned(folder)
        for entry in reader.new():
            if entry.kind == "end":
                return entry
        if gone:
            return await _bury(folder, lambda _kind, _facts: None)
        if until_s is not None and clock.monotonic() >= until_s:
            raise WaitTimeout(
                f"run {folder.name} goes on", why="--timeout has passed", fix=command("wait", folder.name)
            )
        await clock.sleep(0.1)


def is_abandoned(folder: Path) -> bool:
    """Say whether a run's supervisor is certainly gone although the run has not ended."""
    from interlock import alive
    from interlock.host import Life, life_of
    from interlock.run.summary import find_summary

    summary = find_summary(folder)
    supervisor = summary.processes.get("supervisor") if summary and summary.exit is None else None
    if supervisor is None:
        return False
    life, _ = life_of(supervisor)
    return life is Life.GONE or (life is Life.UNKNOWN and alive.look(folder)[0] is Life.GONE)


def bury(folder: Path, tell: Callable[[str, Mapping[str, object]], None]) -> Entry:
    """End a run whose supervisor was killed: wait for its Terraform, save what it left, release its lock.

    Returns:
        The run's last entry, which says whether its state was saved.
    """
    return asyncio.run(_bury(folder, tell))


async def _bury(folder: Path, tell: Callable[[str, Mapping[str, object]], None]) -> Entry:
    from interlock.compose.supervising import open_desk
    from interlock.errors import Terminated
    from interlock.estate import close_run, outcome_of
    from interlock.run.order import decode
    from interlock.run.transcript import ORDER, read

    order = decode((folder / ORDER).read_bytes())
    settings = read_settings(os.environ, Path(order.directory), home=Path(order.home))
    async with open_desk(order, settings, os.environ) as desk:
        coordinator, recovery = desk.coordinator, desk.recovery
        with suppress(UsageError):  # it holds: recovery takes its grant away, on evidence and after saving its state
            await coordinator.withdraw(order.state, order.run, by=me(), reason="its supervisor is gone")
        attending = asyncio.create_task(recovery.attend(order.state, tell))
        try:
            view = await coordinator.view(order.state)
            while any(holder.run == order.run for holder in view.lock.holders):
                if done := await recovery.estate.ask_to_stop(order.run):
                    tell("recovery", {"text": done})
                view = await coordinator.watch(order.state, seen=view.version, timeout_s=_BURIAL_LOOK_S)
        finally:
            attending.cancel()
    entries = read(folder)
    ends = [entry for entry in entries if entry.kind == "end"]
    if ends:
        return ends[0]
    waited = Terminated(
        "the run's supervisor was killed while it waited", why="nothing was started", fix="start a new run"
    )
    held = any(entry.kind == "granted" for entry in entries)  # another run has recovered it, and is about to say so
    return close_run(folder, outcome_of(folder) if held else waited, SystemClock().now())


def prune_runs(policy: Retention, *, dry_run: bool) -> Removed:
    """Remove the records of old runs, and initialisations that are no longer used."""
    from interlock.run.retention import remove_old

    return remove_old(read_settings().home, policy, now=SystemClock().now(), dry_run=dry_run)

"""Runs of this home: found, stopped, waited for, and ended when their supervisor was killed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.clock import Clock
from interlock.errors import UsageError, command

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.run.retention import Removed, Retention
    from interlock.run.summary import Summary
    from interlock.run.transcript import Reader

_ANSWER_S = 3.0  # how long `runs cancel` waits for the supervisor's answer; a living one gives it within milliseconds
_ANSWER_LOOK_S = 0.05


async def runs_of(state: str, home: Home, environ: Mapping[str, str], *, limit: int) -> list[Summary]:
    """Return the newest runs of the state that is meant, at most `limit`.

    Raises:
        UsageError: No state can be meant.
    """
    from interlock.run.summary import recent
    from interlock.site.which import names_of

    queue, _ = await names_of(state, home, environ)
    return recent(home.runs, limit=limit, state=queue)


def find_run(runs: Path, text: str) -> Path:
    """Return the folder of a run.

    Args:
        runs: The folder of all runs of a home.
        text: Its id, the beginning of it, or `latest`.

    Raises:
        UsageError: There is no such run, or more than one.
    """
    names = sorted(entry.name for entry in runs.iterdir()) if runs.is_dir() else []
    if text == "latest" and names:
        return runs / names[-1]
    found = [name for name in names if name.startswith(text)]
    if len(found) != 1:
        what = f"no run {text!r}" if not found else f"{len(found)} runs begin with {text!r}"
        raise UsageError(what, why=f"runs are kept in {runs}", fix="interlock runs ls")
    return runs / found[0]


def cancel_run(runs: Path, text: str, clock: Clock) -> tuple[str, str]:
    """Ask a living run's supervisor to stop; see `find_run` for the arguments.

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

    folder = find_run(runs, text)
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
    list(reader.new())  # what was said before is not an answer
    send_signal(supervisor, signal.SIGUSR1)
    return folder.name, asyncio.run(_await_answer(reader, clock))


async def _await_answer(reader: Reader, clock: Clock) -> str:
    from interlock.run.entries import EndEntry, InterruptEntry

    until_s = clock.monotonic() + _ANSWER_S
    while clock.monotonic() < until_s:
        for entry in reader.new():
            match entry.told:
                case InterruptEntry(cause="cancelled", action=action):
                    return action
                case EndEntry():
                    return ""
                case _:
                    pass
        await clock.sleep(_ANSWER_LOOK_S)
    return ""


def is_abandoned(folder: Path) -> bool:
    """Say whether a run's supervisor is certainly gone although the run has not ended."""
    from interlock.host import Life, alive, life_of
    from interlock.run.summary import find_summary

    summary = find_summary(folder)
    supervisor = summary.processes.get("supervisor") if summary and summary.exit is None else None
    if supervisor is None:
        return False
    life, _ = life_of(supervisor)
    return life is Life.GONE or (life is Life.UNKNOWN and alive.look(folder)[0] is Life.GONE)


def is_over(folder: Path) -> bool:
    """Say whether a run has certainly ended, by its own word or because its supervisor is gone."""
    from interlock.run.summary import find_summary

    summary = find_summary(folder)
    return summary is None or summary.exit is not None or is_abandoned(folder)


def prune_runs(home: Path, policy: Retention, *, now: datetime, dry_run: bool) -> Removed:
    """Remove the records of old runs, and initialisations that are no longer used, from the folder of a home."""
    from interlock.run.retention import remove_old

    return remove_old(home, policy, now=now, dry_run=dry_run)

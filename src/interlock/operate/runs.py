"""Runs of this home: found, stopped, waited for, and ended when their supervisor was killed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.clock import Clock
from interlock.errors import BackendUnavailable, UsageError, command

if TYPE_CHECKING:
    from interlock.api.runs import ToldRun
    from interlock.home.interface import Home
    from interlock.recovery.witnesses.process import Recorded
    from interlock.run.retention import Removed, Retention
    from interlock.run.summary import Summary
    from interlock.run.transcript import Reader

FOLLOWED = "followed"
"""In a home: copies of what runs on other machines told."""
_COPIES_MAX = 20
_SILENT_MAX = 2  # silent answers of a run without its state; one that ends well says so within seconds
_ANSWER_S = 3.0  # how long `runs cancel` waits for the supervisor's answer; a living one gives it within milliseconds
_ANSWER_LOOK_S = 0.05
ANSWER_AFAR_S = 10.0
"""How long `runs cancel` waits for the answer of a run on another machine, whose server passes both on."""


async def runs_of(state: str, home: Home, environ: Mapping[str, str], *, limit: int) -> list[Summary]:
    """Return the newest runs of the state that is meant, at most `limit`.

    Raises:
        UsageError: No state can be meant.
    """
    from interlock.site.which import names_of

    queue, _ = await names_of(state, home, environ)
    return await recent_runs(home, limit=limit, state=queue)


async def recent_runs(home: Home, *, limit: int, state: str = "") -> list[Summary]:
    """Return the newest runs first: those of the team, where the home is at a server, else those of this machine."""
    from interlock.run.summary import recent

    if home.team_runs is None:
        return recent(home.runs, limit=limit, state=state or None)
    told = await home.team_runs.recent(limit=limit, state=state)
    return [summary for summary in map(_summary_of, told) if summary is not None]


def _summary_of(told: ToldRun) -> Summary | None:
    """Return a run at a glance; None for what a client of another version told in a form that we do not know."""
    import msgspec

    from interlock.bounded import decode_json
    from interlock.run.summary import Summary

    try:
        return decode_json(bytes(told.summary), type=Summary)
    except (msgspec.MsgspecError, ValueError):
        return None


async def recorded_at_server(home: Home, run: str) -> Recorded | None:
    """Return what a run told the server of its processes, where this home knows nothing of it itself.

    Another home of this very machine can see whether they live. That they are gone proves nothing: what the run told
    last may be from before it started its Terraform, and its lock file is in the home where it works.
    """
    from interlock.recovery.witnesses.process import Recorded
    from interlock.run.summary import SUMMARY

    if home.team_runs is None or (home.runs / run / SUMMARY).exists():
        return None
    told = next((each for each in await home.team_runs.recent(limit=1, begins=run) if each.run == run), None)
    summary = None if told is None else _summary_of(told)
    if summary is None:
        return None
    gap = "what the run told the server last may be older than what it did since"
    return Recorded(processes=summary.processes, source=f"run {run} at {home.place}", gap=gap)


async def bring_run(home: Home, text: str) -> Path:
    """Return the folder of a run, of this machine, or a copy of what a run on another machine told so far.

    Args:
        home: Where runs are told of.
        text: The run's id, the beginning of it, or `latest`.

    Raises:
        UsageError: There is no such run, or more than one.
    """
    if home.team_runs is None:
        return find_run(home.runs, text)
    found = await home.team_runs.recent(limit=2, begins="" if text == "latest" else text)
    if len(found) > 1 and text != "latest":
        raise UsageError(f"{len(found)} runs or more begin with {text!r}", fix="interlock runs ls")
    if not found:
        return find_run(home.runs, text)  # one of this machine that was never told of
    run = found[0].run
    if (home.runs / run).is_dir():
        return home.runs / run
    return await _copied(home, found[0])


async def _copied(home: Home, told: ToldRun) -> Path:
    """Write what a run told into a folder of its own beside ours, from the beginning."""
    from interlock.run.summary import SUMMARY
    from interlock.run.transcript import JOURNAL
    from interlock.source.disk import write_file
    from interlock.trust.ownership import make_folder

    # One for each command: two that follow one run would else write one file.
    folder = home.settings.home / FOLLOWED / home.ids.fresh() / told.run
    await asyncio.to_thread(make_folder, home.settings.home)
    await asyncio.to_thread(make_folder, home.settings.home / FOLLOWED)
    await asyncio.to_thread(make_folder, folder.parent)
    await asyncio.to_thread(make_folder, folder)
    await asyncio.to_thread(_forget_copies, folder.parent.parent)
    await asyncio.to_thread(write_file, folder / SUMMARY, bytes(told.summary))
    await asyncio.to_thread(write_file, folder / JOURNAL, b"")
    while not await bring_more(home, folder, follow=False):
        if (folder / JOURNAL).stat().st_size >= told.size:
            break
    return folder


def _forget_copies(followed: Path) -> None:
    """Remove all but the newest copies: each can be brought again."""
    copies = sorted(followed.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
    for each in copies[_COPIES_MAX:]:
        shutil.rmtree(each, ignore_errors=True)


async def bring_more(home: Home, folder: Path, *, follow: bool) -> bool:
    """Add to the copy of a run what it told since; say whether the run has ended and all of it is here.

    Args:
        home: Where runs are told of.
        folder: What `bring_run` returned.
        follow: Wait some seconds when there is nothing more yet.
    """
    from interlock.run.transcript import JOURNAL

    assert home.team_runs is not None
    path = folder / JOURNAL
    text, is_over = await home.team_runs.journal(folder.name, path.stat().st_size, follow=follow)
    with path.open("ab") as file:
        file.write(text)
    return is_over


async def bring_next(home: Home, folder: Path) -> bool:
    """Wait for more of what a run tells; say whether it has ended and all of it is here.

    Raises:
        BackendUnavailable: It held its state, holds it no more, and says nothing: it was killed, and its lock broken.
    """
    from interlock.run.transcript import JOURNAL

    for _ in range(_SILENT_MAX):
        before = (folder / JOURNAL).stat().st_size
        if await bring_more(home, folder, follow=True):
            return True
        if (folder / JOURNAL).stat().st_size > before or not await _has_lost_its_state(home, folder):
            return False
    raise _never_told(folder)


async def _has_lost_its_state(home: Home, folder: Path) -> bool:
    """Say whether a run was given its state, and nobody with its name holds it or waits for it now."""
    from interlock.run.entries import GrantedEntry
    from interlock.run.summary import find_summary
    from interlock.run.transcript import read

    summary = find_summary(folder)
    if summary is None or all(entry.kind != GrantedEntry.KIND for entry in read(folder)):
        return False
    locks = [(await keeper.view(summary.state)).lock for keeper in (home.coordinator, home.beside)]
    return all(party.run != folder.name for lock in locks for party in (*lock.holders, *lock.waiters))


def _never_told(folder: Path) -> BackendUnavailable:
    from interlock.run.summary import find_summary

    summary = find_summary(folder)
    return BackendUnavailable(
        f"run {folder.name} has not told how it ended",
        why="it does not hold its state any more, and has said nothing since; its machine or its server was away",
        fix=command("recover", summary.state if summary is not None else "."),
    )


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
    until_s = clock.monotonic() + _ANSWER_S
    while clock.monotonic() < until_s:
        answer = _answer_in(reader)
        if answer is not None:
            return answer
        await clock.sleep(_ANSWER_LOOK_S)
    return ""


def _answer_in(reader: Reader) -> str | None:
    """Return what the supervisor made of a request to stop; empty when the run has ended, None when it says neither."""
    from interlock.run.entries import EndEntry, InterruptEntry

    for entry in reader.new():
        match entry.told:
            case InterruptEntry(cause="cancelled", action=action):
                return action
            case EndEntry():
                return ""
            case _:
                pass
    return None


async def cancel_afar(home: Home, folder: Path) -> str:
    """Ask a run on another machine to stop, by the server.

    Args:
        home: Where runs are told of.
        folder: What `bring_run` returned: a copy of what the run told.

    Returns:
        What the run's supervisor made of it; empty when it did not say so in time, as when its machine is away. It
        hears of it then as soon as it reaches the server.

    Raises:
        UsageError: It has ended.
        Forbidden: It is another's, and the token may not unlock by force.
    """
    from interlock.run.summary import find_summary
    from interlock.run.transcript import Reader

    summary = find_summary(folder)
    assert home.team_runs is not None
    assert summary is not None, f"no summary of {folder.name} was brought"
    reader = Reader(folder)
    list(reader.new())  # what was said before is not an answer
    await home.team_runs.ask_to_stop(folder.name, summary.state, once=home.ids.fresh(), by=home.me)
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_AFAR_S):
            while (answer := _answer_in(reader)) is None:
                if await bring_more(home, folder, follow=True):
                    return _answer_in(reader) or ""
            return answer
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

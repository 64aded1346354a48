"""How long the records of ended runs and cached initialisations stay, so that a home does not grow without bound.

What may still be needed never goes: a run that has not ended, a state that could not be saved, an initialisation that a
run works with. A folder is first moved aside in one step, so nobody ever sees half of one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from interlock.run.summary import Summary, find_summary
from interlock.run.workspace import ERRORED
from interlock.trust.ownership import make_folder

TRASH = "trash"
"""Folder of the home in which things are while they are removed; what a crash leaves there goes the next time."""
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Which ended runs stay.

    Attributes:
        newest: So many newest runs, always: the pace of a state and `runs ls` come from them.
        for_s: Every run that ended so recently.
        most: Never more than this, however young they are.
    """

    newest: int = 50
    for_s: float = 30 * _DAY_S
    most: int = 2000


SEEDS_PER_MODULE = 3
"""Cached initialisations of one root module: each change of its files makes one, with a copy of its providers."""
SEED_IDLE_S = 30 * _DAY_S
"""An initialisation that nobody used for so long goes, also the last one of its module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What went, or would go.

    Attributes:
        runs: Ids of runs.
        initialisations: Keys of cached initialisations.
        size_bytes: What they took.
    """

    runs: tuple[str, ...]
    initialisations: tuple[str, ...]
    size_bytes: int


def choose_runs(summaries: Sequence[Summary], policy: Retention, *, now: datetime) -> list[str]:
    """Return the runs whose records may go, oldest first.

    Args:
        summaries: All runs, newest first.
        policy: What to keep.
        now: Aware UTC instant that ages are counted from.
    """
    doomed = []
    for place, summary in enumerate(summaries):
        if place < policy.newest or summary.ended_at is None:
            continue
        if place >= policy.most or (now - summary.ended_at).total_seconds() > policy.for_s:
            doomed.append(summary.run)
    return doomed[::-1]


def remove_old(home: Path, policy: Retention, *, now: datetime, dry_run: bool = False) -> Removed:
    """Remove what the policy lets go. What cannot be removed stays for the next time.

    Args:
        home: Interlock's home.
        policy: What to keep.
        now: Aware UTC instant of this decision.
        dry_run: Only say what would go.
    """
    runs, seeds = home / "runs", home / "cache" / "init"
    doomed_runs = [name for name in _old_runs(runs, policy, now) if not _holds_state(runs / name)]
    doomed_seeds = _old_seeds(seeds, _seeds_in_use(runs), now)
    folders = [*(runs / name for name in doomed_runs), *(seeds / name for name in doomed_seeds)]
    size_bytes = sum(_size(folder) for folder in folders)
    if not dry_run:
        _remove(folders, home / TRASH)
    return Removed(runs=tuple(doomed_runs), initialisations=tuple(doomed_seeds), size_bytes=size_bytes)


def _old_runs(runs: Path, policy: Retention, now: datetime) -> list[str]:
    names = sorted(_names(runs), reverse=True)
    if len(names) <= policy.newest:
        return []
    found = {name: find_summary(runs / name) for name in names}
    never_began = [name for name in names if found[name] is None and _age_s(runs / name, now) > policy.for_s]
    return never_began + choose_runs([each for each in found.values() if each is not None], policy, now=now)


def _age_s(path: Path, now: datetime) -> float:
    try:
        return now.timestamp() - path.stat().st_mtime
    except OSError:
        return 0.0


def _holds_state(folder: Path) -> bool:
    """Say whether a state that could not be saved is in the run's folder, or still where its Terraform left it."""
    summary = find_summary(folder)
    left = [folder / ERRORED] + ([Path(summary.folder) / ERRORED] if summary and summary.folder else [])
    return any(path.exists() for path in left)


def _seeds_in_use(runs: Path) -> set[str]:
    """Return the initialisations whose providers a run works with: its data folder links to them."""
    used = set()
    for name in _names(runs):
        with suppress(OSError):
            used.add((runs / name / "data" / "providers").readlink().parent.name)
    return used


def _old_seeds(seeds: Path, used: set[str], now: datetime) -> list[str]:
    """Return initialisations that may go: not in use, and idle for long or older than enough others of their module."""
    ages: list[tuple[float, str, str]] = []
    for name in _names(seeds):
        mark = seeds / name / "complete"
        with suppress(OSError):
            ages.append(
                (now.timestamp() - mark.stat().st_mtime, mark.read_text(errors="replace", encoding="utf-8"), name)
            )
    doomed, kept = [], dict[str, int]()
    for age_s, module, name in sorted(ages):
        kept[module] = kept.get(module, 0) + 1
        if name not in used and (kept[module] > SEEDS_PER_MODULE or age_s > SEED_IDLE_S):
            doomed.append(name)
    return doomed


def _remove(folders: Iterable[Path], trash: Path) -> None:
    make_folder(trash)
    for folder in folders:
        with suppress(OSError):  # somebody else was quicker
            folder.rename(trash / folder.name)
    for left in _names(trash):
        shutil.rmtree(trash / left, ignore_errors=True)


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total

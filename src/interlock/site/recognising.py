"""Whose lock is it, where a server keeps of a lock document only its id: GitLab does. A hand: it looks at our runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from interlock.existing import Reference, TerraformLock, find_reference, lock_id_of, render_reference
from interlock.run.summary import recent

_RUNS = 500  # newest runs of this machine that may have taken a lock


def recognised(locks: tuple[TerraformLock, ...], runs: Path) -> tuple[TerraformLock, ...]:
    """Return locks with the reference that runs of this machine wrote into them, also where the server dropped it."""
    unknown = {lock.id for lock in locks if find_reference(lock.info) is None}
    if not unknown:
        return locks
    ours = {lock_id_of(summary.run): summary for summary in recent(runs, limit=_RUNS)}
    return tuple(
        replace(lock, info=render_reference(Reference(run=ours[lock.id].run, job=ours[lock.id].job or "")))
        if lock.id in unknown & ours.keys()
        else lock
        for lock in locks
    )

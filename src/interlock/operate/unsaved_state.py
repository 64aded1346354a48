"""`errored.tfstate`: the state that a failed run could not save. A hand.

It may be the only record of objects that exist. It is pushed when it follows the current state, and kept in any case.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from interlock.amounts import amount
from interlock.errors import StateInvalid, UsageError
from interlock.home.interface import Home
from interlock.recovery.damage import read_whole
from interlock.run.summary import find_summary
from interlock.site.existing_versions import keep_of
from interlock.site.interface import Site
from interlock.site.ref import StateRef
from interlock.state import MAX_STATE_BYTES, AnyDocument, Refusal, Step, judge_successor, says_same

NAME = "errored.tfstate"
MAX_FILES = 20
"""Files of one state that are looked at; one failed run leaves one."""


class Fit(Enum):
    """How such a file stands to the current state."""

    FOLLOWS = "follows"
    """It may become current."""
    STORED = "stored"
    """Its content is current already."""
    REFUSED = "refused"
    """It may not become current."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One file.

    Attributes:
        path: Where it is.
        body: Its bytes.
        document: The same, read; None when it is not whole.
        fit: How it stands.
        why: Why it may not become current; empty otherwise.
    """

    path: Path
    body: bytes
    document: AnyDocument | None
    fit: Fit
    why: str = ""


def find_files(ref: StateRef, runs: Path) -> list[Path]:
    """Return the files of a state: in its root module, and in the folders of our own runs; newest first.

    Args:
        ref: The state.
        runs: The folder of our runs.
    """
    found = []
    directory = ref.directory
    if directory is not None and (directory / NAME).is_file():
        found.append(directory / NAME)
    for path in runs.glob(f"*/{NAME}") if runs.is_dir() else ():
        summary = find_summary(path.parent)
        if summary is not None and (summary.state == ref.queue or summary.directory == str(directory)):
            found.append(path)
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[:MAX_FILES]


async def judge_file(path: Path, site: Site) -> Leftover:
    """Say whether a file may become the current state.

    Raises:
        UsageError: It cannot be read, or is too large.
    """
    try:
        size = path.stat().st_size
        body = await asyncio.to_thread(path.read_bytes) if size <= MAX_STATE_BYTES else b""
    except OSError as error:
        raise UsageError(f"cannot read {path}", why=error.strerror or "", fix=f"ls -l {path}") from error
    document = read_whole(body)
    if document is None:
        why = "it is not whole" if body else f"it has {amount(size, 'byte')}"
        return Leftover(path=path, body=body, document=None, fit=Fit.REFUSED, why=why)
    current = await _current(site)
    if current is None:
        return Leftover(path=path, body=body, document=document, fit=Fit.FOLLOWS)
    verdict = judge_successor(current, document)
    same = current.lineage == document.lineage and says_same(current, document)
    if verdict is Step.SAME or (same and isinstance(verdict, Refusal)):
        return Leftover(path=path, body=body, document=document, fit=Fit.STORED)
    if isinstance(verdict, Refusal):
        return Leftover(path=path, body=body, document=document, fit=Fit.REFUSED, why=verdict.why)
    return Leftover(path=path, body=body, document=document, fit=Fit.FOLLOWS)


async def put_away(leftover: Leftover, ref: StateRef, home: Home) -> Path:
    """Move a file that was dealt with to the kept states, so that it is not offered again; return where it is."""
    keep = keep_of(home.settings)
    kept = await asyncio.to_thread(keep.save, ref.address, leftover.body, now=home.clock.now())
    leftover.path.unlink(missing_ok=True)
    return kept


async def _current(site: Site) -> AnyDocument | None:
    """Return the current document; None when there is none or it is damaged."""
    try:
        return read_whole(await site.versions.body(None))
    except UsageError:
        return None
    except StateInvalid:
        return None

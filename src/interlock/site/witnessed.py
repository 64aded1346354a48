"""What the queue knows of what was stored, should the newest version be deleted where it is. A hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from interlock.coordinator.interface import HeadKeeper
from interlock.coordinator.record import Head
from interlock.errors import StateInvalid
from interlock.existing import ExistingBackend, StoredState
from interlock.lock import FencingToken
from interlock.recovery.known import Known, find_newer
from interlock.site.succession import parsed
from interlock.source.disk import write_file

VERSIONS_READ = 30
"""Newest versions whose bytes are read before a state is called lost; each costs a request."""

_NO_VERSIONS = frozenset({"", "null"})  # ids in a bucket that keeps none


def known_of_head(head: Head | None) -> Iterator[Known]:
    """Yield what the queue beside the state knows, from whatever machine."""
    if head is not None and head.digest:
        source = f"run {head.run}, by the queue" if head.run else "the queue"
        yield Known(lineage=head.lineage, serial=head.serial, digest=head.digest, at=head.written_at, source=source)


async def remember(
    coordinator: HeadKeeper,
    state: str,
    stored: StoredState,
    *,
    before: Head | None,
    run: str,
    token: FencingToken,
    now: datetime,
) -> None:
    """Write into the queue's record what a holder stored. Only its holder may, as everything in that record.

    Args:
        coordinator: The queue.
        state: State name.
        stored: What is stored.
        before: What the queue remembered when its holder last looked: nobody else writes it meanwhile.
        run: Who stored it.
        token: Its grant.
        now: For a store that does not say when it was: times of such a store are never compared, serials are.

    Raises:
        LeaseLost: The grant is not current.
    """
    document = parsed(stored)
    if document is None:
        return
    head = Head(
        number=(before.number if before is not None else 0) + 1,
        digest=hashlib.sha256(stored.body).hexdigest(),
        serial=document.serial,
        lineage=document.lineage,
        size_bytes=len(stored.body),
        written_at=stored.modified_at or now,
        token=token,
        run=run,
    )
    await coordinator.update_head(state, expected_head=before, new_head=head, token=token)


LAST = "last-stored"
"""In a run's folder: SHA-256 of the state that was stored when the run last looked or wrote; empty for none."""


def note_last(folder: Path, stored: StoredState | None) -> None:
    """Write down what is stored now. Without the note recovery stores nothing over a state that nobody locks."""
    with suppress(OSError):
        write_file(folder / LAST, _sha(stored).encode())


def is_last(folder: Path, stored: StoredState | None) -> bool:
    """Say whether what is stored is what a run saw, or wrote, last; also not when it never wrote that down."""
    try:
        return (folder / LAST).read_text(encoding="utf-8") == _sha(stored)
    except (OSError, UnicodeDecodeError):
        return False


def _sha(stored: StoredState | None) -> str:
    return hashlib.sha256(stored.body).hexdigest() if stored is not None and stored.body else ""


async def find_lost(backend: ExistingBackend, stored: StoredState, known: Sequence[Known]) -> Known | None:
    """Return what was stored later than what is there now and is not a version any more; None when nothing was.

    The versions are read only when something is known to be newer, which is never so while nobody deletes anything.
    """
    try:
        document = parsed(stored)
    except StateInvalid:
        return None  # that is said already, and nothing can be compared
    if document is None:
        return None
    newer = partial(find_newer, known, lineage=document.lineage, serial=document.serial, at=stored.modified_at)
    current = frozenset({hashlib.sha256(stored.body).hexdigest()})
    if newer(digests=current) is None:
        return None
    older = await _digests_of_versions(backend)
    return newer(digests=current | older) if older is not None else None


async def _digests_of_versions(backend: ExistingBackend) -> frozenset[str] | None:
    """Return SHA-256 of the newest versions; None when the backend keeps none, so that nothing can be said."""
    listed = [version for version in await backend.history() if not version.is_deletion]
    if any(version.id in _NO_VERSIONS for version in listed):
        return None
    bodies = [await backend.read_version(version.id) for version in listed[:VERSIONS_READ]]
    return frozenset(hashlib.sha256(body).hexdigest() for body in bodies)

"""The versions of a state of our own backend, brought here from another store of ours. A hand.

They are written in their order, so until the last one is here the newest is an old one, on which nobody may work: the
state is paused meanwhile, also when the command is killed. The same command goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.errors import InterlockError
from interlock.lock import Paused, Resumed
from interlock.site.act_entries import change_pause
from interlock.site.holding import is_review, settling
from interlock.site.moved import arriving_from, moved_to
from interlock.state import Version, VersionKind

if TYPE_CHECKING:
    from interlock.coordinator.archive import Writer
    from interlock.lock import Pause
    from interlock.site.own_versions import OwnVersions

BROUGHT_MAX = 1000
"""Earlier versions that are brought at most, the newest of them; each is a write of its own."""

_NOTE_CHARS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What became of the earlier versions of a state that was moved.

    Attributes:
        versions: How many were brought along.
        left: How many were not: their bytes were pruned or are damaged, or they are older than `BROUGHT_MAX` others.
    """

    versions: int = 0
    left: int = 0


async def receive(target: OwnVersions, source: OwnVersions, body: bytes, *, came_from: str) -> Brought:
    """Bring the versions that the target lacks, and make the last one current.

    Args:
        target: Where they are brought.
        source: Where they are; nobody writes there meanwhile.
        body: The current one there.
        came_from: The address of the source, as the target's queue names it.

    Raises:
        InterlockError: One was refused. When nothing was written, the target is as open as it was before.
    """
    queue, state, me = target.home.coordinator, target.state, target.home.me
    mark, back = arriving_from(came_from), moved_to(came_from)

    async def tell(event: Paused | Resumed) -> None:
        await change_pause(queue, state, event, home=target.home, subject=target.ref.address)

    def ends(pause: Pause) -> bool:
        return is_review(pause) or pause.reason in {mark, back}

    await tell(Paused(by=me, reason=mark))  # another pause stands, and is waited for or ended likewise
    head = (await queue.view(state)).head
    try:
        async with settling(target.home, state, "moving it here", ends) as seat:
            return await _write_all(target, source, body, target.writer(seat), came_from)
    except BaseException:
        with suppress(InterlockError):
            if (await queue.view(state)).head == head:
                await tell(Resumed(by=me, reason=mark))
        raise


async def _write_all(target: OwnVersions, source: OwnVersions, body: bytes, writer: Writer, came_from: str) -> Brought:
    last, missing, older = await _missing(target, source)
    brought, left = 0, older
    for version in missing[:-1]:
        if await _write_one(target, source, version, last, writer, came_from):
            brought, last = brought + 1, version
        else:
            left += 1
    is_forced = bool(missing) and _must_force(last, missing[-1])
    note = f"moved from {came_from}"
    written = await target.archive.write(
        target.state, body, writer=writer, kind=VersionKind.IMPORT, note=note, force=is_forced
    )
    if not written.repeated:
        await target.note("state-pushed", written.version, {"forced": is_forced, "earlier": brought})
    return Brought(versions=brought, left=left)


async def _missing(target: OwnVersions, source: OwnVersions) -> tuple[Version | None, Sequence[Version], int]:
    """Return the target's newest version, the source's versions that follow it, oldest first, and how many more.

    Where the target's newest is none of the source's, only the current one follows: whether it may was judged before.
    """
    newest = await target.archive.history(target.state, limit=1)
    last = newest[0] if newest and newest[0].digest else None
    found: list[Version] = []
    older = 0
    async for version in source.archive.versions(source.state):
        if last is not None and version.digest == last.digest:
            return last, found[::-1], older
        if len(found) <= BROUGHT_MAX:
            found.append(version)
        else:
            older += 1
    if last is not None:
        return None, found[:1], 0
    return None, found[::-1], older


async def _write_one(
    target: OwnVersions, source: OwnVersions, version: Version, last: Version | None, writer: Writer, came_from: str
) -> bool:
    """Write one earlier version; say whether its bytes were there to be written."""
    note = _note(version, came_from)
    if version.is_tombstone:
        return await target.archive.delete(target.state, writer=writer, note=note) is not None
    try:
        body = await source.archive.read_version(source.state, version)
    except InterlockError:
        return False
    forced = _must_force(last, version)
    await target.archive.write(target.state, body, writer=writer, kind=VersionKind.IMPORT, note=note, force=forced)
    return True


def _must_force(last: Version | None, version: Version) -> bool:
    """Say whether a version does not follow the one before it by the rules, as one that a person forced."""
    if last is None or last.is_tombstone or version.is_tombstone:
        return False
    follows = version.lineage == last.lineage and version.serial > last.serial
    return not follows or (last.encrypted and not version.encrypted)


def _note(version: Version, came_from: str) -> str:
    run = f" in run {version.run}" if version.run else ""
    said = f": {version.note}" if version.note else ""
    what = f"version {version.number} of {came_from}, {version.kind.value} by {version.who}{run}"
    return f"{what} at {version.written_at:%Y-%m-%d %H:%M:%SZ}{said}"[:_NOTE_CHARS]

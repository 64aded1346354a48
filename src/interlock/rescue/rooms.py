"""One state of any backend, for the commands under `interlock state`: the same questions to all of them. A hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from interlock.compose import StateRoom, open_embedded, read_settings
from interlock.errors import StateInvalid, UsageError, command
from interlock.rescue.foreign_room import ForeignRoom, Planned, StoredVersion, open_foreign_room
from interlock.rescue.target import Own, find_target
from interlock.state import Document, Finding, RestorePlan, Version, parse_document, verify_state

HISTORY_MAX = 1000
"""Links of our own chain that `verify` walks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A restore that was planned, or done.

    Attributes:
        chosen: What is restored, as plain values.
        label: The same for people.
        plan: What happens.
        serial: Serial that became current; None while it is only planned.
        planned: What the room needs to do it.
    """

    chosen: Version | StoredVersion
    label: str
    plan: RestorePlan
    planned: Planned | None = None


class Room(Protocol):
    """One state, wherever it is. Everything may raise what its backend raises."""

    async def body(self, text: str | None) -> bytes:
        """Return the bytes of a version; None means the current one."""
        ...

    async def document(self, text: str | None) -> Document:
        """Return a version as a document."""
        ...

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """Return two versions: by default the current one and the one before."""
        ...

    async def rows(self, limit: int) -> Sequence[Version] | Sequence[StoredVersion]:
        """Return versions, newest first."""
        ...

    async def findings(self, text: str | None) -> tuple[Finding, ...]:
        """Return what is wrong with the state, or with one version of it."""
        ...

    async def planned(self, text: str | None) -> Restored:
        """Plan a restore; by default of the newest whole version."""
        ...

    async def restored(self, plan: Restored) -> int:
        """Do what was planned; return the serial that is current now."""
        ...

    async def pushed(self, body: bytes, *, force: bool) -> Mapping[str, Any]:
        """Store a document; return what was stored, as plain values with `serial` and `repeated`."""
        ...


class OwnRoom:
    """See `Room`; for Interlock's own backend.

    Args:
        room: The state.
    """

    def __init__(self, room: StateRoom) -> None:
        self.room = room

    async def body(self, text: str | None) -> bytes:
        """See `Room.body`."""
        return await self.room.body(text)

    async def document(self, text: str | None) -> Document:
        """See `Room.document`."""
        return await self.room.document(text)

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """See `Room.pair`."""
        return await self.room.pair(first, second)

    async def rows(self, limit: int) -> Sequence[Version]:
        """See `Room.rows`."""
        return await self.room.archive.history(self.room.state, limit=limit)

    async def findings(self, text: str | None) -> tuple[Finding, ...]:
        """See `Room.findings`. The archive refuses what a foreign backend accepts; its chain is walked all the same."""
        found = verify_state(await self.room.body(text), thorough=True)
        if text is not None:
            return found
        try:
            await self.room.archive.history(self.room.state, limit=HISTORY_MAX)
        except StateInvalid as error:
            found = (*found, Finding(code="bad-history", message=f"{error.what}: {error.why}"))
        waiting = await self.room.archive.quarantined(self.room.state)
        if waiting:
            review = command("state", "quarantine", "ls", self.room.state)
            message = f"{len(waiting)} refused writes wait for review: {review}"
            found = (*found, Finding(code="quarantined", message=message, refuses=False))
        return found

    async def planned(self, text: str | None) -> Restored:
        """See `Room.planned`."""
        chosen, plan = await self.room.plan_restore(text)
        return Restored(chosen=chosen, label=f"version {chosen.number} (serial {chosen.serial})", plan=plan)

    async def restored(self, plan: Restored) -> int:
        """See `Room.restored`."""
        assert isinstance(plan.chosen, Version)
        return (await self.room.restore(plan.chosen)).version.serial

    async def pushed(self, body: bytes, *, force: bool) -> Mapping[str, Any]:
        """See `Room.pushed`."""
        written = await self.room.push(body, force=force)
        return {
            "version": written.version,
            "repeated": written.repeated,
            "repaired": written.repaired,
            "serial": written.version.serial,
        }


class ForeignStateRoom:
    """See `Room`; for an existing backend.

    Args:
        room: The state.
    """

    def __init__(self, room: ForeignRoom) -> None:
        self.room = room

    async def body(self, text: str | None) -> bytes:
        """See `Room.body`."""
        return await self.room.body(text)

    async def document(self, text: str | None) -> Document:
        """See `Room.document`."""
        return await self.room.document(text)

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """See `Room.pair`."""
        return await self.room.pair(first, second)

    async def rows(self, limit: int) -> Sequence[StoredVersion]:
        """See `Room.rows`."""
        return await self.room.versions(limit=limit)

    async def findings(self, text: str | None) -> tuple[Finding, ...]:
        """See `Room.findings`."""
        return await self.room.verify(text)

    async def planned(self, text: str | None) -> Restored:
        """See `Room.planned`."""
        planned = await self.room.plan_restore(text)
        chosen = planned.chosen
        name = f"version {chosen.number} ({chosen.id}, serial {chosen.serial})"
        return Restored(chosen=chosen, label=name if chosen.number else chosen.id, plan=planned.plan, planned=planned)

    async def restored(self, plan: Restored) -> int:
        """See `Room.restored`."""
        assert plan.planned is not None
        return parse_document((await self.room.restore(plan.planned)).body).serial

    async def pushed(self, body: bytes, *, force: bool) -> Mapping[str, Any]:
        """See `Room.pushed`."""
        document, repeated = await self.room.push(body, force=force)
        return {"repeated": repeated, "serial": document.serial}


@asynccontextmanager
async def open_room(text: str, environ: Mapping[str, str]) -> AsyncIterator[OwnRoom | ForeignStateRoom]:
    """Open the state that a person names for as long as the context lasts."""
    settings = read_settings(environ)
    target = await find_target(text, settings, environ)
    if isinstance(target, Own):
        async with open_embedded(settings) as embedded:
            yield OwnRoom(StateRoom(state=target.state, settings=settings, embedded=embedded))
        return
    async with open_foreign_room(text, target, settings) as room:
        yield ForeignStateRoom(room)


def own_room(room: OwnRoom | ForeignStateRoom, subject: str) -> StateRoom:
    """Return the room of our own backend, for what only that has.

    Raises:
        UsageError: The state is elsewhere.
    """
    if isinstance(room, ForeignStateRoom):
        kept = [kept.path for kept in room.room.keep.kept(room.room.address)]
        raise UsageError(
            f"{subject} has no quarantine",
            why=f"its backend, {room.room.address}, refuses no writes",
            fix=f"states that were replaced are in {kept[0].parent}" if kept else "nothing was replaced yet",
        )
    return room.room

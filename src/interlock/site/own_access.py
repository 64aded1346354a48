"""A run's own way to its state in embedded mode: the HTTP backend on a loopback port, for as long as the run lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from interlock.backend.gate import RunGate
from interlock.backend.loopback import serve_run
from interlock.coordinator import Coordinator, Head
from interlock.coordinator.archive_interface import Archive
from interlock.errors import InterlockError
from interlock.ids import Ids
from interlock.run.surroundings import Current, Seat, Tell
from interlock.site.own_door import OwnDoor
from interlock.state import Version, VersionKind
from interlock.terraform.command import HttpBackend

REST_S: Final = 10.0  # for what a Terraform that has ended had sent; its connections end with it


class OwnAccess:
    """See `interlock.run.surroundings.StateAccess`.

    Args:
        gate: What the run may do.
        archive: Where its state is.
        door: The run's address; None for a Terraform that has a file instead.
    """

    def __init__(self, gate: RunGate, archive: Archive, door: OwnDoor | None) -> None:
        self._gate = gate
        self._archive = archive
        self._door = door

    @property
    def backend(self) -> HttpBackend | None:
        """See `StateAccess.backend`."""
        return None if self._door is None else self._door.backend

    @property
    def workspace(self) -> str:
        """See `StateAccess.workspace`."""
        return ""

    @property
    def lock(self) -> bool | None:
        """See `StateAccess.lock`. Terraform locks through it, with its own id."""
        return None

    @property
    def files(self) -> tuple[int, ...]:
        """See `StateAccess.files`."""
        return ()

    async def may_initialise(self) -> bool:
        """See `StateAccess.may_initialise`."""
        return True

    async def enter(self, tell: Tell, *, timeout_s: float | None) -> None:
        """See `StateAccess.enter`. Nobody comes to this state but through us."""

    async def rest(self) -> None:
        """See `StateAccess.rest`."""
        await self._gate.visits.until_alone(REST_S)

    async def settle(self, tell: Tell) -> None:
        """See `StateAccess.settle`. Every write was judged when it came."""

    async def leave(self) -> None:
        """See `StateAccess.leave`."""

    def admit(self, seat: Seat) -> None:
        """See `StateAccess.admit`. Until a plan is known nothing may disappear from the state."""
        self._gate.admit(ticket=seat.ticket, token=seat.token)
        self._gate.allow_deletions(frozenset())

    def allow_deletions(self, addresses: frozenset[str]) -> None:
        """See `StateAccess.allow_deletions`."""
        self._gate.allow_deletions(addresses, applying=True)

    def accepted(self) -> Current | None:
        """See `StateAccess.accepted`."""
        version = self._gate.accepted()
        return None if version is None else _current(version)

    def refused(self) -> InterlockError | None:
        """See `StateAccess.refused`."""
        return self._gate.refused()

    def suspect(self) -> tuple[str, ...]:
        """See `StateAccess.suspect`."""
        version = self._gate.accepted()
        return version.suspect if version is not None else ()

    def unsaved(self) -> bytes | None:
        """See `StateAccess.unsaved`."""
        return self._gate.unsaved()

    async def current(self) -> Current:
        """See `StateAccess.current`."""
        found = await self._archive.current(self._gate.state)
        if found is None:
            return Current()
        head = found[0]
        return _current(head)

    async def stored(self) -> bytes | None:
        """See `StateAccess.stored`."""
        found = await self._archive.current(self._gate.state)
        return found[1] if found is not None else None

    async def push(self, document: bytes, allowed: frozenset[str] | None) -> Current:
        """See `StateAccess.push`."""
        return _current(await self._gate.push(document, allowed, kind=VersionKind.PUSH))

    async def close(self) -> None:
        """The context of `open_access` closes it."""


def _current(version: Version | Head) -> Current:
    return Current(
        lineage=version.lineage,
        serial=version.serial,
        digest=version.digest,
        number=version.number,
        at=version.written_at,
    )


@asynccontextmanager
async def open_access(
    coordinator: Coordinator,
    archive: Archive,
    *,
    ids: Ids,
    state: str,
    run: str,
    who: str,
    door: OwnDoor | None = None,
) -> AsyncIterator[OwnAccess]:
    """Serve one run's backend at its door, by default a new one, until the context ends."""
    gate = RunGate(coordinator, archive, state=state, run=run, who=who, plans_first=True)
    door = door or OwnDoor(ids.secret())
    async with serve_run(gate, door.secret, listener=door.listener):
        yield OwnAccess(gate, archive, door)

"""What keeps the versions of states, near or far. `StateArchive` says in full what each method does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from interlock.coordinator.archive import Writer, Written
from interlock.coordinator.chain import MAX_HISTORY
from interlock.coordinator.record import Head
from interlock.errors import InterlockError
from interlock.state.history import Quarantined, Retention, Version, VersionKind
from interlock.state.restore import RestorePlan
from interlock.store.before import Before, nothing_before


class Archive(Protocol):
    """Keeps the versions of all states. Every write is judged where it is stored, whoever sends it."""

    async def current(self, state: str) -> tuple[Head, bytes] | None:
        """See `StateArchive.current`."""
        ...

    async def history(self, state: str, *, limit: int = MAX_HISTORY) -> tuple[Version, ...]:
        """See `StateArchive.history`."""
        ...

    def versions(self, state: str) -> AsyncIterator[Version]:
        """See `StateArchive.versions`."""
        ...

    async def version(
        self, state: str, *, number: int | None = None, serial: int | None = None, digest: str | None = None
    ) -> Version | None:
        """See `StateArchive.version`."""
        ...

    async def read_version(self, state: str, version: Version) -> bytes:
        """See `StateArchive.read_version`."""
        ...

    async def write(
        self,
        state: str,
        body: bytes,
        *,
        writer: Writer,
        kind: VersionKind = VersionKind.WRITE,
        note: str = "",
        force: bool = False,
    ) -> Written:
        """See `StateArchive.write`."""
        ...

    async def delete(self, state: str, *, writer: Writer, note: str = "") -> Written | None:
        """See `StateArchive.delete`."""
        ...

    async def plan_restore(self, state: str, version: Version) -> RestorePlan:
        """See `StateArchive.plan_restore`."""
        ...

    async def restore(self, state: str, version: Version, *, writer: Writer) -> Written:
        """See `StateArchive.restore`."""
        ...

    async def accept(self, state: str, *, writer: Writer) -> Version | None:
        """See `StateArchive.accept`."""
        ...

    async def end_review(self, state: str, *, by: str) -> None:
        """See `StateArchive.end_review`."""
        ...

    async def prunable(self, state: str, policy: Retention) -> tuple[Version, ...]:
        """See `StateArchive.prunable`."""
        ...

    async def prune(self, state: str, policy: Retention) -> tuple[Version, ...]:
        """See `StateArchive.prune`."""
        ...

    async def sweep(self, state: str) -> int:
        """See `StateArchive.sweep`."""
        ...

    async def quarantined(self, state: str) -> tuple[Quarantined, ...]:
        """See `StateArchive.quarantined`."""
        ...

    async def quarantine_dropped(self, state: str) -> int:
        """See `StateArchive.quarantine_dropped`."""
        ...

    async def read_quarantined(self, state: str, entry_id: str) -> tuple[Quarantined, bytes]:
        """See `StateArchive.read_quarantined`."""
        ...

    async def discard(self, state: str, entry_id: str) -> Quarantined:
        """See `StateArchive.discard`."""
        ...

    async def quarantine(self, state: str, body: bytes, *, writer: Writer, error: InterlockError) -> Quarantined:
        """See `StateArchive.quarantine`."""
        ...

    async def mend_chain(self, state: str, *, before: Before[str] = nothing_before) -> bool:
        """See `StateArchive.mend_chain`."""
        ...

    async def lost_head(self, state: str) -> Version | None:
        """See `StateArchive.lost_head`."""
        ...

    async def reattach(self, state: str, version: Version, *, writer: Writer) -> Head | None:
        """See `StateArchive.reattach`."""
        ...

    async def rebuild(self, state: str, version: Version, *, before: Before[Version] = nothing_before) -> bool:
        """See `StateArchive.rebuild`."""
        ...

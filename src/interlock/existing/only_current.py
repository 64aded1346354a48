"""What a backend that keeps the current state alone answers about versions. A hand: it reads the state."""

from __future__ import annotations

from abc import abstractmethod

from interlock.errors import THIS_STATE, UsageError, command
from interlock.existing.interface import StateVersion, StoredState, TerraformLock

CURRENT = "current"


class OnlyCurrent:
    """A part of `ExistingBackend`: history, versions and digest where there is one version and no digest."""

    @abstractmethod
    async def read_state(self) -> StoredState | None:
        """See `ExistingBackend.read_state`."""

    async def history(self) -> tuple[StateVersion, ...]:
        """See `ExistingBackend.history`."""
        current = await self.read_state()
        if current is None:
            return ()
        size = len(current.body)
        return (StateVersion(id=CURRENT, modified_at=current.modified_at, size=size, current=True),)

    async def read_version(self, version_id: str) -> bytes:
        """See `ExistingBackend.read_version`."""
        current = await self.read_state() if version_id == CURRENT else None
        if current is None:
            raise UsageError(f"there is no version {version_id!r}", fix=command("state", "history", THIS_STATE))
        return current.body

    async def repair_digest(self, *, expected: StoredState) -> StoredState:
        """See `ExistingBackend.repair_digest`. There is none."""
        return expected

    def write_under(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.write_under`. A write names no lock."""

    async def close(self) -> None:
        """See `ExistingBackend.close`. Nothing is kept open."""

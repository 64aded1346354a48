"""An existing backend in memory, for tests of what is done with locks and states. Keeps every version."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from interlock.errors import InterlockError
from interlock.existing import (
    Description,
    HeldTerraformLock,
    StateVersion,
    StoredState,
    TerraformLock,
    TerraformLockMoved,
)
from interlock.existing.terraform_lock import foreign_lock, held_by
from interlock.terraform.lockinfo import LockInfo, render_lock_info

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryBackend:
    """See `ExistingBackend`.

    Attributes:
        locks: By mechanism.
        bodies: Every version, oldest first.
        digest: The digest beside the state; None when none is kept.
        mechanisms: What plain Terraform locks with.
        failures: Raised, one each, by the next calls that read the lock.
        reads: How often the lock was read.
    """

    def __init__(self, *, mechanisms: tuple[str, ...] = ("dynamodb",), address: str = "s3://states/app") -> None:
        self.locks: dict[str, TerraformLock] = {}
        self.bodies: list[bytes] = []
        self.digest: str | None = None
        self.mechanisms = mechanisms
        self.address = address
        self.failures: list[InterlockError] = []
        self.reads = 0

    def hold(self, info: LockInfo, *mechanisms: str) -> None:
        """Lock as a plain Terraform would."""
        raw = render_lock_info(info)
        for mechanism in mechanisms or self.mechanisms:
            self.locks[mechanism] = foreign_lock(raw, mechanism=mechanism, place=f"{mechanism} of {self.address}")

    async def workspaces(self) -> tuple[str, ...]:
        """See `ExistingBackend.workspaces`."""
        return () if await self.read_state() is None else (self.describe().workspace,)

    def describe(self) -> Description:
        """See `ExistingBackend.describe`."""
        return Description(type="s3", address=self.address, locking=self.mechanisms)

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `ExistingBackend.read_locks`."""
        self.reads += 1
        if self.failures:
            raise self.failures.pop(0)
        return tuple(self.locks[name] for name in self.mechanisms if name in self.locks)

    async def delete_lock(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.delete_lock`."""
        current = self.locks.get(lock.mechanism)
        if current is None or current.raw != lock.raw:
            raise TerraformLockMoved(f"lock {lock.id} is not there any more", fix="look again")
        del self.locks[lock.mechanism]

    async def read_state(self) -> StoredState | None:
        """See `ExistingBackend.read_state`."""
        if not self.bodies:
            return None
        body = self.bodies[-1]
        computed = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return StoredState(
            body=body,
            version_id=f"v{len(self.bodies)}",
            modified_at=_BEGAN + timedelta(minutes=len(self.bodies)),
            digest_stored=self.digest,
            digest_computed=computed,
            condition=str(len(self.bodies)),
        )

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """See `ExistingBackend.write_state`."""
        current = await self.read_state()
        if (current.condition if current else "") != (expected.condition if expected else ""):
            raise TerraformLockMoved("the state changed while it was to be written", fix="try again")
        self.bodies.append(body)
        if self.digest is not None:
            self.digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        stored = await self.read_state()
        assert stored is not None
        return stored

    async def history(self) -> tuple[StateVersion, ...]:
        """See `ExistingBackend.history`."""
        last = len(self.bodies)
        rows = [
            StateVersion(
                id=f"v{number}",
                modified_at=_BEGAN + timedelta(minutes=number),
                size=len(self.bodies[number - 1]),
                current=number == last,
            )
            for number in range(last, 0, -1)
        ]
        return tuple(rows)

    async def read_version(self, version_id: str) -> bytes:
        """See `ExistingBackend.read_version`."""
        return self.bodies[int(version_id[1:]) - 1]

    async def repair_digest(self, *, expected: StoredState) -> StoredState:
        """See `ExistingBackend.repair_digest`."""
        current = await self.read_state()
        if current is None or current != expected:
            raise TerraformLockMoved("the state changed", fix="try again")
        self.digest = current.digest_computed
        return await self._stored()

    async def take_lock(self, info: LockInfo) -> HeldTerraformLock:
        """See `ExistingBackend.take_lock`."""
        if self.locks:
            raise held_by(next(iter(self.locks.values())), self.address)
        self.hold(info)
        return HeldTerraformLock(info=info, locks=tuple(self.locks.values()))

    async def give_lock(self, held: HeldTerraformLock) -> None:
        """See `ExistingBackend.give_lock`."""
        for lock in held.locks:
            if lock.mechanism in self.locks:
                await self.delete_lock(lock)

    def write_under(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.write_under`."""

    async def close(self) -> None:
        """See `ExistingBackend.close`."""

    async def _stored(self) -> StoredState:
        stored = await self.read_state()
        assert stored is not None
        return stored

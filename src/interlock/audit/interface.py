"""An audit log, near or far. `AuditLog` says in full what each method does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from interlock.audit.entry import Entry, Fact, Head, Noted
from interlock.audit.export import Filter
from interlock.audit.log import Damaged


class Audit(Protocol):
    """Who decided what."""

    @property
    def has_key(self) -> bool:
        """See `AuditLog.has_key`."""
        ...

    async def append(self, action: str, *, subject: str, by: str, facts: Mapping[str, Fact]) -> Entry:
        """See `AuditLog.append`."""
        ...

    async def announce(self, action: str, *, subject: str, by: str, facts: Mapping[str, Fact]) -> Entry:
        """See `AuditLog.announce`."""
        ...

    async def entries(self, *, subject: str | None = None) -> tuple[Entry, ...]:
        """See `AuditLog.entries`."""
        ...

    async def damaged(self) -> tuple[Damaged, ...]:
        """See `AuditLog.damaged`."""
        ...

    async def head(self) -> Head | None:
        """See `AuditLog.head`."""
        ...

    async def export(self, wanted: Filter, *, by: str) -> Sequence[bytes]:
        """See `AuditLog.export`."""
        ...

    def export_fault(self, lines: Sequence[bytes]) -> tuple[int, str]:
        """See `AuditLog.export_fault`."""
        ...

    async def verify(self, noted: Sequence[Noted] = ()) -> tuple[int, str]:
        """See `AuditLog.verify`."""
        ...

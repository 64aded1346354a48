"""This machine's audit log, opened. A hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from interlock.audit.log import AuditLog
from interlock.clock import SystemClock
from interlock.compose import open_embedded, read_settings

_T = TypeVar("_T")


async def with_log(act: Callable[[AuditLog], Awaitable[_T]]) -> _T:
    """Let `act` work with the audit log."""
    settings = read_settings()
    async with open_embedded(settings) as embedded:
        return await act(AuditLog(embedded.store.records, SystemClock()))

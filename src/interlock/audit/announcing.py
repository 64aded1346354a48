"""An act that has its entry in the audit log before it is done.

Whoever is killed in between leaves an entry of an act that was not done: a person can see that, and the repeated act
makes no second one. The other way round there would be an act that nobody has written down.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol

from interlock.audit.entry import Entry, Fact
from interlock.audit.interface import Audit
from interlock.errors import BackendUnavailable, InterlockError

NOT_DONE: Final = "act-not-done"


class Announce(Protocol):
    """Writes the entry of an act; called when it is clear what will be done, right before that."""

    async def __call__(self, action: str, *, subject: str, facts: Mapping[str, Fact]) -> None:
        """See `AuditLog.announce`."""
        ...


@asynccontextmanager
async def announcing(log: Audit, *, by: str) -> AsyncIterator[Announce]:
    """Give what writes the entry of an act. When the act is refused behind it, a further entry says so.

    Args:
        log: The log.
        by: Who acts.
    """
    written: list[Entry] = []

    async def announce(action: str, *, subject: str, facts: Mapping[str, Fact]) -> None:
        written.append(await log.announce(action, subject=subject, by=by, facts=facts))

    try:
        yield announce
    except BackendUnavailable:  # whether it was done is not known
        raise
    except InterlockError as error:
        for entry in written:
            facts: dict[str, Fact] = {"entry": entry.number, "action": entry.action, "why": error.what}
            await log.append(NOT_DONE, subject=entry.subject, by=by, facts=facts)
        raise

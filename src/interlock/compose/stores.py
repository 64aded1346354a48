"""Settings, and the stores of embedded mode."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.clock import Clock, SystemClock
from interlock.errors import InterlockError, UsageError
from interlock.ids import RandomIds
from interlock.ownership import TRUST, check_home
from interlock.settings import Settings, load

if TYPE_CHECKING:
    from interlock.coordinator.archive import StateArchive
    from interlock.coordinator.local import LocalCoordinator
    from interlock.store.sqlite import SqliteStore


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Queue, locks and states in one SQLite file of this machine."""

    store: SqliteStore
    coordinator: LocalCoordinator
    clock: Clock

    @cached_property
    def archive(self) -> StateArchive:
        """The versions of the states; made when first asked for, since looking at a queue needs none of its imports."""
        from interlock.coordinator.archive import StateArchive

        return StateArchive(
            self.coordinator, self.store.records, self.store.blobs, self.clock, audit_head=self._audit_head
        )

    async def _audit_head(self) -> str:
        """Return the head of the audit log for a version; empty when it cannot be read: a state is saved all the same.

        Whether it can be read is said by `interlock audit verify`.
        """
        from interlock.audit.log import AuditLog

        try:
            head = await AuditLog(self.store.records, self.clock).head()
        except InterlockError:
            return ""
        return "" if head is None else str(head)


@asynccontextmanager
async def open_embedded(settings: Settings) -> AsyncIterator[Embedded]:
    """Open embedded mode's stores for as long as the context lasts."""
    from interlock.coordinator.local import LocalCoordinator
    from interlock.store.sqlite import SqliteStore

    clock = SystemClock()
    store = await SqliteStore.open(settings.database, clock=clock)
    try:
        coordinator = LocalCoordinator(store.records, clock, RandomIds())
        yield Embedded(store=store, coordinator=coordinator, clock=clock)
    finally:
        await store.close()


def read_settings(environ: Mapping[str, str] | None = None, directory: Path | None = None, **flags: object) -> Settings:
    """Return the settings that hold in `directory`, by default the current one; by default in our own environment.

    Raises:
        UsageError: A value or a key is wrong, they name a server, or the home is not ours alone.
    """
    environ = os.environ if environ is None else environ
    settings = load(directory or Path.cwd(), environ, flags)
    if settings.server is not None:
        raise UsageError(
            f"runs, queues and states of a server are not part of this version: {settings.server}",
            why=f"`server` is set ({settings.origins['server']}), and nothing may go past it",
            fix="unset INTERLOCK_SERVER, or take `server:` out of interlock.yaml",
        )
    check_own(settings, environ)
    return settings


def check_own(settings: Settings, environ: Mapping[str, str]) -> None:
    """Refuse a home that is not ours alone, unless the operator vouches for everybody who may write to it.

    Every command comes by here before it opens the home.

    Raises:
        UsageError: See `interlock.ownership.check_home`.
    """
    if environ.get(TRUST) != "1":
        database = settings.database.name
        check_home(settings.home, (database, f"{database}-wal", f"{database}-shm", "server-token", "runs", "trees"))


def me() -> str:
    """Return who acts, as Terraform spells it: `user@host`."""
    from interlock import host

    return host.who()

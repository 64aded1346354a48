"""The home of embedded mode: everything in one folder of this machine, its stores in one SQLite file. A hand."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.clock import Clock, SystemClock
from interlock.errors import InterlockError, UsageError
from interlock.home.login import with_login
from interlock.home.parts import FromParts
from interlock.settings.reading import load
from interlock.settings.values import Settings
from interlock.store.checksums import RecordDamaged
from interlock.trust.ownership import TRUST, check_home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.audit.log import AuditLog
    from interlock.coordinator.archive import StateArchive
    from interlock.coordinator.interface import HeadKeeper
    from interlock.creations.book import CreationBook
    from interlock.drift.ledger import LedgerBook
    from interlock.home.interface import Told
    from interlock.home.known import KnownStates
    from interlock.ids import Ids
    from interlock.policy.approval_book import ApprovalBook
    from interlock.policy.policy_book import PolicyBook
    from interlock.rights import Right
    from interlock.store.fault import Fault
    from interlock.store.opening import Store
    from interlock.store.records import RecordStore
    from interlock.store.vault import Vault


ELSEWHERE = "elsewhere/"
"""Before the records of queues of states elsewhere, so that no state of ours is taken for one of them by its name."""


class EmbeddedHome(FromParts):
    """See `interlock.home.interface.Home`. What a command does not ask for is not imported: each part is made late.

    Args:
        settings: What holds for this command.
        store: Records and blobs, opened.
        coordinator: Queues and locks on the same records.
        clock: For instants.
        ids: For tickets.
        environ: Names the key of the audit log; None for no key.
        told: See `Told`; None for nobody.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        coordinator: HeadKeeper,
        *,
        clock: Clock,
        ids: Ids,
        environ: Mapping[str, str] | None = None,
        told: Told | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.coordinator = coordinator
        self.clock = clock
        self.ids = ids
        self._environ = environ or {}
        self._told = told

    @property
    def place(self) -> str:
        """See `Home.place`."""
        return str(self.settings.database)

    def budgets(self, state: str) -> RecordStore:  # noqa: ARG002 - all of one machine share them
        """See `Home.budgets`."""
        return self.store.records

    async def faults(self) -> Sequence[Fault]:
        """See `Home.faults`."""
        return await self.store.faults()

    @property
    def team_runs(self) -> None:
        """See `Home.team_runs`."""

    @property
    def vault(self) -> Vault | None:
        """See `Home.vault`."""
        from interlock.store.vault import vault_of

        return vault_of(self.store)

    async def check_may(self, right: Right, state: str) -> None:
        """See `Home.check_may`."""

    async def keep_room(self) -> None:
        """See `Home.keep_room`."""
        await self.store.keep_room()

    @cached_property
    def policies(self) -> PolicyBook:
        """See `Home.policies`."""
        from interlock.policy.policy_book import PolicyBook

        return PolicyBook(self.store.records)

    @cached_property
    def approvals(self) -> ApprovalBook:
        """See `Home.approvals`."""
        from interlock.policy.approval_book import ApprovalBook

        return ApprovalBook(self.store.records, self.store.blobs, self.clock)

    @cached_property
    def audit(self) -> AuditLog:
        """See `Home.audit`."""
        from interlock.audit.log import AuditLog
        from interlock.home.audit_key import find_key

        return AuditLog(self.store.records, self.clock, key=find_key(self._environ), told=self._told)

    @cached_property
    def beside(self) -> HeadKeeper:
        """See `Home.beside`."""
        from interlock.coordinator.local import LocalCoordinator
        from interlock.store.namespaced import NamespacedRecords

        return LocalCoordinator(NamespacedRecords(self.store.records, ELSEWHERE), self.clock, self.ids)

    @cached_property
    def archive(self) -> StateArchive:
        """See `Home.archive`."""
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

    @cached_property
    def drift(self) -> LedgerBook:
        """See `Home.drift`."""
        from interlock.drift.ledger import LedgerBook

        return LedgerBook(self.store.records, self.store.blobs)

    @cached_property
    def creations(self) -> CreationBook:
        """See `Home.creations`."""
        from interlock.creations.book import CreationBook

        return CreationBook(self.store.records)

    @cached_property
    def states(self) -> KnownStates:
        """See `Home.states`."""
        from interlock.home.known import KnownStates

        return KnownStates(self.store.records)


@asynccontextmanager
async def open_home(
    settings: Settings,
    *,
    make: bool = True,
    environ: Mapping[str, str] | None = None,
    told: Told | None = None,
    store: str | None = None,
) -> AsyncIterator[EmbeddedHome]:
    """Open a home for as long as the context lasts.

    Args:
        settings: Where it is.
        make: Make its database when there is none yet. Commands that only look say False, and see an empty home.
        environ: See `EmbeddedHome`.
        told: See `EmbeddedHome`.
        store: The address of its store; None for the file in its folder.
    """
    from interlock.coordinator.local import LocalCoordinator
    from interlock.ids import RandomIds

    if settings.server is not None and store is None:
        raise UsageError(
            f"this is done where the store of {settings.server} is, not past it",
            why=f"`server` is set ({settings.origins.get('server', 'by the run')})",
            fix="name the store with --store, or: interlock logout; unset INTERLOCK_SERVER",
        )
    ids = RandomIds()
    opened = await _open_store(settings, SystemClock(), make=make, url=store)
    try:
        opened = await _with_encryption(opened, settings, environ)
        clock = opened.clock
        coordinator = LocalCoordinator(opened.records, clock, ids)
        yield EmbeddedHome(settings, opened, coordinator, clock=clock, ids=ids, environ=environ, told=told)
    finally:
        await opened.close()


async def _with_encryption(store: Store, settings: Settings, environ: Mapping[str, str] | None) -> Store:
    """Return the store as it is to be used: encrypted, when it is so or is to be.

    Raises:
        KeyMissing: It is encrypted, and we have not the key.
    """
    from interlock.home.encryption_key import keys_here
    from interlock.store.memory import MemoryRecords

    if isinstance(store.records, MemoryRecords):
        return store  # nothing of it is kept
    keys = keys_here(settings, environ)
    if not keys and not await _has_ring(store):
        return store  # commands without encryption load nothing of it
    from interlock.store.vault import with_encryption

    return await with_encryption(store, keys, clock=store.clock)


async def _has_ring(store: Store) -> bool:
    from interlock.store.sealing import RING, RING_COPY

    try:
        return any([await store.records.get(key) is not None for key in (RING, RING_COPY)])
    except RecordDamaged:
        return True


async def _open_store(settings: Settings, clock: Clock, *, make: bool, url: str | None) -> Store:
    if url is not None:
        from interlock.store.opening import open_store

        return await open_store(url, clock=clock)
    if not make and not settings.database.exists():
        from interlock.store.memory import MemoryBlobs, MemoryRecords
        from interlock.store.opening import MemoryStore

        return MemoryStore(records=MemoryRecords(clock=clock), blobs=MemoryBlobs(), clock=clock)
    from interlock.store.sqlite import SqliteStore

    return await SqliteStore.open(settings.database, clock=clock)


def read_settings(environ: Mapping[str, str] | None = None, directory: Path | None = None, **flags: object) -> Settings:
    """Return the settings that hold in `directory`, by default the current one; by default in our own environment.

    Raises:
        UsageError: A value or a key is wrong, a stored login cannot be read, or the home is not ours alone.
    """
    environ = os.environ if environ is None else environ
    settings = with_login(load(directory or Path.cwd(), environ, flags), environ)
    check_own(settings, environ)
    return settings


def check_own(settings: Settings, environ: Mapping[str, str]) -> None:
    """Refuse a home that is not ours alone, unless the operator vouches for everybody who may write to it.

    Every command comes by here before it opens the home.

    Raises:
        UsageError: See `interlock.trust.ownership.check_home`.
    """
    if environ.get(TRUST) != "1":
        database = settings.database.name
        check_home(settings.home, (database, f"{database}-wal", f"{database}-shm", "server-token", "runs", "trees"))

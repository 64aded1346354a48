"""A state that stays in the backend where it is, with the queue beside it where there is one. A hand: it opens them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from interlock.errors import BackendUnavailable
from interlock.existing import ExistingBackend, TerraformLock
from interlock.existing.opening import open_backend
from interlock.recovery.keep import Keep
from interlock.site.existing_versions import ExistingVersions, keep_of
from interlock.site.kinds import Can, QueueBeside, check_can, kind_of, uses_own_backend
from interlock.site.recognising import recognised
from interlock.site.ref import StateRef

if TYPE_CHECKING:
    from interlock.coordinator.interface import HeadKeeper
    from interlock.existing.inspection import Inspected
    from interlock.home.interface import Home
    from interlock.run.order import Order
    from interlock.run.surroundings import Seat, StateAccess
    from interlock.run.workspace import OwnBackend
    from interlock.site.existing_leftovers import ExistingLeftovers
    from interlock.site.own_versions import OwnVersions
    from interlock.terraform.versions import ToolVersion


class ExistingSite:
    """See `interlock.site.interface.Site`.

    Args:
        ref: Which state.
        home: Where our copies, runs and decisions are.
        backend: The state's own, opened.
        queue: What is kept beside it; None where nothing can be.
        subject: What a person named, for hints.
    """

    def __init__(
        self, ref: StateRef, home: Home, backend: ExistingBackend, queue: QueueBeside | None, *, subject: str
    ) -> None:
        self.ref = ref
        self.home = home
        self.backend = backend
        self.queue = queue
        self.subject = subject

    @property
    def kind(self) -> str:
        """See `Site.kind`."""
        return self.backend.describe().type

    @property
    def can(self) -> frozenset[Can]:
        """See `Site.can`."""
        return kind_of(self.ref).can

    def check(self, can: Can) -> None:
        """See `Site.check`."""
        kept = self._copies.kept(self.ref.address)
        check_can(self.ref, can, self.subject, kept=kept[0].path.parent if kept else None)

    @property
    def coordinator(self) -> HeadKeeper | None:
        """See `Site.coordinator`."""
        return self.queue.coordinator if self.queue is not None else None

    @property
    def is_near(self) -> bool:
        """See `Site.is_near`."""
        return self.queue is not None and self.queue.is_near

    @property
    def words(self) -> tuple[str, ...]:
        """See `Site.words`."""
        return () if self.queue is None else self.queue.words

    @cached_property
    def versions(self) -> ExistingVersions:
        """See `Site.versions`."""
        return ExistingVersions(
            subject=self.subject,
            ref=self.ref,
            backend=self.backend,
            home=self.home,
            keep=self._copies,
            log=self.home.audit,
            coordinator=self.coordinator,
        )

    @property
    def own(self) -> OwnVersions:
        """See `Site.own`."""
        self.check(Can.QUARANTINE)
        raise AssertionError("no state elsewhere has a quarantine of ours")

    @cached_property
    def _copies(self) -> Keep:
        return keep_of(self.home.settings)

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `Site.read_locks`."""
        locks = await self.backend.read_locks()
        return await asyncio.to_thread(recognised, locks, self.home.runs)

    @cached_property
    def leftovers(self) -> ExistingLeftovers:
        """See `Site.leftovers`."""
        from interlock.site.existing_leftovers import ExistingLeftovers

        assert self.coordinator is not None, f"{self.ref.address} has no queue, so no run of ours"
        return ExistingLeftovers(
            runs=self.home.runs,
            archive=self.home.archive,
            clock=self.home.clock,
            creations=self.home.creations,
            backend=self.backend,
            coordinator=self.coordinator,
        )

    @asynccontextmanager
    async def access(self, order: Order, *, version: Callable[[], ToolVersion]) -> AsyncIterator[StateAccess]:
        """See `Site.access`: Terraform's own backend, under Terraform's own lock; or our address before it."""
        from interlock.run.order import is_in_space
        from interlock.site.door_access import DoorAccess
        from interlock.site.door_space import DoorSpaceAccess
        from interlock.site.existing_access import ExistingAccess

        assert self.coordinator is not None, f"{self.ref.address} has no queue, so no run of ours"
        told = await asyncio.to_thread(version)
        kind = ExistingAccess if uses_own_backend(self.ref) else DoorSpaceAccess if is_in_space(order) else DoorAccess
        access = kind(
            backend_hand=self.backend,
            coordinator=self.coordinator,
            order=order,
            run_folder=self.home.runs / order.run,
            store=self.ref.store,
            own_workspace=workspace_of(self.ref),
            begins_empty=_begins_empty(self.ref),
            version=told,
            clock=self.home.clock,
            ids=self.home.ids,
        )
        async with access.opened():
            yield access

    async def check_not_lost(self) -> None:
        """See `Site.check_not_lost`. A run's access looks when it holds Terraform's lock: others write here too."""

    @asynccontextmanager
    async def held(self, what: str, *, through: str = "") -> AsyncIterator[Seat | None]:
        """See `Site.held`: first the place in its queue, where it has one, then Terraform's own lock."""
        from interlock.site.holding import holding_unless_moved
        from interlock.site.opening import breaker_of

        seat: Seat | None = None
        async with AsyncExitStack() as stack:
            if self.coordinator is not None:
                place = holding_unless_moved(self.home, self.ref.queue, what, breaker_of(self), through=through)
                seat = await stack.enter_async_context(place)
            await stack.enter_async_context(self.versions.holding(what))
            yield seat

    async def keep(self) -> str:
        """See `Site.keep`."""
        stored = await self.backend.read_state()
        if stored is None or stored.is_absent:
            return ""
        address, now = self.ref.address, self.home.clock.now()
        return str(await asyncio.to_thread(self._copies.save, address, stored.body, now=now))

    async def inspect(self) -> list[Inspected]:
        """See `Site.inspect`."""
        return [] if self.queue is None else await self.queue.inspect()

    async def explained(self, error: BackendUnavailable) -> BackendUnavailable:
        """See `Site.explained`."""
        return error if self.queue is None else await self.queue.explained(error)


def _begins_empty(ref: StateRef) -> bool:
    """Say whether Terraform's `init` stores an empty state where there is none, under a lock of its own."""
    kind = ref.found.type
    return kind == "gcs" or (ref.found.workspace != "default" and kind not in {"cloud", "remote"})


def workspace_of(ref: StateRef) -> str:
    """Return what `TF_WORKSPACE` says for a state: of the platform, the whole name of its own workspace."""
    if ref.found.type != "cloud":
        return ref.found.workspace
    from interlock.existing.tfe import place_of

    return place_of(ref.found).workspace


@asynccontextmanager
async def open_existing(ref: StateRef, home: Home, subject: str) -> AsyncIterator[ExistingSite]:
    """Open a state that stays where it is for as long as the context lasts.

    Raises:
        UsageError: Settings are missing, or this version does not know the backend.
    """
    backend = await open_backend(ref.found, ref.root_module, clock=home.clock, ids=home.ids)
    opener = kind_of(ref).queue
    queue = None if opener is None else opener()(backend, ref.found, home)
    try:
        yield ExistingSite(ref, home, backend, queue, subject=subject)
    finally:
        await asyncio.gather(backend.close(), *([queue.close()] if queue is not None else []))


def own_backend(ref: StateRef, environ: Mapping[str, str], extra: Sequence[str]) -> OwnBackend:
    """Return what decides how `terraform init` sets the backend of this state up in a folder of a run's own."""
    from interlock.existing.discovery import backend_configs
    from interlock.run.workspace import OwnBackend

    found, directory = ref.found, ref.root_module
    record = directory / (environ.get("TF_DATA_DIR") or ".terraform") / "terraform.tfstate"
    files = [directory / flag for flag in backend_configs(extra) if "=" not in flag]
    mark = [found.workspace, *extra, *(f"{origin.name}={origin.value}" for origin in found.origins)]
    content = b"".join(path.read_bytes() for path in files if path.is_file())
    fixed = _fixed_place(ref)
    return OwnBackend(
        type=found.type,
        place={name: fixed.get(name, found.text(name)) for name in kind_of(ref).place},
        # with a place of ours, `init` would ask whether the state is to be moved there from the recorded one
        recorded=record.read_bytes() if record.is_file() and not fixed else b"",
        mark="\0".join(mark).encode() + content,
        init_flags=tuple(f"-backend-config={name}={value}" for name, value in fixed.items()),
    )


def _fixed_place(ref: StateRef) -> dict[str, str]:
    """Return the settings that say where the state is from the user's folder, spelled so that they hold in any."""
    if ref.found.type != "local":
        return {}
    return {
        name: str(ref.root_module / (ref.found.text(name) or usual))
        for name, usual in (("path", "terraform.tfstate"), ("workspace_dir", "terraform.tfstate.d"))
    }

"""A state of Interlock's own backend. What a command does not ask for is not imported."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from interlock.errors import StateInvalid, command
from interlock.site.kinds import OWN, Can
from interlock.site.ref import StateRef

if TYPE_CHECKING:
    from interlock.coordinator import Coordinator
    from interlock.errors import BackendUnavailable
    from interlock.existing import TerraformLock
    from interlock.existing.inspection import Inspected
    from interlock.home.interface import Home
    from interlock.run.order import Order
    from interlock.run.surroundings import Seat, StateAccess
    from interlock.site.own_door import OwnDoor
    from interlock.site.own_leftovers import OwnLeftovers
    from interlock.site.own_versions import OwnVersions
    from interlock.terraform.versions import ToolVersion


class OwnSite:
    """See `interlock.site.interface.Site`.

    Args:
        ref: Which state.
        home: Where it is.
    """

    backend: None = None
    kind = "interlock"
    is_near = True
    words: tuple[str, ...] = ()

    def __init__(self, ref: StateRef, home: Home) -> None:
        self.ref = ref
        self.home = home

    @property
    def subject(self) -> str:
        """See `Site.subject`."""
        return self.ref.queue

    @property
    def can(self) -> frozenset[Can]:
        """See `Site.can`."""
        return OWN.can

    def check(self, can: Can) -> None:
        """See `Site.check`."""

    @property
    def coordinator(self) -> Coordinator:
        """See `Site.coordinator`."""
        return self.home.coordinator

    @cached_property
    def versions(self) -> OwnVersions:
        """See `Site.versions`."""
        from interlock.site.own_versions import OwnVersions

        return OwnVersions(self.ref, self.home)

    @property
    def own(self) -> OwnVersions:
        """See `Site.own`."""
        return self.versions

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `Site.read_locks`."""
        return ()

    @cached_property
    def leftovers(self) -> OwnLeftovers:
        """See `Site.leftovers`."""
        from interlock.site.own_leftovers import OwnLeftovers

        return OwnLeftovers(
            runs=self.home.runs, archive=self.home.archive, clock=self.home.clock, creations=self.home.creations
        )

    def access(
        self,
        order: Order,
        *,
        version: Callable[[], ToolVersion],  # noqa: ARG002 - Terraform names its version to us itself, in its lock
    ) -> AbstractAsyncContextManager[StateAccess]:
        """See `Site.access`: the HTTP backend on a loopback port."""
        from interlock.run.order import is_in_space

        home = self.home
        if is_in_space(order):
            from interlock.site.own_space import open_space

            return open_space(home.coordinator, home.archive, order=order, run_folder=home.runs / order.run)
        return self.access_at(order, None)

    def access_at(self, order: Order, door: OwnDoor | None) -> AbstractAsyncContextManager[StateAccess]:
        """Return a run's access at a door that its Terraform was told already; None for a new one."""
        from interlock.site.own_access import open_access

        home, who = self.home, order.who
        return open_access(
            home.coordinator, home.archive, ids=home.ids, state=order.state, run=order.run, who=who, door=door
        )

    async def check_not_lost(self) -> None:
        """See `Site.check_not_lost`."""
        state = self.ref.queue
        lost = await self.leftovers.find_lost(state)
        if lost is not None:
            raise StateInvalid(
                f"a newer version of state {state} than the stored one was lost",
                why=f"{lost.spell()}; a plan against what is there would make again what that one had",
                fix=command("state", "verify", state),
                state=state,
            )

    @asynccontextmanager
    async def held(self, what: str, *, through: str = "") -> AsyncIterator[Seat | None]:
        """See `Site.held`. Who was granted a state that was moved is nobody, so that one needs no place."""
        from interlock.site.holding import holding_unless_moved
        from interlock.site.opening import breaker_of

        place = holding_unless_moved(self.home, self.ref.queue, what, breaker_of(self), through=through)
        async with place as seat:
            yield seat

    async def keep(self) -> str:
        """See `Site.keep`. Every version is kept anyway, so its number is enough."""
        head = (await self.coordinator.view(self.ref.queue)).head
        return f"version {head.number} of {self.ref.queue}" if head is not None else ""

    async def inspect(self) -> list[Inspected]:
        """See `Site.inspect`."""
        return []

    async def explained(self, error: BackendUnavailable) -> BackendUnavailable:
        """See `Site.explained`. What our own store says is all that there is."""
        return error

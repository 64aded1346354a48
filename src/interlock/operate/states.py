"""The states of a home, and the bytes of their old versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.errors import command
from interlock.site.holding import holding

if TYPE_CHECKING:
    from interlock.coordinator.record import Head
    from interlock.home.interface import Home
    from interlock.site.own_versions import OwnVersions
    from interlock.state import Retention as VersionRetention
    from interlock.state import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedState:
    """A state in a list.

    Attributes:
        state: Its name.
        head: What is current; None for one that stays elsewhere, which a list does not ask.
        address: Where one elsewhere is; empty for our own.
    """

    state: str
    head: Head | None = None
    address: str = ""


async def stored_states(home: Home) -> list[ListedState]:
    """Return the states that have content here, and those elsewhere that were worked with from here."""
    own = [ListedState(state=one.state, head=one.head) for one in await home.coordinator.states() if one.head]
    known = [ListedState(state=one.queue, address=one.address) for one in await home.states.all() if one.type]
    return [*own, *known]


async def prune_state(own: OwnVersions, policy: VersionRetention, *, dry_run: bool) -> tuple[Version, ...]:
    """Delete the bytes of old versions, under the lock: else a write could come to need bytes that are about to go."""
    if dry_run:
        return await own.archive.prunable(own.state, policy)
    async with holding(own.home, own.state, command("state", "prune", own.state)):
        return await own.archive.prune(own.state, policy)

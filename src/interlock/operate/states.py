"""The states of a home, and the bytes of their old versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.errors import InterlockError, command
from interlock.site.holding import holding
from interlock.site.which import resolve

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
        head: What is current; None for one that stays elsewhere, and for one without content.
        address: Where one elsewhere is; empty for our own.
        trouble: Why it cannot be told where a root of interlock.yaml has its state; empty when it can.
    """

    state: str
    head: Head | None = None
    address: str = ""
    trouble: str = ""


async def stored_states(home: Home, environ: Mapping[str, str]) -> list[ListedState]:
    """Return states with content here, those elsewhere that were used, and the other roots of interlock.yaml."""
    own = [ListedState(state=one.state, head=one.head) for one in await home.coordinator.states() if one.head]
    known = [ListedState(state=one.queue, address=one.address) for one in await home.states.all() if one.type]
    listed = {one.state: one for one in (*own, *known)}
    for name in sorted(home.settings.states):
        one = await _declared(name, home, environ)
        listed.setdefault(one.state, one)
    return list(listed.values())


async def _declared(name: str, home: Home, environ: Mapping[str, str]) -> ListedState:
    try:
        ref = await resolve(name, home, environ)
    except InterlockError as error:
        return ListedState(state=name, trouble=f"{error.what}{f': {error.why}' if error.why else ''}")
    return ListedState(state=ref.queue, address="" if ref.is_own else ref.address)


async def prune_state(own: OwnVersions, policy: VersionRetention, *, dry_run: bool) -> tuple[Version, ...]:
    """Delete the bytes of old versions, under the lock: else a write could come to need bytes that are about to go."""
    if dry_run:
        return await own.archive.prunable(own.state, policy)
    async with holding(own.home, own.state, command("state", "prune", own.state)):
        await own.archive.sweep(own.state)
        return await own.prune(policy)

"""Looking at locks, changing queues, holding a state for a person, and recovering it from the dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.clock import SystemClock
from interlock.compose.names import meant_state
from interlock.compose.sites import named_site, open_site_of
from interlock.compose.stores import Embedded, me, open_embedded, read_settings
from interlock.errors import UsageError, command
from interlock.settings import Settings, parse_duration

if TYPE_CHECKING:
    from interlock.coordinator import View
    from interlock.coordinator.local import LocalCoordinator
    from interlock.lock import Requested
    from interlock.recovery.breaker import Breaker
    from interlock.run.surroundings import Seat

_BY_HAND = "by hand"


async def views(state: str | None) -> list[View]:
    """Return one state, or all that anybody ever asked for."""
    settings = read_settings()
    if state is not None and (found := named_site(state)) is not None:
        async with open_site_of(found, Path(state)) as site:
            return [await site.coordinator.view(site.state)]
    if not settings.database.exists():
        return []
    async with open_embedded(settings) as embedded:
        if state is not None:
            return [await embedded.coordinator.view(await meant_state(embedded, settings, state))]
        return await embedded.coordinator.states()


async def change_lock(state: str, change: Callable[[LocalCoordinator, str], Awaitable[object]]) -> None:
    """Let `change` act on one state's lock."""
    settings = read_settings()
    if (found := named_site(state)) is not None:
        async with open_site_of(found, Path(state)) as site:
            await change(site.coordinator, site.state)
            return
    async with open_embedded(settings) as embedded:
        await change(embedded.coordinator, await meant_state(embedded, settings, state))


@asynccontextmanager
async def holding(
    embedded: Embedded, settings: Settings, state: str, info: str, *, settles_review: bool = False
) -> AsyncIterator[Seat]:
    """Hold a state for a person's command, renewed until the context ends; waits in the queue like any run.

    Args:
        embedded: The stores.
        settings: For lease and wait.
        state: State name.
        info: What for.
        settles_review: The command settles a suspect version. The freeze that protects it ends with our grant, and we
            stand first: else whoever waits would build on what is under review.
    """
    from interlock.lock import Requested
    from interlock.run.heartbeat import keep_alive
    from interlock.run.surroundings import Seat

    request = Requested(
        ticket=embedded.coordinator.new_ticket(),
        who=me(),
        info=info,
        lease_s=settings.lease_s,
        patience_s=max(settings.lease_s, 15.0),
    )
    if settles_review:
        await _end_review(embedded, state, request)
    grant = await embedded.coordinator.acquire(state, request, timeout_s=settings.wait_s)
    renewing = asyncio.create_task(
        keep_alive(
            lambda: embedded.coordinator.renew(state, ticket=grant.ticket, token=grant.token),
            every_s=settings.heartbeat_s,
            clock=SystemClock(),
            lost=lambda _: None,  # the write itself is refused then, which is what counts
            tell=lambda _kind, _facts: None,
        )
    )
    try:
        yield Seat(ticket=grant.ticket, token=grant.token)
    finally:
        renewing.cancel()
        await embedded.coordinator.release(state, ticket=grant.ticket, token=grant.token)


async def _end_review(embedded: Embedded, state: str, request: Requested) -> None:
    """Take the first place in the queue, then thaw the state if it was frozen for its suspect version."""
    from interlock.lock import waiter_of
    from interlock.state import REVIEWER

    coordinator = embedded.coordinator
    freeze = (await coordinator.view(state)).lock.freeze
    if freeze is None or freeze.by != REVIEWER:
        return
    await coordinator.request(state, request)
    if waiter_of((await coordinator.view(state)).lock, ticket=request.ticket) is not None:
        await coordinator.promote(state, request.ticket, by=request.who)
    await embedded.archive.end_review(state, by=request.who)


async def hold_by_hand(text: str, *, reason: str, lease: str, wait: str | None) -> tuple[str, int]:
    """Acquire a state for a person; return ticket and token. It has no heartbeat, only a long lease."""
    from interlock.lock import Requested

    settings = read_settings()
    async with open_embedded(settings) as embedded:
        request = Requested(
            ticket=embedded.coordinator.new_ticket(),
            who=me(),
            info=f"{_BY_HAND}: {reason}",
            lease_s=parse_duration(lease),
            patience_s=15.0,
        )
        wait_s = parse_duration(wait) if wait is not None else settings.wait_s
        grant = await embedded.coordinator.acquire(
            await meant_state(embedded, settings, text), request, timeout_s=wait_s
        )
        return grant.ticket, grant.token


async def release_by_hand(text: str) -> int:
    """Give back a state that was acquired by hand; return its token.

    Raises:
        UsageError: Nobody holds it.
        LockHeld: A run or a plain Terraform holds it.
    """
    from interlock.errors import LockHeld

    settings = read_settings()
    async with open_embedded(settings) as embedded:
        state = await meant_state(embedded, settings, text)
        holders = (await embedded.coordinator.view(state)).lock.holders
        if not holders:
            raise UsageError(f"nobody holds state {state}", fix=command("lock", "show", state))
        holder = holders[0]
        if holder.run or not holder.info.startswith(_BY_HAND):
            raise LockHeld(
                f"state {state} is held by {holder.run or holder.who}",
                why="only a lock that was acquired by hand is released by hand",
                fix=command("runs", "cancel", holder.run) if holder.run else command("lock", "explain", state),
            )
        await embedded.coordinator.release(state, ticket=holder.ticket, token=holder.token)
        return holder.token


def breaker(embedded: Embedded, settings: Settings) -> Breaker:
    """Return what recovers locks of dead runs in embedded mode."""
    from interlock.estate import LocalEstate
    from interlock.recovery.breaker import Breaker

    estate = LocalEstate(runs=settings.runs, archive=embedded.archive, clock=SystemClock())
    return Breaker(coordinator=embedded.coordinator, estate=estate, clock=SystemClock(), by=me())

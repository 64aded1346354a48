"""Holding a state of Interlock's own backend for a person's command. A hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.lock import Requested
    from interlock.run.surroundings import Seat


@asynccontextmanager
async def holding(home: Home, state: str, info: str, *, settles_review: bool = False) -> AsyncIterator[Seat]:
    """Hold a state for a person's command, renewed until the context ends; waits in the queue like any run.

    Args:
        home: Ours.
        state: State name.
        info: What for.
        settles_review: The command settles a suspect version. The pause that protects it ends with our grant, and we
            stand first: else whoever waits would build on what is under review.
    """
    from interlock.lock import Requested
    from interlock.run.heartbeat import keep_alive
    from interlock.run.surroundings import Seat

    request = Requested(
        ticket=home.coordinator.new_ticket(),
        who=home.me,
        info=info,
        lease_s=home.settings.lease_s,
        patience_s=max(home.settings.lease_s, 15.0),
    )
    if settles_review:
        await _end_review(home, state, request)
    grant = await home.coordinator.acquire(state, request, timeout_s=home.settings.wait_s)
    renewing = asyncio.create_task(
        keep_alive(
            lambda: home.coordinator.renew(state, ticket=grant.ticket, token=grant.token),
            every_s=home.settings.heartbeat_s,
            clock=home.clock,
            lost=lambda _: None,  # the write itself is refused then, which is what counts
            tell=lambda _entry: None,
        )
    )
    try:
        yield Seat(ticket=grant.ticket, token=grant.token)
    finally:
        renewing.cancel()
        await home.coordinator.release(state, ticket=grant.ticket, token=grant.token)


async def _end_review(home: Home, state: str, request: Requested) -> None:
    """Take the first place in the queue, then resume the state if it was paused for its suspect version."""
    from interlock.lock import waiter_of
    from interlock.state import REVIEWER

    coordinator = home.coordinator
    pause = (await coordinator.view(state)).lock.pause
    if pause is None or pause.by != REVIEWER:
        return
    await coordinator.request(state, request)
    if waiter_of((await coordinator.view(state)).lock, ticket=request.ticket) is not None:
        await coordinator.bump(state, request.ticket, by=request.who)
    await home.archive.end_review(state, by=request.who)

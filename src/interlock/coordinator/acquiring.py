"""Asking, waiting and leaving as one step, over any coordinator. A hand: it waits.

Whatever goes wrong, nothing stays behind: neither a place in the queue nor a grant that nobody knows of. And nothing of
others is taken: what is called off is this call's own attempt, not its ticket, which may wait or hold elsewhere.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from msgspec.structs import replace

from interlock.clock import Clock
from interlock.coordinator.interface import Coordinator, OnChange
from interlock.coordinator.refusals import PlaceLost
from interlock.errors import InterlockError, LeaseLost, LockHeld, Superseded, UsageError, WaitTimeout
from interlock.lock import Grant, Requested

_REFUSALS = (WaitTimeout, Superseded, LeaseLost, LockHeld, UsageError)
"""What `Coordinator.request` raises when it took no place; other failures leave that open."""


async def acquire(
    coordinator: Coordinator,
    state: str,
    request: Requested,
    *,
    clock: Clock,
    timeout_s: float | None,
    on_change: OnChange | None = None,
) -> Grant:
    """Ask for the lock and wait for it. See `Coordinator.acquire`."""
    request = request if request.attempt else replace(request, attempt=coordinator.new_ticket())
    try:
        standing = await coordinator.request(state, request)
    except _REFUSALS:
        raise
    except BaseException:
        await _leave(coordinator, state, request)
        raise
    try:
        if standing.token is not None:
            if on_change is not None:
                on_change(standing)
            return Grant(ticket=standing.ticket, token=standing.token)
        return await _wait(coordinator, state, request, clock=clock, timeout_s=timeout_s, on_change=on_change)
    except BaseException:
        await _leave(coordinator, state, request)
        raise


async def _wait(
    coordinator: Coordinator,
    state: str,
    request: Requested,
    *,
    clock: Clock,
    timeout_s: float | None,
    on_change: OnChange | None,
) -> Grant:
    until = None if timeout_s is None else clock.monotonic() + timeout_s
    while True:
        left_s = None if until is None else max(0.0, until - clock.monotonic())
        try:
            return await coordinator.await_grant(
                state, request.ticket, timeout_s=left_s, on_change=on_change, attempt=request.attempt
            )
        except PlaceLost:  # this process was stopped for longer than its patience: back to the end of the queue
            await coordinator.request(state, request)


async def _leave(coordinator: Coordinator, state: str, request: Requested) -> None:
    with suppress(InterlockError):  # the failure that brought us here is the one to tell; silence will end the place
        await asyncio.shield(coordinator.withdraw(state, request.ticket, attempt=request.attempt))

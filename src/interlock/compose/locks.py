"""Looking at locks, changing queues, holding a state for a person, and recovering it from the dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.clock import SystemClock
from interlock.errors import InterlockError, UsageError, command
from interlock.home.embedded import EmbeddedHome, me, open_home, read_settings
from interlock.site.opening import open_queue
from interlock.site.which import reopened, resolve

if TYPE_CHECKING:
    from interlock.coordinator import View
    from interlock.coordinator.local import LocalCoordinator
    from interlock.home.known import KnownState
    from interlock.lock import Requested
    from interlock.recovery.breaker import Breaker
    from interlock.run.surroundings import Seat
    from interlock.site.ref import StateRef

_BY_HAND = "by hand"
_ELSEWHERE_S = 10.0  # longest look at a queue elsewhere, when all are listed
_AT_ONCE = 8  # looks at a time; each makes clients of its own, and with sixty at once none was answered in its time
_ALL_S = 60.0  # after it no further look begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One state's queue, or why it could not be seen.

    Attributes:
        state: The name under which it queues.
        view: Its lock and what is stored of it; None when it could not be seen.
        address: Where a state elsewhere is; empty for our own.
        trouble: Why it could not be seen; empty otherwise.
    """

    state: str
    view: View | None
    address: str = ""
    trouble: str = ""


async def queues(subject: str | None, environ: Mapping[str, str]) -> list[Queue]:
    """Return one state's queue, or those of all states that anybody here ever worked with, wherever they are."""
    async with open_home(read_settings(environ), make=False) as home:
        if subject is not None:
            ref = await resolve(subject, home, environ)
            async with open_queue(ref, home) as coordinator:
                return [_seen(ref, await coordinator.view(ref.queue))]
        own = [Queue(state=view.state, view=view) for view in await home.coordinator.states()]
        elsewhere = [known for known in await home.states.all() if _is_listed(known, home)]
        turns, until_s = asyncio.Semaphore(_AT_ONCE), home.clock.monotonic() + _ALL_S

        async def in_turn(known: KnownState) -> Queue:
            async with turns:
                if home.clock.monotonic() < until_s:
                    return await _look(known, home, environ)
            trouble = f"the others took {_ALL_S:g}s; name it to ask it alone"
            return Queue(state=known.queue, view=None, address=known.address, trouble=trouble)

        return [*own, *await asyncio.gather(*map(in_turn, elsewhere))]


def _is_listed(known: KnownState, home: EmbeddedHome) -> bool:
    from interlock.home.known import FORGOTTEN_AFTER

    return bool(known.type) and home.clock.now() - known.seen_at < FORGOTTEN_AFTER


async def _look(known: KnownState, home: EmbeddedHome, environ: Mapping[str, str]) -> Queue:
    """Look at the queue of a state elsewhere; what hinders that is told, and hides no other state."""
    try:
        async with asyncio.timeout(_ELSEWHERE_S):
            ref = await asyncio.to_thread(reopened, known, environ)
            async with open_queue(ref, home, is_use=False) as coordinator:
                return _seen(ref, await coordinator.view(ref.queue))
    except InterlockError as error:
        trouble = f"{error.what}{f': {error.why}' if error.why else ''}"
    except TimeoutError:
        trouble = f"no answer within {_ELSEWHERE_S:g}s"
    return Queue(state=known.queue, view=None, address=known.address, trouble=trouble)


def _seen(ref: StateRef, view: View) -> Queue:
    return Queue(state=ref.queue, view=view, address="" if ref.is_own else ref.address)


async def change_lock(
    subject: str, environ: Mapping[str, str], change: Callable[[LocalCoordinator, str], Awaitable[object]]
) -> StateRef:
    """Let `change` act on one state's lock; return which state that was."""
    async with open_home(read_settings(environ)) as home:
        ref = await resolve(subject, home, environ)
        async with open_queue(ref, home) as coordinator:
            await change(coordinator, ref.queue)
        return ref


@asynccontextmanager
async def holding(home: EmbeddedHome, state: str, info: str, *, settles_review: bool = False) -> AsyncIterator[Seat]:
    """Hold a state for a person's command, renewed until the context ends; waits in the queue like any run.

    Args:
        home: Ours.
        state: State name.
        info: What for.
        settles_review: The command settles a suspect version. The freeze that protects it ends with our grant, and we
            stand first: else whoever waits would build on what is under review.
    """
    from interlock.lock import Requested
    from interlock.run.heartbeat import keep_alive
    from interlock.run.surroundings import Seat

    request = Requested(
        ticket=home.coordinator.new_ticket(),
        who=me(),
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
            clock=SystemClock(),
            lost=lambda _: None,  # the write itself is refused then, which is what counts
            tell=lambda _kind, _facts: None,
        )
    )
    try:
        yield Seat(ticket=grant.ticket, token=grant.token)
    finally:
        renewing.cancel()
        await home.coordinator.release(state, ticket=grant.ticket, token=grant.token)


async def _end_review(home: EmbeddedHome, state: str, request: Requested) -> None:
    """Take the first place in the queue, then thaw the state if it was frozen for its suspect version."""
    from interlock.lock import waiter_of
    from interlock.state import REVIEWER

    coordinator = home.coordinator
    freeze = (await coordinator.view(state)).lock.freeze
    if freeze is None or freeze.by != REVIEWER:
        return
    await coordinator.request(state, request)
    if waiter_of((await coordinator.view(state)).lock, ticket=request.ticket) is not None:
        await coordinator.promote(state, request.ticket, by=request.who)
    await home.archive.end_review(state, by=request.who)


async def hold_by_hand(
    home: EmbeddedHome, state: str, *, reason: str, lease_s: float, wait_s: float | None
) -> tuple[str, int]:
    """Acquire a state for a person; return ticket and token. It has no heartbeat, only a long lease."""
    from interlock.lock import Requested

    request = Requested(
        ticket=home.coordinator.new_ticket(),
        who=me(),
        info=f"{_BY_HAND}: {reason}",
        lease_s=lease_s,
        patience_s=15.0,
    )
    grant = await home.coordinator.acquire(state, request, timeout_s=wait_s)
    return grant.ticket, grant.token


async def release_by_hand(home: EmbeddedHome, state: str) -> int:
    """Give back a state that was acquired by hand; return its token.

    Raises:
        UsageError: Nobody holds it.
        LockHeld: A run or a plain Terraform holds it.
    """
    from interlock.errors import LockHeld

    holders = (await home.coordinator.view(state)).lock.holders
    if not holders:
        raise UsageError(f"nobody holds state {state}", fix=command("lock", "show", state))
    holder = holders[0]
    if holder.run or not holder.info.startswith(_BY_HAND):
        raise LockHeld(
            f"state {state} is held by {holder.run or holder.who}",
            why="only a lock that was acquired by hand is released by hand",
            fix=command("runs", "cancel", holder.run) if holder.run else command("lock", "explain", state),
        )
    await home.coordinator.release(state, ticket=holder.ticket, token=holder.token)
    return holder.token


def breaker(home: EmbeddedHome) -> Breaker:
    """Return what recovers locks of dead runs in embedded mode."""
    from interlock.estate import LocalEstate
    from interlock.recovery.breaker import Breaker

    estate = LocalEstate(runs=home.runs, archive=home.archive, clock=home.clock)
    return Breaker(coordinator=home.coordinator, estate=estate, clock=home.clock, by=me())

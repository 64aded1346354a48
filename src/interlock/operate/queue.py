"""Looking at locks, changing queues, holding a state for a person, and recovering it from the dead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from interlock.errors import InterlockError
from interlock.operate.queue_seen import Queue, is_listed
from interlock.site.act_entries import change_pause
from interlock.site.opening import open_queue
from interlock.site.which import check_heard_of, reopened, resolve

if TYPE_CHECKING:
    from interlock.coordinator import Coordinator, View
    from interlock.home.interface import Home
    from interlock.home.known import KnownState
    from interlock.lock import Paused, Resumed
    from interlock.site.ref import StateRef

_ELSEWHERE_S = 10.0  # longest look at a queue elsewhere, when all are listed
_AT_ONCE = 8  # looks at a time; each makes clients of its own, and with sixty at once none was answered in its time
_ALL_S = 60.0  # after it no further look begins


async def queues(subject: str | None, home: Home, environ: Mapping[str, str]) -> list[Queue]:
    """Return one state's queue, or those of all states that anybody here ever worked with, wherever they are."""
    if subject is not None:
        ref = await resolve(subject, home, environ)
        await check_heard_of(ref, home)
        async with open_queue(ref, home) as coordinator:
            return [_seen(ref, await coordinator.view(ref.queue))]
    own = [Queue(state=view.state, view=view) for view in await home.coordinator.states()]
    elsewhere = [known for known in await home.states.all() if is_listed(known, home.clock.now())]
    turns, until_s = asyncio.Semaphore(_AT_ONCE), home.clock.monotonic() + _ALL_S

    async def in_turn(known: KnownState) -> Queue:
        async with turns:
            if home.clock.monotonic() < until_s:
                return await _look(known, home, environ)
        trouble = f"the others took {_ALL_S:g}s; name it to ask it alone"
        return Queue(state=known.queue, view=None, address=known.address, trouble=trouble)

    known_here = [*own, *await asyncio.gather(*map(in_turn, elsewhere))]
    return [*known_here, *await _declared(home, environ, listed={one.state for one in known_here})]


async def _declared(home: Home, environ: Mapping[str, str], *, listed: set[str]) -> list[Queue]:
    """Return the queues of roots in interlock.yaml that nobody worked with from here yet; say of each why not."""
    found = []
    for name in sorted(home.settings.states):
        one = await _look_at_declared(name, home, environ, listed)
        if one is not None:
            found.append(one)
            listed.add(one.state)
    return found


async def _look_at_declared(name: str, home: Home, environ: Mapping[str, str], listed: set[str]) -> Queue | None:
    try:
        async with asyncio.timeout(_ELSEWHERE_S):
            ref = await resolve(name, home, environ)
            if ref.queue in listed:
                return None
            async with open_queue(ref, home, is_use=False) as coordinator:
                return _seen(ref, await coordinator.view(ref.queue))
    except InterlockError as error:
        trouble = f"{error.what}{f': {error.why}' if error.why else ''}"
    except TimeoutError:
        trouble = f"no answer within {_ELSEWHERE_S:g}s"
    return None if name in listed else Queue(state=name, view=None, trouble=trouble)


async def _look(known: KnownState, home: Home, environ: Mapping[str, str]) -> Queue:
    """Look at the queue of a state elsewhere; what hinders that is told, and hides no other state."""
    try:
        async with asyncio.timeout(_ELSEWHERE_S):
            ref = await asyncio.to_thread(reopened, known, home, environ)
            async with open_queue(ref, home, is_use=False) as coordinator:
                return _seen(ref, await coordinator.view(ref.queue))
    except InterlockError as error:
        trouble = f"{error.what}{f': {error.why}' if error.why else ''}"
    except TimeoutError:
        trouble = f"no answer within {_ELSEWHERE_S:g}s"
    return Queue(state=known.queue, view=None, address=known.address, trouble=trouble)


def _seen(ref: StateRef, view: View) -> Queue:
    return Queue(state=ref.queue, view=view, address="" if ref.is_own else ref.address)


async def change_queue(
    subject: str, home: Home, environ: Mapping[str, str], event: Paused | Resumed
) -> tuple[StateRef, View]:
    """Pause or resume one state's queue, written down before that; return which state that was, and how it was."""
    views: list[View] = []

    async def change(coordinator: Coordinator, ref: StateRef) -> None:
        views.append(await coordinator.view(ref.queue))
        await change_pause(coordinator, ref.queue, event, home=home, subject=ref.address)

    return await _changed(subject, home, environ, change), views[0]


async def change_lock(
    subject: str, home: Home, environ: Mapping[str, str], change: Callable[[Coordinator, str], Awaitable[object]]
) -> StateRef:
    """Let `change` act on one state's lock; return which state that was."""
    return await _changed(subject, home, environ, lambda coordinator, ref: change(coordinator, ref.queue))


async def _changed(
    subject: str, home: Home, environ: Mapping[str, str], change: Callable[[Coordinator, StateRef], Awaitable[object]]
) -> StateRef:
    ref = await resolve(subject, home, environ)
    async with open_queue(ref, home) as coordinator:
        if not ref.is_own:
            from interlock.rights import Right

            await home.check_may(Right.FREEZE, ref.queue)
        await change(coordinator, ref)
    return ref

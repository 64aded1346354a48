"""Holding a state for a person's command, by its place in the queue. A hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.errors import BackendUnavailable, InterlockError, LeaseLost, command
from interlock.site.moved import address_moved_to, address_moving_to
from interlock.to_its_end import call_off

if TYPE_CHECKING:
    from interlock.coordinator import Coordinator, Standing
    from interlock.coordinator.interface import OnChange
    from interlock.home.interface import Home
    from interlock.lock import Grant, Pause
    from interlock.recovery.breaker import Breaker
    from interlock.run.surroundings import Seat


def is_review(pause: Pause) -> bool:
    """Say whether a state is paused because of its suspect version; a person's pause is not ours to end."""
    from interlock.state import REVIEWER

    return pause.by == REVIEWER


@asynccontextmanager
async def holding(
    home: Home,
    state: str,
    info: str,
    *,
    rescuer: Breaker | None = None,
    through: str = "",
    on_change: OnChange | None = None,
) -> AsyncIterator[Seat]:
    """Hold a state for a person's command, renewed until the context ends; waits in the queue like any run.

    Args:
        home: Ours.
        state: Name of its queue.
        info: What for.
        rescuer: Its queue, and what looks after a silent holder there; None for those of our own backend.
        through: The reason of a pause that does not hold the command back, since it settles what that is for.
        on_change: Told where we stand while we wait; what it raises ends the wait.
    """
    from interlock.lock import Requested
    from interlock.site.hold_record import write_hold

    rescuer = rescuer or _own_rescuer(home, state)
    queue = rescuer.coordinator
    request = Requested(
        ticket=queue.new_ticket(),
        who=home.me,
        info=info,
        lease_s=home.settings.lease_s,
        patience_s=max(home.settings.lease_s, 15.0),
        through=through,
    )
    named = await asyncio.to_thread(write_hold, home.settings.home, request.ticket)
    try:
        attending = asyncio.create_task(
            rescuer.attend(state, lambda seen: home.say(seen.text), lambda error: home.say(_cannot_attend(error)))
        )
        try:
            tells = aloud(home, on_change)
            grant = await queue.acquire(state, request, timeout_s=home.settings.wait_s, on_change=tells)
        except BaseException:
            await call_off(attending)
            raise
        async with _renewed(home, queue, state, grant) as seat:
            await call_off(attending)  # Ctrl-C may come meanwhile, and nobody else would give the grant back
            yield seat
    except BaseException:
        await _forget_unless_there(queue, state, request.ticket, named)
        raise
    named.unlink(missing_ok=True)


def aloud(home: Home, on_change: OnChange | None = None) -> OnChange:
    """Return what is told where we stand in a queue, and says it to whoever waits for the command.

    Args:
        home: Ours.
        on_change: Told before; what it raises ends the wait.
    """

    def told(standing: Standing) -> None:
        if on_change is not None:
            on_change(standing)
        if text := waiting_for(standing):
            home.say(text)

    return told


def waiting_for(standing: Standing) -> str:
    """Spell what a command waits for, in a line; empty while it waits for nothing that a person could look at."""
    if standing.token is not None or standing.position < 1:
        return ""
    held = [f"held by {each.who}" + (f", run {each.run}" if each.run else "") for each in standing.holders[:1]]
    paused = [f"its queue is paused: {standing.pause.reason}"] if standing.pause is not None else []
    before = [f"{standing.position - 1} before us"] if standing.position > 1 else []
    why = [*held, *paused, *before]
    more = command("lock", "explain", standing.state) if held else command("queue", "ls", standing.state)
    return f"waiting for state {standing.state}: {'; '.join(why)}    {more}" if why else ""


def _cannot_attend(error: Exception) -> str:
    return f"cannot look after the holder: {error}"


async def _forget_unless_there(queue: Coordinator, state: str, ticket: str, named: Path) -> None:
    """Remove what names this process as the holder, once the queue is seen not to have its ticket any more.

    A server that is away hears of no release. By what stays, the next command here sees that this process is gone, and
    goes on; else the state would be held until somebody breaks the lock by force.
    """
    try:
        lock = (await queue.view(state)).lock
    except InterlockError:
        return
    if ticket not in {each.ticket for each in (*lock.holders, *lock.waiters)}:
        named.unlink(missing_ok=True)


def _own_rescuer(home: Home, state: str) -> Breaker:
    from interlock.recovery.breaker import Breaker
    from interlock.site.broken import log_of
    from interlock.site.own_leftovers import OwnLeftovers
    from interlock.site.ref import own_address

    leftovers = OwnLeftovers(runs=home.runs, archive=home.archive, clock=home.clock, creations=home.creations)
    log = log_of(home, own_address(state), is_own=True)
    return Breaker(coordinator=home.coordinator, leftovers=leftovers, clock=home.clock, by=home.me, log=log)


@asynccontextmanager
async def _renewed(home: Home, queue: Coordinator, state: str, grant: Grant) -> AsyncIterator[Seat]:
    """Renew a grant until the context ends, and give it back."""
    from interlock.run.heartbeat import keep_alive
    from interlock.run.surroundings import Seat

    renewing = asyncio.create_task(
        keep_alive(
            lambda: queue.renew(state, ticket=grant.ticket, token=grant.token),
            every_s=home.settings.heartbeat_s,
            clock=home.clock,
            lost=lambda _: None,  # the write itself is refused then, which is what counts
            tell=lambda _entry: None,
        )
    )
    try:
        yield Seat(ticket=grant.ticket, token=grant.token)
    except BaseException:
        renewing.cancel()
        with suppress(LeaseLost, BackendUnavailable):  # what ended the command says more
            await queue.release(state, ticket=grant.ticket, token=grant.token)
        raise
    renewing.cancel()
    await queue.release(state, ticket=grant.ticket, token=grant.token)


class _MovedError(Exception):
    """The state was moved while we waited for it, so nobody is granted it any more."""


@asynccontextmanager
async def holding_unless_moved(
    home: Home, state: str, info: str, rescuer: Breaker, *, through: str
) -> AsyncIterator[Seat | None]:
    """Hold a state as `holding` does; without a place where it was moved, also while we waited: yields None then.

    Likewise where it is being moved by another move than the one of which `through` is the mark.
    """

    def look(pause: Pause | None) -> None:
        is_being_moved = pause is not None and pause.reason != through and address_moving_to(pause)
        if address_moved_to(pause) or is_being_moved:
            raise _MovedError

    async with AsyncExitStack() as stack:
        try:
            look((await rescuer.coordinator.view(state)).lock.pause)
            place = holding(
                home,
                state,
                info,
                rescuer=rescuer,
                through=through,
                on_change=lambda standing: look(standing.pause),
            )
            seat: Seat | None = await stack.enter_async_context(place)
        except _MovedError:
            seat = None
        yield seat


@asynccontextmanager
async def settling(home: Home, state: str, info: str, ends: Callable[[Pause], bool]) -> AsyncIterator[Seat]:
    """Hold a state of ours as `holding` does, through a pause that the command ends when it has done its work.

    Else whoever comes after a command that was killed would build on what the pause protects.

    Args:
        home: Ours.
        state: The state.
        info: What for.
        ends: Says which pause the command ends, such as that of a suspect version which it settles.

    Raises:
        UsageError: The state was moved to another place, or is being moved, so that the wait could be for ever.
    """
    from interlock.lock import Resumed
    from interlock.site.act_entries import change_pause
    from interlock.site.moved import check_pause
    from interlock.site.ref import own_address
    from interlock.site.which import own_ref

    def look(pause: Pause | None) -> None:
        if pause is None or pause.reason != reason:
            check_pause(pause, own_ref(state))

    pause = (await home.coordinator.view(state)).lock.pause
    reason = pause.reason if pause is not None and ends(pause) else ""
    look(pause)
    async with holding(home, state, info, through=reason, on_change=lambda standing: look(standing.pause)) as seat:
        yield seat
        if reason:
            ended = Resumed(by=home.me, reason=reason, while_held=seat.ticket)
            await change_pause(home.coordinator, state, ended, home=home, subject=own_address(state))

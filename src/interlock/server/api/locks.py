"""Endpoints about queues and locks.

States that stay in other backends have their queues here too, under `beside=true`: their names are names of queues.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Final

from msgspec import Struct, structs

from interlock.api.locks import (
    PAGE_MAX,
    WAIT_S_MAX,
    StoredElsewhere,
    ToldDecision,
    ToldEvent,
    ToldState,
    ToldStates,
    event_of,
    told_decision,
    told_state,
)
from interlock.audit.entry import Fact
from interlock.backend.held_lock import Hold, nothing_holds
from interlock.coordinator import Coordinator, View
from interlock.coordinator.interface import HeadKeeper
from interlock.errors import InterlockError, UsageError
from interlock.lock import Broken, Event, HeldBack, Lock, Priority, Requested, holder_of
from interlock.rights import Right
from interlock.rights.callers import may_do, visible_beginning
from interlock.server.api.judging import broken_by, check_writer, ended_by_force, judge, signed
from interlock.server.api.own_entries import NO_ENTRIES, OwnEntries
from interlock.server.api.table import AnyEndpoint, Call, NoBody, OfState, acts, from_to, reads
from interlock.server.api.two_persons import Agree, nobody_asked, unlock_act
from interlock.site.act_entries import BREAK_DECIDED, BREAK_DONE, broken_facts, pause_entry
from interlock.site.ref import own_address
from interlock.store.records import LIST_LIMIT_MAX

_PREFIX_MAX: Final = 200


class OfQueue(OfState, frozen=True, kw_only=True):
    """Asks about the queue of one state.

    Attributes:
        beside: The state is in another backend, and only its queue is here.
    """

    beside: bool = False


class WatchedQueue(OfQueue, frozen=True, kw_only=True):
    """Asks for a queue when it has changed.

    Attributes:
        seen: The version that is known; 0 for none.
        wait_s: Seconds to wait for another one; 0 answers at once.
    """

    seen: int = 0
    wait_s: float = 0.0


class SomeQueues(Struct, frozen=True, kw_only=True):
    """Asks for the queues of several states.

    Attributes:
        prefix: What their names begin with.
        after: The name after which the page begins.
        limit: Most on the page.
        beside: See `OfQueue.beside`.
    """

    prefix: str = ""
    after: str = ""
    limit: Annotated[int, from_to(1, PAGE_MAX)] = PAGE_MAX
    beside: bool = False


class _Locks:
    """Does what clients ask of the coordinators."""

    def __init__(self, own: Coordinator, beside: HeadKeeper, hold: Hold, agree: Agree, entries: OwnEntries) -> None:
        self._own = own
        self._beside = beside
        self._hold = hold
        self._agree = agree
        self._entries = entries

    async def look(self, call: Call[WatchedQueue, NoBody]) -> ToldState:
        """One state: who holds it, who waits, which version is current; now, or when that has changed."""
        query, queue = call.query, self._queue(call.query.beside)
        if query.wait_s <= 0:
            return told_state(await queue.view(query.state))
        wait_s = min(query.wait_s, WAIT_S_MAX)
        return told_state(await queue.watch(query.state, seen=query.seen or None, timeout_s=wait_s))

    async def tell(self, call: Call[OfQueue, ToldEvent]) -> ToldDecision:
        """Tell a lock an event: ask, renew, release, withdraw, break, pause, resume, bump."""
        state, queue = call.query.state, self._queue(call.query.beside)
        event = event_of(call.body)
        lock = (await queue.view(state)).lock
        judged = judge(call.caller, state, lock, event)
        ended = ended_by_force(call.caller, lock, judged)
        if ended is not None:
            await self._agree(call.caller, unlock_act(state, ended, event))
        ended = ended or broken_by(lock, judged)
        said = broken_facts(ended, event.reason if isinstance(event, Broken) else "") if ended is not None else {}
        if ended is not None:
            await self._write(BREAK_DECIDED, call, said)
        await self._hold_those_who_wait(queue, state, lock)
        if (paused := pause_entry(lock, judged)) is not None:
            await self._write(paused[0], call, paused[1])
        decision = await queue.apply_event(state, await self._held(state, judged))
        if ended is not None and decision.refused is None and holder_of(decision.lock, ticket=ended.ticket) is None:
            await self._write(BREAK_DONE, call, said)
        return told_decision(decision)

    async def _write(self, action: str, call: Call[OfQueue, ToldEvent], facts: Mapping[str, Fact]) -> None:
        """Write down what is done to a queue; of a state elsewhere the server knows the queue's name alone."""
        query = call.query
        subject = query.state if query.beside else own_address(query.state)
        await self._entries.write(action, call, facts, subject=subject, by=signed(_said_by(call.body), call.caller))

    async def _hold_those_who_wait(self, queue: Coordinator, state: str, lock: Lock) -> None:
        """Hold those back who joined before a freeze began, before an event may grant them.

        Our own clients say it themselves, and also when it is over. Of a plain Terraform its door says it.
        """
        waiting = [each for each in lock.waiters if each.priority is Priority.APPLY and not each.held]
        ours = [each.ticket for each in waiting if each.lock_id is None]
        held = await self._hold(state) if ours else None
        for ticket in ours if held is not None else ():
            with suppress(InterlockError):  # it does not wait any more
                await queue.hold_back(state, ticket, reason=held.text if held is not None else "")

    async def _held(self, state: str, event: Event) -> Event:
        """Return an event with what the server's own policies hold back: a client is not trusted to say it."""
        match event:
            case Requested(priority=Priority.APPLY):
                held = await self._hold(state)
                return structs.replace(event, held=held.text) if held else event
            case HeldBack():
                held = await self._hold(state)
                return structs.replace(event, reason=held.text) if held else event
            case _:
                return event

    async def stored(self, call: Call[OfQueue, StoredElsewhere]) -> None:
        """Note what the holder of a queue stored in another backend.

        Of a state of ours its archive says what is current.
        """
        state, note = call.query.state, call.body
        lock = (await self._beside.view(state)).lock
        check_writer(call.caller, state, lock, ticket=note.ticket, token=note.token, lock_id=note.lock_id)
        await self._beside.update_head(
            state,
            expected_head=note.expected_head,
            new_head=note.new_head,
            ticket=note.ticket,
            lock_id=note.lock_id,
            token=note.token,
        )

    async def list(self, call: Call[SomeQueues, NoBody]) -> ToldStates:
        """The states that the token may see, by name."""
        query = call.query
        if not 1 <= query.limit <= PAGE_MAX:
            raise UsageError("the states were not listed", why=f"a page has 1 to {PAGE_MAX} states")
        if max(len(query.prefix), len(query.after)) > _PREFIX_MAX:
            raise UsageError("the states were not listed", why=f"no name has more than {_PREFIX_MAX} characters")
        own = visible_beginning(call.caller)
        if not (own.startswith(query.prefix) or query.prefix.startswith(own)):
            return ToldStates(states=[])
        prefix, after, page, size = max(own, query.prefix, key=len), query.after, list[View](), query.limit + 1
        while True:
            views = await self._queue(query.beside).states(prefix, after=after, limit=size)
            page += [view for view in views if _may_see(call, view)]
            # A page tells no name that its token may not see, also not as the place where the next one begins.
            if len(page) > query.limit or len(views) < size:
                break
            after = views[-1].state
            size = min(2 * size, LIST_LIMIT_MAX)  # beside many of others, a few are found in steps that grow
        shown = page[: query.limit]
        states = [told_state(view) for view in shown]
        return ToldStates(states=states, next=shown[-1].state if len(page) > query.limit else "")

    def _queue(self, beside: bool) -> Coordinator:
        return self._beside if beside else self._own


def _may_see(call: Call[SomeQueues, NoBody], view: View) -> bool:
    return may_do(call.caller, Right.READ_STATE, view.state)


def _said_by(told: ToldEvent) -> str:
    return str(told.facts.get("by", ""))


def lock_endpoints(
    own: Coordinator,
    beside: HeadKeeper,
    hold: Hold = nothing_holds,
    agree: Agree = nobody_asked,
    entries: OwnEntries = NO_ENTRIES,
) -> list[AnyEndpoint]:
    """Return the rows.

    Args:
        own: Of the states that are kept here.
        beside: Of states in other backends whose queues are here.
        hold: See `Hold`.
        agree: See `Agree`.
        entries: Writes down what is done.
    """
    locks = _Locks(own, beside, hold, agree, entries)
    return [
        reads("/locks", locks.look, right=Right.READ_STATE, query=WatchedQueue, answer=ToldState, waits=True),
        reads("/locks/all", locks.list, right=None, query=SomeQueues, answer=ToldStates),
        acts("/locks/events", locks.tell, right=None, query=OfQueue, body=ToldEvent, answer=ToldDecision),
        acts("/locks/stored", locks.stored, right=Right.PLAN, query=OfQueue, body=StoredElsewhere, answer=None),
    ]

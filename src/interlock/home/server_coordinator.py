"""The coordinator of a server, as its clients have it. A hand.

Each event goes to the server, which decides and stores; what is read is read there. How one waits, shows signs of life
and is told of a change is the same as near the store (`coordinator.telling`), so a waiter behaves in one way only.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from interlock.api.locks import (
    PAGE_MAX,
    WAIT_S_MAX,
    StoredElsewhere,
    ToldDecision,
    ToldState,
    ToldStates,
    decision_of,
    told_event,
    view_of,
)
from interlock.clock import Clock
from interlock.coordinator.names import check_state_name, state_of
from interlock.coordinator.record import Head
from interlock.coordinator.telling import TellingCoordinator
from interlock.coordinator.view import View
from interlock.home.line import ANSWER_S, Line
from interlock.ids import Ids
from interlock.lock import Decision, Event, FencingToken, Renewed, Ticket
from interlock.store.records import Record

HEARTBEAT_S: Final = 4.0
"""Seconds for the answer to a heartbeat."""
_EVENTS: Final = "/locks/events"


class ServerCoordinator(TellingCoordinator):
    """See `Coordinator`.

    Args:
        line: The way to the server.
        clock: For the time limits of waiting.
        ids: For tickets and attempts.
        beside: Queues of states in other backends.
    """

    def __init__(self, line: Line, clock: Clock, ids: Ids, *, beside: bool = False) -> None:
        super().__init__(_StateRecords(line, beside=beside), clock, ids)
        self._line = line
        self._is_beside = beside

    async def apply_event(self, state: str, event: Event) -> Decision:
        """See `Coordinator.apply_event`."""
        query = {"state": check_state_name(state), "beside": self._is_beside or None}
        try:
            told = await self._line.ask_for(
                ToldDecision, "POST", _EVENTS, query, sends=told_event(event), **_patience(event)
            )
        finally:
            self._lookout.forget(state)  # it is another one now, and its version was not told
        return decision_of(told)

    async def states(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> list[View]:
        """See `Coordinator.states`."""
        found: list[View] = []
        while True:
            room = PAGE_MAX if limit is None else min(PAGE_MAX, limit - len(found))
            query = {"prefix": prefix, "after": after, "limit": room, "beside": self._is_beside or None}
            page: ToldStates = await self._line.ask_for(ToldStates, "GET", "/locks/all", query)
            found += map(view_of, page.states)
            if not page.next or len(found) == limit:
                return found
            after = page.next


def _patience(event: Event) -> dict[str, Any]:
    """Return how long an answer is worth waiting for: a heartbeat is soon followed by the next one."""
    return {"wait_s": HEARTBEAT_S, "attempts": 1} if isinstance(event, Renewed) else {}


class ServerQueueBeside(ServerCoordinator):
    """Queues of states in other backends, which note what their holders stored there. See `HeadKeeper`."""

    def __init__(self, line: Line, clock: Clock, ids: Ids) -> None:
        super().__init__(line, clock, ids, beside=True)

    async def update_head(
        self,
        state: str,
        *,
        expected_head: Head | None,
        new_head: Head | None,
        ticket: Ticket | None = None,
        lock_id: str | None = None,
        token: FencingToken | None = None,
    ) -> Head | None:
        """See `HeadKeeper.update_head`: a note of what is stored elsewhere, by the holder of this queue."""
        note = StoredElsewhere(
            expected_head=expected_head, new_head=new_head, ticket=ticket, lock_id=lock_id, token=token
        )
        try:
            await self._line.ask("POST", "/locks/stored", _of(state), body=msgspec.json.encode(note))
        finally:
            self._lookout.forget(state)
        return new_head


def _of(state: str) -> dict[str, object]:
    return {"state": check_state_name(state), "beside": True}


class _StateRecords:
    """See `ReadRecords`."""

    def __init__(self, line: Line, *, beside: bool) -> None:
        self._line = line
        self._beside = beside or None

    async def get(self, key: str) -> Record | None:
        return await self._look(key, {})

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        wait_s = min(timeout_s, WAIT_S_MAX)
        return await self._look(key, {"seen": seen or 0, "wait_s": wait_s}, wait_s=ANSWER_S + wait_s)

    async def _look(self, key: str, more: dict[str, object], *, wait_s: float = ANSWER_S) -> Record | None:
        query = {"state": state_of(key), "beside": self._beside, **more}
        told: ToldState = await self._line.ask_for(ToldState, "GET", "/locks", query, wait_s=wait_s)
        return Record(key=key, version=told.version, value=bytes(told.record)) if told.version else None

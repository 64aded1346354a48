"""What this process knows of the stored records, and who is told when that changes. A hand: it reads and waits.

However many tasks wait for one state, one task watches its record; the others are told. So a change costs this process
one read, and not one for each waiter.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from msgspec import Struct

from interlock.clock import Clock
from interlock.coordinator.names import key_of
from interlock.coordinator.record import NEW_STATE, StateRecord, decode, encode
from interlock.errors import InterlockError
from interlock.lock import Lock, Ticket
from interlock.store.records import Record

RECORDS_KNOWN = 1_024
"""Decoded records kept, by state; a record whose version did not change need not be read again."""
WATCH_S = 30.0
"""One watch of a record; then the next begins. Only bounds how long a store must keep one open."""
OUTAGE_PAUSE_S = 1.0
"""Pause after the store did not answer."""


class ReadRecords(Protocol):
    """Where records are read and watched. Both methods as `RecordStore` has them."""

    async def get(self, key: str) -> Record | None:
        """See `RecordStore.get`."""
        ...

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        """See `RecordStore.watch`."""
        ...


class Stored(Struct, frozen=True):
    """A state's record at one version; version None and an empty record when nothing is stored."""

    version: int | None
    record: StateRecord


class Watcher:
    """One ticket's waiting: it ends when the ticket's outlook changed, or when its time has come."""

    def __init__(self, ticket: Ticket, clock: Clock) -> None:
        self.ticket = ticket
        self.signed_s = float("-inf")  # when its last sign of life was shown, on the clock's monotonic scale
        self._clock = clock
        self._bell = asyncio.Event()
        self._due_s = float("nan")
        self._alarm: asyncio.Task[None] | None = None

    def ring(self) -> None:
        """End the wait."""
        self._bell.set()

    async def wait_until(self, due_s: float) -> None:
        """Wait for a ring, until `due_s` on the clock's monotonic scale at most."""
        # The usual wait ends before its time: the alarm is kept. One that rang a moment too early is set again.
        if self._alarm is None or self._due_s != due_s or self._alarm.done():
            self.leave()
            self._due_s = due_s
            self._alarm = asyncio.ensure_future(self._clock.sleep(due_s - self._clock.monotonic()))
            self._alarm.add_done_callback(lambda _: self._bell.set())
        await self._bell.wait()
        self._bell.clear()
        if self._alarm.done() and not self._alarm.cancelled():
            self._alarm.result()

    def leave(self) -> None:
        """Wait no more."""
        if self._alarm is not None:
            self._alarm.cancel()


class _Watch:
    """The one task that watches a state's record, and those it tells, in the order in which they came."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.watchers: dict[Watcher, None] = {}


class _Outlook(Struct, frozen=True):
    """What the waiters of a lock would notice changing."""

    for_all: tuple[object, ...]
    places: dict[Ticket, tuple[int, bool, float]]

    def differs(self, other: _Outlook, ticket: Ticket) -> bool:
        return self.for_all != other.for_all or self.places.get(ticket) != other.places.get(ticket)


def _outlook(lock: Lock) -> _Outlook:
    return _Outlook(
        for_all=(tuple(holder.token for holder in lock.holders), lock.pause),
        places={
            waiter.ticket: (n, waiter.doubted_at is None, waiter.patience_s) for n, waiter in enumerate(lock.waiters)
        },
    )


class Lookout:
    """The records of a store, as this process knows them. Belongs to one event loop."""

    def __init__(self, store: ReadRecords, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: OrderedDict[str, Stored] = OrderedDict()
        self._watches: dict[str, _Watch] = {}
        self._spelled: tuple[StateRecord, bytes] | None = None

    def known(self, state: str) -> Stored | None:
        """Return the record as last seen; it may have changed since."""
        return self._known.get(state)

    def forget(self, state: str) -> None:
        """Believe nothing of this state until it is read again."""
        self._known.pop(state, None)

    async def load(self, state: str) -> Stored:
        """Read the record. Raises as `RecordStore.get` and `record.decode`."""
        before = self.known(state)
        return self.learn(state, await self._store.get(key_of(state)), before=before)

    def spell(self, record: StateRecord) -> bytes:
        """Return a record as it is stored; whoever asked for its size writes it next, and it is not spelled again."""
        if self._spelled is None or self._spelled[0] is not record:
            self._spelled = record, encode(record)
        return self._spelled[1]

    def learn(self, state: str, record: Record | None, *, before: Stored | None) -> Stored:
        """Return the record decoded, and keep it for others if nothing newer came since `before` was known."""
        if record is None:
            return Stored(None, NEW_STATE)
        known = self.known(state)
        if known is not None and known.version == record.version:
            return known
        stored = Stored(record.version, decode(record.value))
        self.keep(state, stored, before=before)
        return stored

    def watchers(self, state: str) -> tuple[Watcher, ...]:
        """Return those who wait for this state in this process, in the order in which they came."""
        watch = self._watches.get(state)
        return tuple(watch.watchers) if watch is not None else ()

    @contextmanager
    def watched(self, state: str, ticket: Ticket) -> Iterator[Watcher]:
        """Keep a watch on the record, on behalf of a ticket that waits."""
        watch = self._watches.get(state)
        if watch is None:
            watch = self._watches[state] = _Watch(asyncio.ensure_future(self._watch(state)))
        watcher = Watcher(ticket, self._clock)
        watch.watchers[watcher] = None
        try:
            yield watcher
        finally:
            watcher.leave()
            del watch.watchers[watcher]
            if not watch.watchers:
                del self._watches[state]
                watch.task.cancel()

    def keep(self, state: str, stored: Stored, *, before: Stored | None) -> None:
        """Know a record from here on.

        A reply that took long must not hide what was learned while it was on its way: versions have no order.
        """
        if self.known(state) is not before:
            return
        self._known[state] = stored
        self._known.move_to_end(state)
        if len(self._known) > RECORDS_KNOWN:
            self._known.popitem(last=False)
        self._tell(state, before, stored)

    def _tell(self, state: str, before: Stored | None, after: Stored | None) -> None:
        watch = self._watches.get(state)
        if watch is None:
            return
        old = _outlook(before.record.lock) if before else None
        new = _outlook(after.record.lock) if after else None
        for watcher in watch.watchers:
            if old is None or new is None or old.differs(new, watcher.ticket):
                watcher.ring()

    async def _watch(self, state: str) -> None:
        while True:
            try:
                stored = self.known(state)
                if stored is None:
                    loaded = await self.load(state)
                    # Others may have read meanwhile, and been told what is older: then what they were told is watched.
                    # From what came here alone, the change between the two would be seen by nobody.
                    stored = self.known(state) or loaded
                record = await self._store.watch(key_of(state), seen=stored.version, timeout_s=WATCH_S)
                self.learn(state, record, before=stored)
            except InterlockError:
                # Whoever waits reads for itself and meets the failure there, with its own patience.
                self.forget(state)
                self._tell(state, None, None)
                await self._clock.sleep(OUTAGE_PAUSE_S)

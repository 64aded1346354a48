"""Which servers work on one store, and what is done about those that vanished. A hand: it waits and stores.

Each server writes a record, `server/<name>`, again and again; its name is drawn at its start, so that none is taken for
the one before it. Who waits at a server that vanished is gone or will come back by another: it is not granted until
it speaks. One server at a time does that for all, by a lease: the record `duty/<what>`, whose version is the fence.
Whoever was paused meanwhile finds another version and does nothing.

Whether a record is silent each server finds out by watching it, on its own monotonic clock: the clock of the store may
jump, with a failover to another machine. Only a record that it has never seen change is also judged by that clock, so
that a server which starts need not watch what died long ago.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct

from interlock.bounded import decode_json
from interlock.clock import Clock
from interlock.coordinator.interface import Coordinator
from interlock.errors import InterlockError
from interlock.instants import Instant
from interlock.lock import Elapsed
from interlock.store.records import Mismatch, Record, RecordStore

BEAT_S = 3.0
"""How often a server says that it is there."""
GONE_S = 12.0
"""After this silence it vanished: three beats may get lost, and a database may fail over."""
_SERVERS, _DUTY = "server/", "duty/vanished-servers"
_SERVERS_MAX = 1000


class Beat(Struct, frozen=True, kw_only=True):
    """What a server, or the holder of a duty, has written down.

    Attributes:
        server: Its name.
        at: When, by the store's clock.
        epoch: Of a duty: it rises with each new holder.
        schema: Version of this record's format.
    """

    server: str
    at: Instant
    epoch: int = 0
    schema: int = 1


class _Seen(Struct, frozen=True, kw_only=True):
    version: int
    since_s: float
    has_changed: bool


class _Watch:
    """Finds out which records nobody writes any more.

    Args:
        clock: Of the store.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def silent(self, records: Sequence[Record]) -> list[tuple[Record, Beat]]:
        """Look at all watched records as they are now; return those that are silent and can be read."""
        self._seen = {record.key: self._look(record) for record in records}
        beats = [(record, beat) for record in records if (beat := _read(record)) is not None]
        return [(record, beat) for record, beat in beats if self._is_silent(self._seen[record.key], beat)]

    def _look(self, record: Record) -> _Seen:
        before = self._seen.get(record.key)
        if before is not None and before.version == record.version:
            return before
        return _Seen(version=record.version, since_s=self._clock.monotonic(), has_changed=before is not None)

    def _is_silent(self, seen: _Seen, beat: Beat) -> bool:
        if self._clock.monotonic() - seen.since_s > GONE_S:
            return True
        return not seen.has_changed and (self._clock.now() - beat.at).total_seconds() > GONE_S


class Replica:
    """This server among those on one store.

    Args:
        name: Its own, drawn at its start.
        records: Where all of them write.
        coordinator: Knows who waits.
        clock: Of the store.
    """

    def __init__(self, name: str, records: RecordStore, coordinator: Coordinator, clock: Clock) -> None:
        self.name = name
        self._records = records
        self._coordinator = coordinator
        self._clock = clock
        self._watch, self._duty = _Watch(clock), _Watch(clock)
        self._own: int | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Be there from now on."""
        await self.beat()
        self._task = asyncio.ensure_future(self._go_on())

    async def close(self) -> None:
        """Be gone, in good order: nobody waits here any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with suppress(InterlockError):
            await self._records.swap(_SERVERS + self.name, expected=self._own, value=None)

    async def beat(self) -> None:
        """Say that this server is there; and when it is its turn, see who is not."""
        value = self._written(epoch=0)
        try:
            self._own = await self._records.swap(_SERVERS + self.name, expected=self._own, value=value)
        except Mismatch as other:  # it was silent for so long that it was taken for gone
            self._own = None if other.current is None else other.current.version
            self._own = await self._records.swap(_SERVERS + self.name, expected=self._own, value=value)
        silent = self._watch.silent(await self._records.list(_SERVERS, limit=_SERVERS_MAX))
        if await self._has_duty():
            await self._see_who_vanished(silent)

    async def _go_on(self) -> None:
        while True:
            await self._clock.sleep(BEAT_S)
            with suppress(InterlockError):  # the store is away: the next beat tells
                await self.beat()

    async def _has_duty(self) -> bool:
        """Renew the duty, or take it when its holder is silent; False when another one has it."""
        record = await self._records.get(_DUTY)
        held = _read(record)
        if record is not None and held is not None and held.server != self.name and not self._duty.silent([record]):
            return False
        epoch = 1 if held is None else held.epoch + (held.server != self.name)
        try:
            await self._records.swap(
                _DUTY, expected=None if record is None else record.version, value=self._written(epoch=epoch)
            )
        except Mismatch:
            return False
        return True

    async def _see_who_vanished(self, silent: Sequence[tuple[Record, Beat]]) -> None:
        for record, beat in silent:
            if beat.server == self.name:
                continue
            for view in await self._coordinator.states():
                if view.lock.waiters:
                    await self._coordinator.apply_event(view.state, Elapsed(doubts_clients=True, server=beat.server))
            # Last: if we vanish before this, the next one does it again. Not if it has just come back.
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=None)

    def _written(self, *, epoch: int) -> bytes:
        return msgspec.json.encode(Beat(server=self.name, at=self._clock.now(), epoch=epoch))


def _read(record: Record | None) -> Beat | None:
    """Return what a record says; None when there is none, or it cannot be read."""
    if record is None:
        return None
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        return decode_json(record.value, type=Beat)
    return None

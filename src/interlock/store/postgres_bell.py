"""Who changed what, told between the servers of one database: by NOTIFY and LISTEN, and by looking. A hand.

A notification carries no news (see `doorbell.py`): one too many or too few changes no decision. It is sent after the
commit and from another connection, because a transaction with NOTIFY takes a lock that all transactions of the whole
cluster with a NOTIFY take, and holds it until its commit is on the disk. Those that wait are sent together.

A dead connection hears nothing and says nothing about it. So the listener asks itself whether it still listens, and
while it does not, and once a second even when it does, it looks at what is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from msgspec import Struct

from interlock.errors import InterlockError
from interlock.store.doorbell import Doorbell
from interlock.store.postgres_clock import DatabaseClock
from interlock.store.postgres_place import PostgresPlace
from interlock.store.postgres_session import Connection, Session, connect, within

HEARTBEAT_S = 5.0
"""How often the listener is asked whether it still listens."""
HEARTBEAT_LIMIT_S = 3.0
"""How long its answer may take."""
LOOK_S = 1.0
"""How often the awaited records are looked at while somebody waits, though notifications are heard."""
LOOK_S_DEAF = 0.1
"""The same while none are."""
GATHER_S = 0.002
"""Shortest time between two notifications: in it the next ones gather, so a storm of writes is a few a second."""
_PAYLOAD_MAX = 7_900  # PostgreSQL's limit is 8000 bytes
_KEYS_MAX = 256  # more than that is a storm: then one word says that everything may have changed
_EVERYTHING = "*"
_PAUSE_S_FIRST, _PAUSE_S_MAX = 0.1, 5.0


class Hearing(Struct):
    """How well notifications are heard.

    Attributes:
        is_listening: Whether they are now.
        gaps: How often they were not, since the store was opened.
        gap_s: For how long altogether, gaps that are over.
        found_by_looking: Changes that were found by looking while notifications seemed to be heard.
    """

    is_listening: bool = False
    gaps: int = 0
    gap_s: float = 0.0
    found_by_looking: int = 0


class Bell:
    """Rings the doorbells of this process and of the others.

    Args:
        place: Where.
        doorbell: That of this process.
        me: A name that no other process has.
        clock: Of the database; it is set here.
        versions: Returns the versions of keys, to look.
    """

    def __init__(
        self, place: PostgresPlace, doorbell: Doorbell, *, me: str, clock: DatabaseClock, looker: Session
    ) -> None:
        self.hearing = Hearing()
        self._place = place
        self._doorbell = doorbell
        self._me = me
        self._clock = clock
        self._looker = looker
        self._channel = f"interlock_{place.schema}"
        self._teller = Session(place, purpose="notify", clock=clock)
        self._untold: dict[str, None] = {}
        self._telling: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._waiters = 0
        self._deaf_since_s: float | None = None
        self._is_closed = False

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Listen and look while the caller waits."""
        self._waiters += 1
        if self._listening is None and self._place.listens:
            self._listening = asyncio.ensure_future(self._listen())
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        try:
            yield
        finally:
            self._waiters -= 1

    def tell(self, keys: list[str]) -> None:
        """Tell everybody that these keys were written: here at once, elsewhere in a moment."""
        for key in keys:
            self._doorbell.ring(key)
        self._untold.update(dict.fromkeys(keys))
        if (self._telling is None or self._telling.done()) and not self._is_closed:
            self._telling = asyncio.ensure_future(self._tell())

    async def close(self) -> None:
        """Say what is still to be said, and stop."""
        self._is_closed = True
        if self._telling is not None:
            await asyncio.gather(self._telling, return_exceptions=True)
        for task in (self._listening, self._looking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._teller.close()

    # -- telling ----------------------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        while self._untold:
            keys, self._untold = list(self._untold), {}
            texts = payloads(self._me, keys)
            with suppress(InterlockError):  # those that wait elsewhere look every second
                await self._teller.ask(lambda connection: self._notify(connection, texts))  # noqa: B023 - awaited here
            await self._clock.sleep(GATHER_S)

    async def _notify(self, connection: Connection, texts: list[str]) -> None:
        await connection.execute("SELECT pg_notify(%s, text) FROM unnest(%s::text[]) AS text", (self._channel, texts))

    # -- listening --------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        pause_s = _PAUSE_S_FIRST
        self._deaf_since_s = self._clock.monotonic()
        while True:
            try:
                connection = await connect(self._place, purpose="listen", arguments=self._place.for_listening())
            except (psycopg.Error, OSError):
                pass
            else:
                try:
                    await self._listen_on(connection)
                except (psycopg.Error, TimeoutError, OSError):
                    pause_s = _PAUSE_S_FIRST
                finally:
                    self._stop_hearing()
                    with suppress(psycopg.Error):
                        await connection.close()
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)

    async def _listen_on(self, connection: Connection) -> None:
        await within(connection, _execute(connection, f'LISTEN "{self._channel}"'), HEARTBEAT_LIMIT_S)
        await within(connection, self._check(connection), HEARTBEAT_LIMIT_S)
        self._start_hearing()
        while True:
            async for notice in connection.notifies(timeout=HEARTBEAT_S):
                self._hear(notice.payload)
            await within(connection, self._check(connection), HEARTBEAT_LIMIT_S)

    async def _check(self, connection: Connection) -> None:
        """Ask in the session itself whether it listens: a pooler may have given us another one. Also read the clock."""
        asked_s = self._clock.monotonic()
        rows = await connection.execute("SELECT clock_timestamp(), channel FROM pg_listening_channels() AS channel")
        found = {str(channel): at for at, channel in await rows.fetchall()}
        if self._channel not in found:
            raise psycopg.OperationalError("the session does not listen")
        self._clock.learn(found[self._channel], asked_s=asked_s)

    def _start_hearing(self) -> None:
        self.hearing.is_listening = True
        if self._deaf_since_s is not None:
            self.hearing.gap_s += self._clock.monotonic() - self._deaf_since_s
            self._deaf_since_s = None
        self._doorbell.ring_all()  # whatever happened meanwhile was not heard

    def _stop_hearing(self) -> None:
        if self.hearing.is_listening:
            self.hearing.is_listening = False
            self.hearing.gaps += 1
            self._deaf_since_s = self._clock.monotonic()

    def _hear(self, payload: str) -> None:
        sender, *keys = payload.split("\n")
        if sender == self._me:
            return
        if keys == [_EVERYTHING]:
            self._doorbell.ring_all()
        for key in keys:
            self._doorbell.ring(key)

    # -- looking ----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        while self._waiters and not self._is_closed:
            heard = self.hearing.is_listening
            await self._clock.sleep(LOOK_S if heard else LOOK_S_DEAF)
            try:
                found = await self._versions()
            except InterlockError:
                self._doorbell.ring_all()  # they ask for themselves, and meet the failure there
                continue
            changed = [key for key, version in found.items() if self._doorbell.saw(key, version)]
            if heard and self.hearing.is_listening:
                self.hearing.found_by_looking += len(changed)
            self._doorbell.ring_prefixes()

    async def _versions(self) -> dict[str, int | None]:
        keys = self._doorbell.awaited()
        sql = f"SELECT key, version FROM {self._place.quoted}.records WHERE key = ANY(%s)"  # noqa: S608 - our own name

        async def question(connection: Connection) -> list[tuple[Any, ...]]:
            return await (await connection.execute(sql, (keys,))).fetchall()

        rows = await self._looker.ask(question) if keys else []
        return {**dict.fromkeys(keys), **{str(key): int(version) for key, version in rows}}


async def _execute(connection: Connection, text: str) -> None:
    await connection.execute(text)


def payloads(me: str, keys: list[str]) -> list[str]:
    """Return the texts that tell of these keys; a key has no control characters, so a line is one."""
    if len(keys) > _KEYS_MAX:
        return [f"{me}\n{_EVERYTHING}"]
    texts, lines, size = [], [me], len(me)
    for key in keys:
        length = len(key.encode()) + 1
        if size + length > _PAYLOAD_MAX:
            texts.append("\n".join(lines))
            lines, size = [me], len(me)
        lines.append(key)
        size += length
    return [*texts, "\n".join(lines)]

"""Waiting for changes in a store that cannot ring: look, at a pace that slows down.

A hand: it waits. Writes of this process still ring at once, and those of others that use the same home on this machine
where the store is told of it (`neighbours.py`); only those of other machines are found by looking.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from interlock.clock import Clock
from interlock.store.doorbell import Doorbell
from interlock.store.neighbours import Neighbours
from interlock.store.polling import Pace
from interlock.store.records import LIST_LIMIT_MAX, Record, check_key, check_prefix

_T = TypeVar("_T")

_JITTER = 0.2
"""Each pause is up to this share longer or shorter, so that many waiters do not look all at the same instant."""


class PolledWatch:
    """Watches for one record store. `fraction` gives numbers from 0 up to 1, by chance.

    Attributes:
        neighbours: Those who tell of their changes on this machine, and are told of ours; None for nobody.
    """

    def __init__(self, *, clock: Clock, polling: Pace, fraction: Callable[[], float]) -> None:
        self._clock = clock
        self._polling = polling
        self._fraction = fraction
        self._doorbell = Doorbell(clock=clock)
        self.neighbours: Neighbours | None = None

    def ring(self, key: str) -> None:
        """Tell those of this process, and of its neighbours, who wait for `key`."""
        self._doorbell.ring(key)
        if self.neighbours is not None:
            self.neighbours.ring(key)

    async def close(self) -> None:
        """Wake everybody, because the store closes."""
        self._doorbell.ring_all()
        if self.neighbours is not None:
            await self.neighbours.close()

    async def record(
        self,
        key: str,
        get: Callable[[str], Awaitable[Record | None]],
        *,
        seen: int | None,
        timeout_s: float,
    ) -> Record | None:
        """See `RecordStore.watch`; `get` is asked for each look."""

        async def look() -> tuple[bool, Record | None]:
            record = await get(key)
            return (None if record is None else record.version) != seen, record

        if self.neighbours is not None:
            self.neighbours.listen(key, lambda: self._doorbell.ring(key))
        with self._doorbell.hung(key) as bell:
            return await self._until(look, bell, polling=self._polling, timeout_s=timeout_s)

    async def prefix(
        self, prefix: str, records: Callable[[], Awaitable[Sequence[Record]]], *, seen: int, timeout_s: float
    ) -> int:
        """See `RecordStore.watch_prefix`; `records` is asked for each look."""

        async def look() -> tuple[bool, int]:
            number = _number(await records())
            return number != seen, number

        with self._doorbell.hung_for_all_of(prefix) as bell:
            return await self._until(look, bell, polling=self._polling.rarer(), timeout_s=timeout_s)

    async def _until(
        self, look: Callable[[], Awaitable[tuple[bool, _T]]], bell: asyncio.Event, *, polling: Pace, timeout_s: float
    ) -> _T:
        until = self._clock.monotonic() + timeout_s
        for wait_s in polling.waits_s():
            has_changed, found = await look()
            left_s = until - self._clock.monotonic()
            if has_changed or left_s <= 0:
                return found
            pause_s = wait_s * (1 + _JITTER * (2 * self._fraction() - 1))
            await self._doorbell.rung(bell, timeout_s=min(left_s, pause_s))
        raise AssertionError("a pace has no end")


class RecordsWatchedByLooking(ABC):
    """The watches of a `RecordStore` that cannot ring.

    Args:
        watch: What looks, at a pace.
    """

    def __init__(self, watch: PolledWatch) -> None:
        self._watch = watch

    def listen_in(self, folder: Path) -> None:
        """Hear of changes, and tell of ours, in this folder of the home: for processes of this machine."""
        self._watch.neighbours = Neighbours(folder)

    @abstractmethod
    async def get(self, key: str) -> Record | None:
        """See `RecordStore.get`."""

    @abstractmethod
    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """See `RecordStore.list`."""

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        """See `RecordStore.watch`. Looks at the pace of `polling`."""
        check_key(key)
        return await self._watch.record(key, self.get, seen=seen, timeout_s=timeout_s)

    async def watch_prefix(self, prefix: str, *, seen: int, timeout_s: float) -> int:
        """See `RecordStore.watch_prefix`. Each look costs as much as a list."""
        check_prefix(prefix)
        return await self._watch.prefix(prefix, lambda: self._all(prefix), seen=seen, timeout_s=timeout_s)

    async def _all(self, prefix: str) -> Sequence[Record]:
        records: list[Record] = []
        while page := await self.list(prefix, after=records[-1].key if records else ""):
            records += page
            if len(page) < LIST_LIMIT_MAX:
                break
        return records


def _number(records: Sequence[Record]) -> int:
    """Return a number that stands for these keys and versions."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(f"{record.key}\n{record.version}\n".encode())
    return int.from_bytes(digest.digest()[:6])
